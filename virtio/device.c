/* SPDX-License-Identifier: Apache-2.0 */
/* What all virtio devices share; see device.h. */
#include "virtio/device.h"

#include <assert.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <stdarg.h>
#include <stdio.h>

/*
 * Failures a second that reach the log, per device, and how many of them at all
 * before only every doubling of their number does: a guest can reset and fail
 * for years, and the log is a file of the host.
 */
enum {
	GUEST_ERRORS_LOGGED = 5,
	FAILURES_LOGGED = 32
};

void virtio_device_init(struct virtio_device *dev,
			const struct virtio_device_ops *ops,
			const struct guest_mem *mem, struct loop *loop,
			uint64_t device_features, uint16_t queue_max)
{
	assert(ops->queue_count <= VIRTIO_QUEUES_MAX);
	assert(queue_max && queue_max <= VIRTQ_SIZE_MAX);
	assert(!(queue_max & (queue_max - 1)));
	*dev = (struct virtio_device){
		.ops = ops,
		.mem = mem,
		.loop = loop,
		.queue_count = ops->queue_count,
		.features_offered = device_features |
				    1ull << VIRTIO_F_VERSION_1 |
				    1ull << VIRTIO_RING_F_EVENT_IDX |
				    1ull << VIRTIO_RING_F_INDIRECT_DESC,
		.guest_error_rate = LOG_RATE_INIT(GUEST_ERRORS_LOGGED),
	};
	for (uint16_t i = 0; i < ops->queue_count; i++) {
		dev->queues[i].mem = mem;
		dev->queues[i].size_max = queue_max;
	}
}

void virtio_device_fail(struct virtio_device *dev, const char *fmt, ...)
{
	uint64_t nth = ++dev->failures;
	char what[160];
	va_list ap;

	dev->guest_errors++;
	if ((nth <= FAILURES_LOGGED || !(nth & (nth - 1))) &&
	    log_rate_ok(&dev->guest_error_rate)) {
		va_start(ap, fmt);
		(void)vsnprintf(what, sizeof(what), fmt, ap);
		va_end(ap);
		/* The guest's errors end here: this is their boundary. */
		log_warn("virtio-%s: the guest broke a rule: %s; the device "
			 "waits for its reset (failure %llu)",
			 dev->ops->name, what, (unsigned long long)nth);
	}
	dev->active = false;
	if (dev->failed)
		dev->failed(dev);
}

void virtio_device_submit(struct virtio_device *dev, uint16_t index)
{
	dev->queues[index].in_flight++;
	dev->in_flight++;
}

void virtio_device_withdraw(struct virtio_device *dev, uint16_t index)
{
	struct virtq *q = &dev->queues[index];

	assert(q->in_flight && dev->in_flight);
	q->in_flight--;
	dev->in_flight--;
	if (!q->in_flight && dev->drained)
		dev->drained(dev);
}

void virtio_device_complete(struct virtio_device *dev, uint16_t index,
			    uint16_t head, uint32_t written)
{
	if (virtio_device_wants(dev, index))
		(void)virtq_push(&dev->queues[index], head, written);
	virtio_device_withdraw(dev, index);
}

void virtio_device_signal(struct virtio_device *dev, uint16_t index)
{
	assert(index < dev->queue_count);
	if (dev->active && virtq_should_interrupt(&dev->queues[index]) &&
	    dev->interrupt)
		dev->interrupt(dev, VIRTIO_INT_USED);
}

void virtio_device_config_changed(struct virtio_device *dev)
{
	if (dev->interrupt)
		dev->interrupt(dev, VIRTIO_INT_CONFIG);
}
