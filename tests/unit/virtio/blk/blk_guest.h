/* SPDX-License-Identifier: Apache-2.0 */
/* A guest with one disk in a memfd: what the tests of virtio/blk stand on. */
#ifndef TESTS_UNIT_VIRTIO_BLK_GUEST_H
#define TESTS_UNIT_VIRTIO_BLK_GUEST_H

#include "fake_driver.h"
#include "virtio/blk/blk.h"

enum {
	SECTOR = 512,
	DISK_SECTORS = 256,
	DISK_BYTES = DISK_SECTORS * SECTOR,
	THREADS = 4,
	DATA_LEN = 8 * SECTOR,
	/* Answer of request() when the chain did not come back. */
	NO_ANSWER = 0x100
};

struct blk_guest {
	struct fake_driver d;
	struct loop *loop;
	struct virtio_device *dev;
	int fd; /* a duplicate, to look at the disk */
	uint64_t header_gpa, data_gpa, status_gpa;
	uint8_t *data;
	uint32_t used_len;
	/* What io_failed was told. */
	unsigned failures;
	int failure;
	bool keep; /* what it answers */
	enum virtio_blk_kind engine; /* of those that are made */
};

/* One at a time: between a setup and its teardown. */
extern struct blk_guest f;
/* What blk_guest_begin() makes; threads unless a test says otherwise. */
extern enum virtio_blk_kind blk_guest_engine;
extern unsigned blk_guest_queues;

/* cmocka fixtures: a writable, durable disk with the driver up; or nothing. */
int blk_guest_setup(void **state);
int blk_guest_setup_nothing(void **state);
int blk_guest_teardown(void **state);

/* Disk and device without a driver; for tests that choose their device. */
void blk_guest_begin(bool read_only, bool durable);
/* Another device for the same guest; owns fd. */
struct virtio_device *blk_guest_make(int fd, bool read_only, bool durable);

void blk_guest_put_header(uint32_t type, uint64_t sector);
/* The status of a request with len bytes of data in f.data, or NO_ANSWER. */
unsigned blk_guest_request(uint32_t type, uint64_t sector, uint32_t len);

#endif
