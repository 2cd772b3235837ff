/* SPDX-License-Identifier: Apache-2.0 */
/* What the block device does to its file: raw, synchronous, whole or failed. */
#ifndef VIRTIO_BLK_IO_H
#define VIRTIO_BLK_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/err.h"

/* Size of a regular file or a block device in bytes. */
int blk_io_size(int fd, uint64_t *ret_bytes, struct err *e);

/*
 * Moves the whole of the list (at most IOV_MAX parts; it is changed) at
 * offset. 0 or -errno; -EIO when the file ends early.
 */
int blk_io_transfer(int fd, struct iovec *iov, size_t count, uint64_t offset,
		    bool write);

/* Gives the range back to the file system. -EOPNOTSUPP where it cannot. */
int blk_io_discard(int fd, uint64_t offset, uint64_t len);

/* The range reads as zeros afterwards; may_unmap: it need not keep its room. */
int blk_io_write_zeroes(int fd, uint64_t offset, uint64_t len, bool may_unmap);

#endif
