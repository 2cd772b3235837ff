/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request of the block device (VIRTIO 1.2, 5.2.6) and its way:
 *
 *   blk_request_check    lock held   reads and checks what the driver asks for
 *   blk_request_next     any thread  the next operation on the host's file,
 *   blk_request_took     any thread  and what came of it, until there is none
 *   blk_request_written  lock held   status byte, and what the used ring says
 *
 * Requests of a disk are independent of each other and end in any order. FLUSH
 * covers the writes that were answered before it came (5.2.6.2); those have
 * reached the file, so it needs to wait for none.
 *
 * Everything in a request comes from the guest. What was checked is a copy, or
 * is no more than which guest memory is read and written.
 */
#ifndef VIRTIO_BLK_REQUEST_H
#define VIRTIO_BLK_REQUEST_H

#include <linux/virtio_blk.h>

#include "virtio/blk/blk_io.h"
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

/* What is done to the file, in this order as far as a request needs it. */
enum blk_stage {
	BLK_STAGE_DATA, /* the list is read or written */
	BLK_STAGE_RANGES, /* discard, write zeroes: one range after the other */
	BLK_STAGE_SYNC,
	BLK_STAGE_END
};

/* How a range becomes zeros: what a file system does not know, the next does. */
enum blk_zeroing {
	BLK_ZERO_BY_HOLE,
	BLK_ZERO_BY_RANGE,
	BLK_ZERO_BY_WRITING
};

struct blk_request {
	struct blk_request *next; /* in one list of its owner at a time */
	struct virtq_chain chain;
	uint16_t queue;
	uint32_t type;
	uint64_t sector;
	uint64_t data_bytes; /* the device may write, status byte apart */
	uint8_t *status_at;
	uint8_t status; /* so far; OK while the file has to be asked */
	const char *operation; /* on the host's file; NULL: none is needed */
	bool sync; /* the file must be stable afterwards */
	bool durable; /* the disk's: syncs are made at all */
	enum blk_stage stage;
	struct iovec *iov; /* data in the chain */
	size_t count;
	size_t at, cut; /* first part that is not done; bytes of it that are */
	uint64_t done; /* bytes of the list, or of the range's zeros */
	struct virtio_blk_discard_write_zeroes ranges[BLK_DISCARD_SEG_MAX];
	size_t range_count, range;
	unsigned tries; /* the engine's */
	enum blk_zeroing zeroing;
	int rc; /* 0 or -errno of the operation that failed */
};

/*
 * Takes the request in r->chain. features: what the driver negotiated. False:
 * it has no header or no room for a status, the device must fail.
 */
bool blk_request_check(struct blk_request *r, const struct blk_disk *disk,
		       uint64_t features);

/* What to do now; its list stays the request's. False: all is done, or failed. */
bool blk_request_next(struct blk_request *r, struct blk_op *ret);
/* Its result: bytes moved, 0, or -errno. */
void blk_request_took(struct blk_request *r, int64_t result);
/*
 * A request that failed, once more from its beginning: writing twice what was
 * written is the same, and after a sync that failed the kernel may take pages
 * that it did not write for clean.
 */
void blk_request_restart(struct blk_request *r);

/* Writes the status byte; returns the length for the used ring. */
uint32_t blk_request_written(const struct blk_request *r);

#endif
