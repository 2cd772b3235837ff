/* SPDX-License-Identifier: Apache-2.0 */
/* Starts a second vCPU by INIT and SIPI. Source: Intel SDM volume 3, 8.4. */
#include "guest.h"

extern const uint8_t second_cpu[], second_cpu_end[];

#define LAPIC_ICR_LOW  0xfee00300
#define LAPIC_ICR_HIGH 0xfee00310

int guest_main(enum guest_boot boot, uint64_t params)
{
	volatile uint8_t *target = (volatile uint8_t *)0x8000;

	(void)boot;
	(void)params;
#ifndef PVH
	/* The second vCPU takes page tables that only PVH's entry builds. */
	return 1;
#endif
	for (uint32_t i = 0; i < (uint32_t)(second_cpu_end - second_cpu); i++)
		target[i] = second_cpu[i];
	mmio_write(0xfee000f0, 0x1ff); /* local APIC on */
	mmio_write(LAPIC_ICR_HIGH, 1u << 24);
	mmio_write(LAPIC_ICR_LOW, 0x4500); /* INIT */
	mmio_write(LAPIC_ICR_HIGH, 1u << 24);
	mmio_write(LAPIC_ICR_LOW, 0x4608); /* SIPI, page 8 */
	while (!guest_second_cpu)
		__asm__ volatile("pause");
	return 0;
}
