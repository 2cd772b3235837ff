/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes 2 MiB to the disk of slot 0, each block with its own number in it, and
 * expects every request to succeed, however long one takes.
 */
#include "guest.h"

#define DEVICE 0xd0000000UL

enum {
	QUEUE_SIZE = 8,
	BLOCK = 65536,
	BLOCKS = 32,
	TYPE_OUT = 1,
	NEXT = 1,
	WRITES = 2
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

static struct {
	uint32_t type, reserved;
	uint64_t sector;
} header;

static volatile uint8_t status;
static uint32_t block[BLOCK / 4];

static void set_address(uint32_t reg, const volatile void *at)
{
	mmio_write(DEVICE + reg, (uint32_t)(uint64_t)at);
	mmio_write(DEVICE + reg + 4, (uint32_t)((uint64_t)at >> 32));
}

static int set_up(void)
{
	CHECK(mmio_read(DEVICE) == 0x74726976, 1);
	CHECK(mmio_read(DEVICE + 8) == 2, 2); /* block device */
	mmio_write(DEVICE + 0x70, 0);
	mmio_write(DEVICE + 0x70, 1 | 2);
	mmio_write(DEVICE + 0x24, 1);
	mmio_write(DEVICE + 0x20, 1); /* VERSION_1 */
	mmio_write(DEVICE + 0x24, 0);
	mmio_write(DEVICE + 0x20, 0);
	mmio_write(DEVICE + 0x70, 1 | 2 | 8);
	mmio_write(DEVICE + 0x30, 0);
	mmio_write(DEVICE + 0x38, QUEUE_SIZE);
	set_address(0x80, descriptors);
	set_address(0x90, &available);
	set_address(0xa0, &used);
	mmio_write(DEVICE + 0x44, 1);
	mmio_write(DEVICE + 0x70, 1 | 2 | 8 | 4);
	CHECK(mmio_read(DEVICE + 0x70) == (1 | 2 | 8 | 4), 3);
	return 0;
}

static void describe(unsigned i, const volatile void *at, uint32_t length,
		     uint16_t flags)
{
	descriptors[i].address = (uint64_t)at;
	descriptors[i].length = length;
	descriptors[i].flags = flags;
	descriptors[i].next = (uint16_t)(i + 1);
}

int guest_main(enum guest_boot boot, uint64_t params)
{
	int rc = set_up();

	(void)boot;
	(void)params;
	if (rc)
		return rc;
	print("writing\n");
	for (uint16_t n = 0; n < BLOCKS; n++) {
		block[0] = n + 1u;
		block[BLOCK / 4 - 1] = ~(n + 1u);
		header.type = TYPE_OUT;
		header.sector = (uint64_t)n * (BLOCK / 512);
		status = 0xee;
		describe(0, &header, sizeof(header), NEXT);
		describe(1, block, BLOCK, NEXT);
		describe(2, &status, 1, WRITES);
		available.ring[n % QUEUE_SIZE] = 0;
		__asm__ volatile("" ::: "memory");
		available.index = (uint16_t)(n + 1);
		__asm__ volatile("" ::: "memory");
		mmio_write(DEVICE + 0x50, 0);
		while (used.index != n + 1)
			__asm__ volatile("pause");
		CHECK(status == 0, 4);
	}
	print("written\n");
	return 0;
}
