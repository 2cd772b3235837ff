/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the block device does to its file: single operations, as an engine gives
 * them to the host's kernel, and the same made by a thread that waits.
 */
#ifndef VIRTIO_BLK_IO_H
#define VIRTIO_BLK_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/err.h"

enum blk_op_kind {
	BLK_OP_READ,
	BLK_OP_WRITE,
	BLK_OP_ALLOCATE, /* fallocate() with `mode`: holes and zeros */
	BLK_OP_SYNC /* fdatasync() */
};

struct blk_op {
	enum blk_op_kind kind;
	int mode;
	uint64_t offset, len; /* bytes; len: of BLK_OP_ALLOCATE */
	struct iovec *iov; /* at most IOV_MAX parts */
	size_t count;
};

/* Size of a regular file or a block device in bytes. */
int blk_io_size(int fd, uint64_t *ret_bytes, struct err *e);

/* Any thread; waits. Bytes moved (may be fewer than asked), 0, or -errno. */
int64_t blk_io_run(int fd, const struct blk_op *op);

#endif
