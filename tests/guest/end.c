/* SPDX-License-Identifier: Apache-2.0 */
/* Ends in the way that END says, each with its own exit status. */
#include "guest.h"

#if END == 4
/* As Linux reboots by the BIOS: real mode, jump to F000:FFF0. */
static void jump_to_bios(void)
{
	static const uint8_t far_jump[] = { 0xea, 0xf0, 0xff, 0x00, 0xf0 };
	volatile uint8_t *target = (volatile uint8_t *)0x8000;

	/* A second vCPU starts in real mode: it needs no way back there. */
	for (uint32_t i = 0; i < sizeof(far_jump); i++)
		target[i] = far_jump[i];
	mmio_write(0xfee000f0, 0x1ff); /* local APIC on */
	mmio_write(0xfee00310, 1u << 24);
	mmio_write(0xfee00300, 0x4500); /* INIT */
	mmio_write(0xfee00310, 1u << 24);
	mmio_write(0xfee00300, 0x4608); /* SIPI, page 8 */
}
#endif

int guest_main(enum guest_boot boot, uint64_t params)
{
	(void)boot;
	(void)params;
#if END == 0
	out8(0x600, 5 << 2 | 1 << 5); /* ACPI S5 */
#elif END == 1
	out8(0x602, 1); /* ACPI reset register */
#elif END == 2
	out8(0x64, 0xfe); /* keyboard controller */
#elif END == 4
	jump_to_bios();
#elif END == 5
	out8(0xcf9, 0x02); /* PCI reset control: the kind first, then reset */
	out8(0xcf9, 0x06);
#elif END == 6
	{
		struct {
			uint16_t limit;
			uint64_t base;
		} __attribute__((packed)) none = { 0, 0 };

		/* As Linux resets by a triple fault: any exception will do. */
		__asm__ volatile("lidt %0" : : "m"(none));
		mmio_write(UINT64_C(1) << 40, 0);
	}
#else
	/* Nothing is mapped there, and nobody handles that. */
	mmio_write(UINT64_C(1) << 40, 0);
#endif
	for (;;)
		__asm__ volatile("hlt");
}
