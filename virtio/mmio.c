/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The registers of virtio-mmio version 2 (VIRTIO 1.2, 4.2.2) and the status
 * machine of 2.1 and 3.1.1 behind them.
 *
 * The guest may touch any register in any state. What the specification forbids
 * at that point is ignored and counted: it does nothing, and it is not worth
 * killing a guest for. Only what leaves the device without a way on (a queue
 * made live with impossible rings) sets DEVICE_NEEDS_RESET.
 *
 * Saving and loading is in mmio_state.c.
 */
#include "virtio/mmio.h"

#include <assert.h>
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <string.h>

#include "base/checked.h"

enum {
	MAGIC = 0x74726976, /* "virt" */
	VERSION = 2,
	VENDOR = 0x444d56, /* "VMD": any value is allowed */
	STATUS_DRIVER_BITS = VIRTIO_CONFIG_S_ACKNOWLEDGE |
			     VIRTIO_CONFIG_S_DRIVER |
			     VIRTIO_CONFIG_S_FEATURES_OK |
			     VIRTIO_CONFIG_S_DRIVER_OK | VIRTIO_CONFIG_S_FAILED,
	STATUS_STUCK = VIRTIO_CONFIG_S_FAILED | VIRTIO_CONFIG_S_NEEDS_RESET
};

/* A write that the specification forbids now; nothing else happens. */
static void refuse(struct virtio_mmio *t, const char *what, uint64_t offset)
{
	struct virtio_device *dev = t->dev;

	dev->guest_errors++;
	if (log_rate_ok(&dev->guest_error_rate))
		log_debug("virtio-%s: refused %s (register %#llx, status %#x)",
			  dev->ops->name, what, (unsigned long long)offset,
			  t->status);
}

static void update_irq(struct virtio_mmio *t)
{
	t->ops->set_irq(t->ctx, t->interrupt_status != 0);
}

static void on_interrupt(struct virtio_device *dev, uint32_t cause)
{
	struct virtio_mmio *t = dev->transport;
	bool waits;

	if (cause & VIRTIO_INT_CONFIG)
		t->config_generation++;
	/* Before it, nobody is there who could handle one. */
	if (!(t->status & VIRTIO_CONFIG_S_DRIVER))
		return;
	waits = t->interrupt_status != 0;
	t->interrupt_status |= cause;
	/* The driver acknowledges before it looks at its rings, and what an
	 * acknowledgement leaves asks again: one message is enough for both. */
	if (!waits)
		update_irq(t);
}

static void set_active(struct virtio_mmio *t, bool active)
{
	t->dev->active = active;
	if (t->ops->set_active)
		t->ops->set_active(t->ctx, active);
}

/* 2.1.2: NEEDS_RESET, and a configuration interrupt to a driver at work. */
static void on_failed(struct virtio_device *dev)
{
	struct virtio_mmio *t = dev->transport;

	set_active(t, false);
	t->status |= VIRTIO_CONFIG_S_NEEDS_RESET;
	if (t->status & VIRTIO_CONFIG_S_DRIVER_OK)
		on_interrupt(dev, VIRTIO_INT_CONFIG);
}

static void finish_reset(struct virtio_mmio *t);

static void on_drained(struct virtio_device *dev)
{
	struct virtio_mmio *t = dev->transport;

	for (uint16_t i = 0; i < dev->queue_count; i++) {
		struct virtq *q = &dev->queues[i];

		if (q->stopping && !q->in_flight)
			q->ready = q->stopping = false;
	}
	if (t->resetting && !dev->in_flight)
		finish_reset(t);
	if (t->ops->drained)
		t->ops->drained(t->ctx);
}

bool virtio_mmio_busy(const struct virtio_mmio *t)
{
	for (uint16_t i = 0; i < t->dev->queue_count; i++)
		if (t->dev->queues[i].stopping)
			return true;
	return t->resetting;
}

void virtio_mmio_init(struct virtio_mmio *t, struct virtio_device *dev,
		      const struct virtio_mmio_ops *ops, void *ctx)
{
	assert(ops->set_irq);
	*t = (struct virtio_mmio){ .dev = dev, .ops = ops, .ctx = ctx };
	dev->transport = t;
	dev->interrupt = on_interrupt;
	dev->failed = on_failed;
	dev->drained = on_drained;
}

