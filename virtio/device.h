/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every virtio device is to the transport and to the monitor: a const ops
 * table, some queues, an interrupt callback. No KVM, no paths: a unit test can
 * be the guest.
 *
 * Threads: every op runs under the machine lock, on a vCPU thread (register
 * accesses), on the loop thread (kicks by ioeventfd, host-side events) or on a
 * thread of the device's own. The loop's callbacks run under that lock too, so
 * an op may use the loop (arm a timer, change a source) on either thread.
 *
 * Requests that outlive a call: virtio_device_submit() counts one that was taken
 * from a queue, virtio_device_complete() answers it, in any order. Until then
 * the host may read and write the guest's memory, so a reset, the stop of a
 * queue and a pause are done only when the count is zero; nobody waits for that
 * with the lock held.
 *
 * A guest that breaks the rules gets virtio_device_fail(): status gains
 * DEVICE_NEEDS_RESET (2.1.2), a counter moves, the process goes on.
 */
#ifndef VIRTIO_DEVICE_H
#define VIRTIO_DEVICE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/log.h"
#include "base/loop.h"
#include "base/state.h"
#include "virtio/guest_mem.h"
#include "virtio/virtq.h"

enum {
	VIRTIO_QUEUES_MAX = 5
};

struct virtio_device;

struct virtio_device_ops {
	const char *name; /* "blk": used in logs and state section names */
	uint32_t device_id; /* VIRTIO 1.2 section 5 */
	uint16_t queue_count; /* at most; a device may be made with fewer */
	uint16_t config_len; /* bytes of device configuration space */
	/* The driver set DRIVER_OK: features are final, ready queues usable. */
	void (*activate)(struct virtio_device *dev);
	/*
	 * Back to the state after creation; host-side resources stay open. What
	 * is in flight goes on, and its answer is dropped.
	 */
	void (*reset)(struct virtio_device *dev);
	/*
	 * For a pause; all three NULL where nothing is ever in flight. quiesce:
	 * no more is begun. retry: still so, but what was kept for the host's
	 * sake is begun again. resume: goes on.
	 */
	void (*quiesce)(struct virtio_device *dev);
	void (*retry)(struct virtio_device *dev);
	void (*resume)(struct virtio_device *dev);
	/* The driver kicked queue `index` (it is ready; DRIVER_OK is set). */
	void (*kick)(struct virtio_device *dev, uint16_t index);
	/* offset + len <= config_len; len 1, 2, 4 or 8. */
	void (*config_read)(struct virtio_device *dev, uint32_t offset,
			    void *data, uint32_t len);
	/* May be NULL: writes are ignored. */
	void (*config_write)(struct virtio_device *dev, uint32_t offset,
			     const void *data, uint32_t len);
	/* Device-specific state; the transport saves queues and features. */
	void (*save)(struct virtio_device *dev, struct state_writer *w);
	int (*load)(struct virtio_device *dev, struct state_reader *r,
		    struct err *e);
	/* Closes host-side resources; dev is embedded in its owner. */
	void (*free)(struct virtio_device *dev);
};

/* Interrupt cause bits of virtio-mmio InterruptStatus (4.2.2). */
enum {
	VIRTIO_INT_USED = 1,
	VIRTIO_INT_CONFIG = 2
};

struct virtio_device {
	const struct virtio_device_ops *ops;
	const struct guest_mem *mem;
	struct loop *loop;
	uint64_t features_offered; /* ring features and VERSION_1 included */
	uint64_t features; /* accepted by the driver */
	struct virtq queues[VIRTIO_QUEUES_MAX];
	uint16_t queue_count; /* constant once a transport is in front of it */
	bool active; /* DRIVER_OK seen, not reset, not failed */
	unsigned in_flight; /* of all queues; see virtio_device_submit() */
	uint16_t loaded_version; /* of the section, in ops->load */
	/* Set by the transport. */
	void (*interrupt)(struct virtio_device *dev, uint32_t cause);
	void (*failed)(struct virtio_device *dev);
	void (*drained)(struct virtio_device *dev); /* a queue has none left */
	void *transport;
	/* Guest errors since start; the log is rate-limited. */
	uint64_t guest_errors;
	struct log_rate guest_error_rate;
	uint64_t failures; /* of those, the ones that ask for a reset */
};

/*
 * Common initialisation by a device's constructor: queue sizes from queue_max,
 * features = device_features | VERSION_1 | EVENT_IDX | INDIRECT_DESC.
 */
void virtio_device_init(struct virtio_device *dev,
			const struct virtio_device_ops *ops,
			const struct guest_mem *mem, struct loop *loop,
			uint64_t device_features, uint16_t queue_max);

static inline bool virtio_has_feature(const struct virtio_device *dev,
				      unsigned bit)
{
	return (dev->features >> bit) & 1;
}

/* The guest broke a rule: NEEDS_RESET, configuration interrupt, log. */
void virtio_device_fail(struct virtio_device *dev, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* A chain of queue `index` is in flight from now on. */
void virtio_device_submit(struct virtio_device *dev, uint16_t index);
/* Whether the driver still waits for its answer: no reset, no failure. */
static inline bool virtio_device_wants(const struct virtio_device *dev,
				       uint16_t index)
{
	return dev->active && dev->queues[index].ready;
}
/* It is done, with `written` bytes in its write parts; pushed if wanted. */
void virtio_device_complete(struct virtio_device *dev, uint16_t index,
			    uint16_t head, uint32_t written);
/* It is in flight no more, but not answered: the device keeps it. */
void virtio_device_withdraw(struct virtio_device *dev, uint16_t index);

/* Interrupts the driver for queue `index` if it asked to be. */
void virtio_device_signal(struct virtio_device *dev, uint16_t index);

/* Configuration changed: generation moves, configuration interrupt (2.5.1). */
void virtio_device_config_changed(struct virtio_device *dev);

#endif
