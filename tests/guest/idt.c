/* SPDX-License-Identifier: Apache-2.0 */
/* One interrupt gate: vector 0x40. Source: Intel SDM volume 3, 6.14. */
#include "guest.h"

extern char irq_entry[];

static struct {
	uint16_t offset_low, selector;
	uint8_t ist, flags;
	uint16_t offset_mid;
	uint32_t offset_high, reserved;
} idt[65];

void guest_install_idt(void)
{
	uint64_t at = (uint64_t)irq_entry;
	struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) pointer = { sizeof(idt) - 1, (uint64_t)idt };
	uint16_t code;

	__asm__ volatile("mov %%cs, %0" : "=r"(code));
	idt[64].offset_low = (uint16_t)at;
	idt[64].selector = code;
	idt[64].flags = 0x8e;
	idt[64].offset_mid = (uint16_t)(at >> 16);
	idt[64].offset_high = (uint32_t)(at >> 32);
	__asm__ volatile("lidt %0" : : "m"(pointer));
}