static void finish_reset(struct virtio_mmio *t)
{
	struct virtio_device *dev = t->dev;

	t->resetting = false;
	for (uint16_t i = 0; i < dev->queue_count; i++)
		virtq_reset(&dev->queues[i]);
	dev->features = 0;
	t->status = 0;
	t->interrupt_status = 0;
	t->device_features_sel = 0;
	t->driver_features_sel = 0;
	t->driver_features = 0;
	t->queue_sel = 0;
	update_irq(t);
}

static void reset(struct virtio_mmio *t)
{
	set_active(t, false);
	t->resetting = true;
	t->dev->ops->reset(t->dev);
	if (t->resetting && !t->dev->in_flight)
		finish_reset(t);
}

/* 3.1.1 step 5: true when we can work with what the driver chose. */
static bool accept_features(struct virtio_mmio *t)
{
	struct virtio_device *dev = t->dev;

	if (t->driver_features & ~dev->features_offered)
		return false;
	if (!(t->driver_features & 1ull << VIRTIO_F_VERSION_1))
		return false;
	dev->features = t->driver_features;
	virtio_mmio_apply_features(dev);
	return true;
}

static void write_status(struct virtio_mmio *t, uint32_t value)
{
	uint32_t old = t->status & STATUS_DRIVER_BITS;
	uint32_t added = value & STATUS_DRIVER_BITS & ~old;

	if (value == 0) {
		reset(t);
		return;
	}
	/* 2.1.1: the driver must not clear a bit. */
	if ((value & old) != old) {
		refuse(t, "a status bit cleared", VIRTIO_MMIO_STATUS);
		return;
	}
	t->status |= added & VIRTIO_CONFIG_S_ACKNOWLEDGE;
	if ((added & VIRTIO_CONFIG_S_DRIVER) &&
	    (t->status & VIRTIO_CONFIG_S_ACKNOWLEDGE))
		t->status |= VIRTIO_CONFIG_S_DRIVER;
	if (added & VIRTIO_CONFIG_S_FAILED) {
		t->status |= VIRTIO_CONFIG_S_FAILED;
		set_active(t, false);
	}
	if (t->status & STATUS_STUCK)
		return;
	if ((added & VIRTIO_CONFIG_S_FEATURES_OK) &&
	    (t->status & VIRTIO_CONFIG_S_DRIVER) && accept_features(t))
		t->status |= VIRTIO_CONFIG_S_FEATURES_OK;
	if ((added & VIRTIO_CONFIG_S_DRIVER_OK) &&
	    (t->status & VIRTIO_CONFIG_S_FEATURES_OK)) {
		t->status |= VIRTIO_CONFIG_S_DRIVER_OK;
		set_active(t, true);
		t->dev->ops->activate(t->dev);
	}
	if (added & ~t->status)
		refuse(t, "a status bit out of order", VIRTIO_MMIO_STATUS);
}

/* The queue that QueueSel names, or NULL when there is none. */
static struct virtq *selected(struct virtio_mmio *t)
{
	if (t->queue_sel >= t->dev->queue_count)
		return NULL;
	return &t->dev->queues[t->queue_sel];
}

/* 3.1.1 step 7: queues are set up between FEATURES_OK and DRIVER_OK. */
static bool queues_open(const struct virtio_mmio *t)
{
	uint32_t stage = t->status & (VIRTIO_CONFIG_S_FEATURES_OK |
				      VIRTIO_CONFIG_S_DRIVER_OK | STATUS_STUCK);

	return stage == VIRTIO_CONFIG_S_FEATURES_OK;
}

static void write_queue_ready(struct virtio_mmio *t, struct virtq *q,
			      uint32_t value)
{
	if (!value) {
		/* Allowed at any time: stops the queue. */
		q->stopping = q->ready && q->in_flight;
		q->ready = q->stopping;
		return;
	}
	if (!queues_open(t) || q->ready) {
		refuse(t, "QueueReady", VIRTIO_MMIO_QUEUE_READY);
		return;
	}
	if (!virtq_enable(q))
		virtio_device_fail(t->dev,
				   "queue %u has an impossible size or address",
				   t->queue_sel);
}

