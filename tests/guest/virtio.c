/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Drives the entropy device of slot 0 as a driver would: feature negotiation,
 * one queue, one request, and the interrupt through the I/O APIC. GSI 16.
 */
#include "guest.h"

#define DEVICE 0xd0000000UL
#define IOAPIC 0xfec00000UL

enum {
	QUEUE_SIZE = 8,
	GSI = 16,
	VECTOR = 0x40
};

static struct {
	uint64_t address;
	uint32_t length;
	uint16_t flags, next;
} descriptors[QUEUE_SIZE] __attribute__((aligned(16)));

static struct {
	uint16_t flags, index, ring[QUEUE_SIZE + 1];
} available __attribute__((aligned(2)));

static volatile struct {
	uint16_t flags, index;
	struct {
		uint32_t id, length;
	} ring[QUEUE_SIZE];
	uint16_t event;
} used __attribute__((aligned(4)));

static uint8_t buffer[64];

static void set_address(uint32_t reg, const volatile void *at)
{
	mmio_write(DEVICE + reg, (uint32_t)(uint64_t)at);
	mmio_write(DEVICE + reg + 4, (uint32_t)((uint64_t)at >> 32));
}

static int set_up(void)
{
	CHECK(mmio_read(DEVICE) == 0x74726976, 1);
	CHECK(mmio_read(DEVICE + 4) == 2, 2);
	CHECK(mmio_read(DEVICE + 8) == 4, 3); /* entropy */
	mmio_write(DEVICE + 0x70, 0);
	mmio_write(DEVICE + 0x70, 1 | 2);
	mmio_write(DEVICE + 0x14, 1);
	CHECK(mmio_read(DEVICE + 0x10) & 1, 4); /* VERSION_1 */
	mmio_write(DEVICE + 0x24, 1);
	mmio_write(DEVICE + 0x20, 1);
	mmio_write(DEVICE + 0x24, 0);
	mmio_write(DEVICE + 0x20, 0);
	mmio_write(DEVICE + 0x70, 1 | 2 | 8);
	CHECK(mmio_read(DEVICE + 0x70) == (1 | 2 | 8), 5);
	mmio_write(DEVICE + 0x30, 0);
	CHECK(mmio_read(DEVICE + 0x34) >= QUEUE_SIZE, 6);
	mmio_write(DEVICE + 0x38, QUEUE_SIZE);
	set_address(0x80, descriptors);
	set_address(0x90, &available);
	set_address(0xa0, &used);
	mmio_write(DEVICE + 0x44, 1);
	mmio_write(DEVICE + 0x70, 1 | 2 | 8 | 4);
	CHECK(mmio_read(DEVICE + 0x70) == (1 | 2 | 8 | 4), 7);
	return 0;
}

static void set_up_interrupt(void)
{
	guest_install_idt();
	mmio_write(0xfee000f0, 0x1ff); /* local APIC on */
	mmio_write(IOAPIC, 0x10 + 2 * GSI);
	mmio_write(IOAPIC + 0x10, VECTOR); /* edge, fixed, to APIC 0 */
	mmio_write(IOAPIC, 0x11 + 2 * GSI);
	mmio_write(IOAPIC + 0x10, 0);
	__asm__ volatile("sti");
}

int guest_main(enum guest_boot boot, uint64_t params)
{
	uint32_t nonzero = 0;
	int rc = set_up();

	(void)boot;
	(void)params;
	if (rc)
		return rc;
	set_up_interrupt();
	for (uint16_t round = 1; round <= 3; round++) {
		descriptors[0].address = (uint64_t)buffer;
		descriptors[0].length = sizeof(buffer);
		descriptors[0].flags = 2; /* the device writes */
		available.ring[(round - 1) % QUEUE_SIZE] = 0;
		__asm__ volatile("" ::: "memory");
		available.index = round;
		__asm__ volatile("" ::: "memory");
		mmio_write(DEVICE + 0x50, 0);
		while (guest_irq_count < round)
			__asm__ volatile("pause");
		CHECK(mmio_read(DEVICE + 0x60) == 1, 8);
		mmio_write(DEVICE + 0x64, 1);
		CHECK(mmio_read(DEVICE + 0x60) == 0, 9);
		CHECK(used.index == round, 10);
		CHECK(used.ring[round - 1].length == sizeof(buffer), 11);
	}
	for (uint32_t i = 0; i < sizeof(buffer); i++)
		nonzero += *(volatile uint8_t *)(buffer + i) != 0;
	CHECK(nonzero > 32, 12);
	mmio_write(DEVICE + 0x70, 0); /* reset removes the kick descriptor */
	CHECK(mmio_read(DEVICE + 0x70) == 0, 13);
	return 0;
}
