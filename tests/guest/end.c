/* SPDX-License-Identifier: Apache-2.0 */
/* Ends in the way that END says, each with its own exit status. */
#include "guest.h"

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
#else
	{
		struct {
			uint16_t limit;
			uint64_t base;
		} __attribute__((packed)) none = { 0, 0 };

		/* Nothing is mapped there, and nobody handles that. */
		__asm__ volatile("lidt %0" : : "m"(none));
		mmio_write(UINT64_C(1) << 40, 0);
	}
#endif
	for (;;)
		__asm__ volatile("hlt");
}