static void set_half(uint64_t *v, uint32_t half, bool high)
{
	if (high)
		*v = (*v & UINT32_MAX) | (uint64_t)half << 32;
	else
		*v = (*v & ~(uint64_t)UINT32_MAX) | half;
}

static void write_queue(struct virtio_mmio *t, uint64_t offset, uint32_t value)
{
	struct virtq *q = selected(t);

	if (!q) {
		refuse(t, "a queue that does not exist", offset);
		return;
	}
	if (offset == VIRTIO_MMIO_QUEUE_READY) {
		write_queue_ready(t, q, value);
		return;
	}
	if (!queues_open(t) || q->ready) {
		refuse(t, "set-up of a queue", offset);
		return;
	}
	switch (offset) {
	case VIRTIO_MMIO_QUEUE_NUM:
		/* What does not fit is no size: virtq_enable() says so. */
		q->size = value > UINT16_MAX ? 0 : (uint16_t)value;
		break;
	case VIRTIO_MMIO_QUEUE_DESC_LOW:
	case VIRTIO_MMIO_QUEUE_DESC_HIGH:
		set_half(&q->desc_gpa, value,
			 offset == VIRTIO_MMIO_QUEUE_DESC_HIGH);
		break;
	case VIRTIO_MMIO_QUEUE_AVAIL_LOW:
	case VIRTIO_MMIO_QUEUE_AVAIL_HIGH:
		set_half(&q->avail_gpa, value,
			 offset == VIRTIO_MMIO_QUEUE_AVAIL_HIGH);
		break;
	case VIRTIO_MMIO_QUEUE_USED_LOW:
	case VIRTIO_MMIO_QUEUE_USED_HIGH:
		set_half(&q->used_gpa, value,
			 offset == VIRTIO_MMIO_QUEUE_USED_HIGH);
		break;
	default:
		assert(false);
	}
}

static void write_driver_features(struct virtio_mmio *t, uint32_t value)
{
	if (!(t->status & VIRTIO_CONFIG_S_DRIVER) ||
	    (t->status & (VIRTIO_CONFIG_S_FEATURES_OK | STATUS_STUCK)))
		refuse(t, "features", VIRTIO_MMIO_DRIVER_FEATURES);
	else if (t->driver_features_sel < 2)
		set_half(&t->driver_features, value, t->driver_features_sel);
	else if (value)
		refuse(t, "features over 63", VIRTIO_MMIO_DRIVER_FEATURES);
}

void virtio_mmio_kick(struct virtio_mmio *t, uint16_t queue)
{
	struct virtio_device *dev = t->dev;

	if (dev->active && queue < dev->queue_count && dev->queues[queue].ready)
		dev->ops->kick(dev, queue);
	else
		refuse(t, "a kick", VIRTIO_MMIO_QUEUE_NOTIFY);
}

static void write_register(struct virtio_mmio *t, uint64_t offset,
			   uint32_t value)
{
	if (t->resetting) {
		refuse(t, "a write before the reset was done", offset);
		return;
	}
	switch (offset) {
	case VIRTIO_MMIO_DEVICE_FEATURES_SEL:
		t->device_features_sel = value;
		break;
	case VIRTIO_MMIO_DRIVER_FEATURES:
		write_driver_features(t, value);
		break;
	case VIRTIO_MMIO_DRIVER_FEATURES_SEL:
		t->driver_features_sel = value;
		break;
	case VIRTIO_MMIO_QUEUE_SEL:
		t->queue_sel = value;
		break;
	case VIRTIO_MMIO_QUEUE_NUM:
	case VIRTIO_MMIO_QUEUE_READY:
	case VIRTIO_MMIO_QUEUE_DESC_LOW:
	case VIRTIO_MMIO_QUEUE_DESC_HIGH:
	case VIRTIO_MMIO_QUEUE_AVAIL_LOW:
	case VIRTIO_MMIO_QUEUE_AVAIL_HIGH:
	case VIRTIO_MMIO_QUEUE_USED_LOW:
	case VIRTIO_MMIO_QUEUE_USED_HIGH:
		write_queue(t, offset, value);
		break;
	case VIRTIO_MMIO_QUEUE_NOTIFY:
		virtio_mmio_kick(t, value > UINT16_MAX ? UINT16_MAX
						       : (uint16_t)value);
		break;
	case VIRTIO_MMIO_INTERRUPT_ACK:
		t->interrupt_status &= ~value;
		update_irq(t);
		break;
	case VIRTIO_MMIO_STATUS:
		write_status(t, value);
		break;
	default:
		refuse(t, "a write", offset);
	}
}

