/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Serving a queue that the driver fills: take chains, give each to the device,
 * return it, interrupt, ask for kicks, look once more. One turn is bounded, in
 * chains and in bytes, so that a guest that refills the queue as fast as it is
 * emptied, or whose requests are huge, cannot keep the machine lock: the rest is
 * done from the loop after others had theirs, in its next turn and without a
 * delay.
 */
#ifndef VIRTIO_DRAIN_H
#define VIRTIO_DRAIN_H

#include "virtio/device.h"

/*
 * Chains served in one turn, and the bytes of chains after which no other one is
 * begun: a chain may have 4 GiB, an honest driver's has a few MiB at most.
 */
enum {
	VIRTIO_DRAIN_TURN = 64,
	VIRTIO_DRAIN_BYTES = 16 << 20
};

/* What a handler may answer besides the number of bytes it wrote. */
enum {
	VIRTIO_DRAIN_STALL = -1, /* chain goes back; device calls run() later */
	VIRTIO_DRAIN_FAILED = -2, /* virtio_device_fail() was called */
	VIRTIO_DRAIN_AGAIN =
		-3 /* chain goes back; the next turn has it again */
};

/* Bytes written into the chain's write parts, or VIRTIO_DRAIN_*. */
typedef int64_t virtio_drain_fn(struct virtio_device *dev,
				struct virtq_chain *chain);

struct virtio_drain {
	struct virtio_device *dev;
	uint16_t index;
	virtio_drain_fn *fn;
	struct loop_timer again;
	struct virtq_chain chain; /* here because it is too big for a stack */
};

/* Embedded in the device, after virtio_device_init(). */
void virtio_drain_init(struct virtio_drain *d, struct virtio_device *dev,
		       uint16_t index, virtio_drain_fn *fn);

/* From kick, activate, and when a stall is over. */
void virtio_drain_run(struct virtio_drain *d);

/* From reset and free. */
void virtio_drain_stop(struct virtio_drain *d);

#endif
