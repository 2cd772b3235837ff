/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request of the block device (VIRTIO 1.2, 5.2.6), in three steps:
 *
 *   blk_request_check    lock held   reads and checks what the driver asks for
 *   blk_request_perform  no lock     the host's file: it may take seconds
 *   blk_request_written  lock held   status byte, and what the used ring says
 *
 * Everything in a request comes from the guest. What was checked is a copy, or
 * is no more than which guest memory is read and written.
 */
#ifndef VIRTIO_BLK_REQUEST_H
#define VIRTIO_BLK_REQUEST_H

#include <linux/virtio_blk.h>

#include "virtio/virtq.h"

enum {
	BLK_SECTOR = 512,
	/* Punching a hole is cheap; zeros may have to be written out, and
	 * requests behind them wait. Hence 2 GiB and 32 MiB. */
	BLK_DISCARD_SECTORS_MAX = 1 << 22,
	BLK_DISCARD_SEG_MAX = 16,
	BLK_ZEROES_SECTORS_MAX = 1 << 16,
	BLK_ZEROES_SEG_MAX = 1
};

/* What the requests of a disk depend on. */
struct blk_disk {
	int fd;
	bool durable, read_only;
	uint64_t capacity_sectors;
	char id[VIRTIO_BLK_ID_BYTES]; /* padded with NUL, not ended by one */
};

struct blk_request {
	struct virtq_chain *chain;
	uint32_t type;
	uint64_t sector;
	uint64_t data_bytes; /* the device may write, status byte apart */
	uint8_t *status_at;
	uint8_t status; /* so far; OK while the file has to be asked */
	const char *operation; /* on the host's file; NULL: none is needed */
	bool sync; /* the file must be stable afterwards */
	struct iovec *iov; /* data in the chain */
	size_t count;
	struct virtio_blk_discard_write_zeroes ranges[BLK_DISCARD_SEG_MAX];
	size_t range_count;
	int rc; /* of the operation: 0 or -errno */
};

/*
 * Takes the request in *chain (which stays the caller's, until the request is
 * done with). features: what the driver negotiated. False: it has no header or
 * no room for a status, the device must fail.
 */
bool blk_request_check(struct blk_request *r, const struct blk_disk *disk,
		       uint64_t features, struct virtq_chain *chain);

/* Any thread. The disk's fd and durable are constant. Sets rc. */
void blk_request_perform(struct blk_request *r, const struct blk_disk *disk);

/* Writes the status byte; returns the length for the used ring. */
uint32_t blk_request_written(const struct blk_request *r);

#endif