static uint32_t read_register(struct virtio_mmio *t, uint64_t offset)
{
	struct virtq *q = selected(t);

	switch (offset) {
	case VIRTIO_MMIO_MAGIC_VALUE:
		return MAGIC;
	case VIRTIO_MMIO_VERSION:
		return VERSION;
	case VIRTIO_MMIO_DEVICE_ID:
		return t->dev->ops->device_id;
	case VIRTIO_MMIO_VENDOR_ID:
		return VENDOR;
	case VIRTIO_MMIO_DEVICE_FEATURES:
		if (t->device_features_sel > 1)
			return 0;
		return (uint32_t)(t->dev->features_offered >>
				  (32 * t->device_features_sel));
	case VIRTIO_MMIO_QUEUE_NUM_MAX:
		return q ? q->size_max : 0;
	case VIRTIO_MMIO_QUEUE_READY:
		return q && q->ready;
	case VIRTIO_MMIO_INTERRUPT_STATUS:
		return t->interrupt_status;
	case VIRTIO_MMIO_STATUS:
		return t->status;
	case VIRTIO_MMIO_CONFIG_GENERATION:
		return t->config_generation;
	/* 4.2.2.1: no shared memory region reads as length -1. */
	case VIRTIO_MMIO_SHM_LEN_LOW:
	case VIRTIO_MMIO_SHM_LEN_HIGH:
	case VIRTIO_MMIO_SHM_BASE_LOW:
	case VIRTIO_MMIO_SHM_BASE_HIGH:
		return UINT32_MAX;
	default:
		return 0;
	}
}

/* Accesses that hang over the end are done bytewise, as far as they exist. */
static void read_config(struct virtio_device *dev, uint64_t at, uint8_t *data,
			uint32_t len)
{
	uint32_t end = dev->ops->config_len;

	memset(data, 0, len);
	if (range_fits(at, len, end)) {
		dev->ops->config_read(dev, (uint32_t)at, data, len);
		return;
	}
	for (uint32_t i = 0; i < len && at + i < end; i++)
		dev->ops->config_read(dev, (uint32_t)at + i, data + i, 1);
}

static void write_config(struct virtio_mmio *t, uint64_t at, const void *data,
			 uint32_t len)
{
	struct virtio_device *dev = t->dev;

	if (!dev->ops->config_write)
		return;
	/* 3.1.1 step 4: not before the features are agreed on. */
	if (!(t->status & VIRTIO_CONFIG_S_FEATURES_OK) ||
	    (t->status & STATUS_STUCK) ||
	    !range_fits(at, len, dev->ops->config_len))
		refuse(t, "a configuration write", VIRTIO_MMIO_CONFIG + at);
	else
		dev->ops->config_write(dev, (uint32_t)at, data, len);
}

void virtio_mmio_read(struct virtio_mmio *t, uint64_t offset, void *data,
		      uint32_t len)
{
	uint32_t value;

	if (offset >= VIRTIO_MMIO_CONFIG) {
		read_config(t->dev, offset - VIRTIO_MMIO_CONFIG, data, len);
		return;
	}
	memset(data, 0, len);
	/* 4.2.2.2: control registers are accessed with 32 bits, aligned. */
	if (len != sizeof(value) || offset % sizeof(value))
		return;
	value = read_register(t, offset);
	memcpy(data, &value, sizeof(value));
}

void virtio_mmio_write(struct virtio_mmio *t, uint64_t offset, const void *data,
		       uint32_t len)
{
	uint32_t value;

	if (offset >= VIRTIO_MMIO_CONFIG) {
		write_config(t, offset - VIRTIO_MMIO_CONFIG, data, len);
		return;
	}
	if (len != sizeof(value) || offset % sizeof(value)) {
		refuse(t, "a write of a wrong width", offset);
		return;
	}
	memcpy(&value, data, sizeof(value));
	write_register(t, offset, value);
}
