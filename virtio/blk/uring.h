/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An io_uring for one file, restricted for good before it is enabled: this file
 * alone, by its registered number, and only what a disk needs (readv, writev,
 * fsync, fallocate). A system-call filter does not see what a ring is asked for;
 * the kernel's own restrictions do.
 *
 * Raw system calls: what is used of the interface is three calls and two rings.
 * Source: io_uring_setup(2), io_uring_enter(2), io_uring_register(2).
 *
 * Thread: one at a time.
 */
#ifndef VIRTIO_BLK_URING_H
#define VIRTIO_BLK_URING_H

#include <linux/io_uring.h>

#include "virtio/blk/blk_io.h"

struct uring {
	int fd; /* readable (poll) when a result waits */
	void *rings; /* both, in one mapping */
	size_t rings_len;
	struct io_uring_sqe *sqes;
	size_t sqes_len;
	unsigned entries;
	unsigned *sq_head, *sq_tail, *sq_array, sq_mask;
	unsigned *cq_head, *cq_tail, cq_mask;
	struct io_uring_cqe *cqes;
	unsigned queued; /* since the last uring_enter() */
};

/*
 * For file (not owned), with room for `entries` operations at once (a power of
 * two). -errno with the reason: the host has none for us (old kernel, sysctl
 * kernel.io_uring_disabled, a filter).
 */
int uring_open(struct uring *u, int file, unsigned entries, struct err *e);
void uring_close(struct uring *u);

/* Queues an operation; its list stays until uring_enter(). False: no room. */
bool uring_put(struct uring *u, const struct blk_op *op, void *tag);
/* Gives what is queued to the kernel; does not wait for results. 0 or -errno:
 * what was not taken stays queued. */
int uring_enter(struct uring *u);
/* Whether a result waits. */
bool uring_ready(const struct uring *u);
/* The next result; false when there is none. */
bool uring_take(struct uring *u, void **ret_tag, int *ret_result);

#endif
