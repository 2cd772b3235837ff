/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-mmio transport, version 2 (VIRTIO 1.2, section 4.2): a register file
 * of 4 KiB in front of one device. Knows nothing of KVM: the monitor gives
 * callbacks for the interrupt line and for "queues are live", where it registers
 * ioeventfds (late, because that is what makes KVM teardown slow: only a driver
 * that is really there pays for it).
 */
#ifndef VIRTIO_MMIO_H
#define VIRTIO_MMIO_H

#include "virtio/device.h"

enum {
	VIRTIO_MMIO_LEN = 0x1000,
	VIRTIO_MMIO_NOTIFY = 0x50
};

struct virtio_mmio_ops {
	/*
	 * Level of the interrupt line is (InterruptStatus != 0). Called with
	 * true when it rises and when an acknowledgement leaves it up: a line
	 * that works by edges or messages needs one for each. Not for a cause
	 * that comes while another waits: the driver has not begun yet.
	 */
	void (*set_irq)(void *ctx, bool level);
	/* DRIVER_OK / reset: register or remove ioeventfds. May be NULL. */
	void (*set_active)(void *ctx, bool active);
	/* A queue has no request in flight any more. May be NULL. */
	void (*drained)(void *ctx);
};

struct virtio_mmio {
	struct virtio_device *dev; /* not owned */
	const struct virtio_mmio_ops *ops;
	void *ctx;
	uint32_t status;
	uint32_t interrupt_status;
	uint32_t device_features_sel, driver_features_sel;
	uint64_t driver_features;
	uint32_t queue_sel;
	uint32_t config_generation;
	bool resetting; /* until nothing is in flight; Status is not 0 yet */
};

void virtio_mmio_init(struct virtio_mmio *t, struct virtio_device *dev,
		      const struct virtio_mmio_ops *ops, void *ctx);

/*
 * Register access by the guest: offset < VIRTIO_MMIO_LEN, any offset, any len
 * of 1, 2, 4, 8. Reads of what does not exist give zeros.
 */
void virtio_mmio_read(struct virtio_mmio *t, uint64_t offset, void *data,
		      uint32_t len);
void virtio_mmio_write(struct virtio_mmio *t, uint64_t offset, const void *data,
		       uint32_t len);

/*
 * A reset or the stop of a queue that the driver has asked for waits for requests
 * in flight. Registers show it (2.1, 4.2.2: it is done when they read as 0), but
 * Linux does not look: whoever runs the guest lets the vCPU that asked wait, or
 * it would use memory again that the host still writes.
 */
bool virtio_mmio_busy(const struct virtio_mmio *t);

/* A kick that arrived by ioeventfd. */
void virtio_mmio_kick(struct virtio_mmio *t, uint16_t queue);

/*
 * Section "<name><instance>" with transport, queues and device state; nothing
 * may be in flight. Loading
 * goes into a new device with the guest's memory in place; after a failure the
 * device is only good for being freed. It makes no callbacks but those of the
 * device's own load; virtio_mmio_resume() does, once, when the guest is about
 * to run: interrupt line, set_active, and a kick of every live queue, because
 * a kick may have been lost between the guest and the saved state.
 */
void virtio_mmio_save(struct virtio_mmio *t, struct state_writer *w,
		      unsigned instance);
int virtio_mmio_load(struct virtio_mmio *t, struct state_reader *r,
		     unsigned instance, struct err *e);
void virtio_mmio_resume(struct virtio_mmio *t);

/* The features in dev->features become properties of its queues. */
void virtio_mmio_apply_features(struct virtio_device *dev);

#endif
