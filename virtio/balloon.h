/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-balloon (VIRTIO 1.2, 5.5): the guest gives memory back. Three ways:
 * pages it takes out of its use because the monitor asks for them (inflate),
 * pages that happen to be free (reporting), and numbers about its memory.
 *
 * A page that was given back reads as zeros when the guest touches it again. No
 * promise is made that a guest gives what it is asked for.
 */
#ifndef VIRTIO_BALLOON_H
#define VIRTIO_BALLOON_H

#include "virtio/device.h"

/* What the guest says of its memory (5.5.6.3), in this order. */
enum balloon_stat {
	BALLOON_SWAP_IN, /* bytes */
	BALLOON_SWAP_OUT,
	BALLOON_MAJOR_FAULTS, /* since its start */
	BALLOON_MINOR_FAULTS,
	BALLOON_FREE, /* bytes */
	BALLOON_TOTAL,
	BALLOON_AVAILABLE,
	BALLOON_CACHES,
	BALLOON_HUGE_ALLOCATED, /* counts */
	BALLOON_HUGE_FAILED,
	BALLOON_STATS
};

struct virtio_balloon_setup {
	uint64_t amount_bytes; /* asked for from the start */
	bool deflate_on_oom; /* the guest may take pages back when in need */
	bool reporting;
	unsigned stats_seconds; /* 0: no numbers */
	/* The host may have these pages of guest memory; they read as zeros
	 * afterwards. Page-aligned. */
	void (*discard)(void *ctx, void *host, size_t len);
	void *ctx;
};

struct virtio_balloon_info {
	uint64_t target_bytes, actual_bytes; /* asked for, and given */
	uint64_t reported_bytes; /* given as free, since the start */
	bool known[BALLOON_STATS];
	uint64_t stats[BALLOON_STATS];
};

int virtio_balloon_new(const struct virtio_balloon_setup *setup,
		       const struct guest_mem *mem, struct loop *loop,
		       struct virtio_device **ret, struct err *e);
/* So much shall the guest give, rounded down to pages; it is told at once. */
void virtio_balloon_set(struct virtio_device *dev, uint64_t amount_bytes);
void virtio_balloon_read(const struct virtio_device *dev,
			 struct virtio_balloon_info *ret);

#endif
