/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest that breaks every rule it can reach: junk in every register of every
 * device slot in several widths and states, rings that lie outside of memory,
 * every I/O port but those that end the VM. The monitor must be there at the
 * end.
 */
#include "guest.h"

#define DEVICES	 0xd0000000UL
#define SLOT_LEN 0x1000UL

enum {
	SLOTS = 5,
	REGISTERS_END = 0x120
};

static const uint64_t junk[] = { 0, 1, ~UINT64_C(0), 0x7fffffff80000001 };

static void poke(uint64_t at, uint64_t value)
{
	*(volatile uint8_t *)at = (uint8_t)value;
	*(volatile uint16_t *)at = (uint16_t)value;
	*(volatile uint32_t *)at = (uint32_t)value;
	*(volatile uint64_t *)at = value;
	(void)*(volatile uint8_t *)at;
	(void)*(volatile uint16_t *)at;
	(void)*(volatile uint64_t *)at;
}

/* Brings a device to DRIVER_OK with queue 0 at an address of our choice. */
static void start_device(uint64_t device, uint32_t ring, uint32_t size)
{
	mmio_write(device + 0x70, 0);
	mmio_write(device + 0x70, 3);
	mmio_write(device + 0x24, 1);
	mmio_write(device + 0x20, 1); /* VERSION_1 */
	mmio_write(device + 0x70, 11);
	mmio_write(device + 0x30, 0);
	mmio_write(device + 0x38, size);
	for (uint32_t reg = 0x80; reg <= 0xa4; reg += 4)
		mmio_write(device + reg, reg & 4 ? 0 : ring);
	mmio_write(device + 0x44, 1);
	mmio_write(device + 0x70, 15);
	mmio_write(device + 0x50, 0);
}

static void attack_slot(uint64_t device)
{
	/* Low memory holds boot structures: a ring of junk. */
	static const uint32_t rings[] = { 0xfffff000, 0x7000, 0x100000, 1 };

	for (uint32_t i = 0; i < 4; i++) {
		start_device(device, rings[i], 8);
		start_device(device, rings[i], 0xffff);
		for (uint64_t at = 0; at < REGISTERS_END; at += 4)
			poke(device + at, junk[i]);
		poke(device + SLOT_LEN - 8, junk[i]);
		mmio_write(device + 0x50, 0xffffffff);
	}
	mmio_write(device + 0x70, 0);
}

static int deadly(uint32_t port)
{
	return (port >= 0x600 && port <= 0x602) || port == 0x64 ||
	       port == 0xcf9 || port == PORT_DEBUG_EXIT;
}

static void attack_ports(void)
{
	for (uint32_t port = 0; port < 0x1000; port++) {
		if (deadly(port))
			continue;
		out8((uint16_t)port, 0xff);
		(void)in8((uint16_t)port);
		if (deadly(port + 1) || deadly(port + 2) || deadly(port + 3))
			continue;
		__asm__ volatile("outl %0, %w1" : : "a"(-1), "d"(port));
		__asm__ volatile("outw %w0, %w1" : : "a"(-1), "d"(port));
	}
}

int guest_main(enum guest_boot boot, uint64_t params)
{
	(void)boot;
	(void)params;
	for (uint64_t slot = 0; slot < SLOTS; slot++)
		attack_slot(DEVICES + slot * SLOT_LEN);
	poke(DEVICES + 16 * SLOT_LEN, 1); /* nobody is there */
	for (uint32_t i = 0; i < 0x100; i++) {
		mmio_write(0xfec00000, i);
		mmio_write(0xfec00010, 0xffffffff);
	}
	attack_ports();
	return 7;
}
