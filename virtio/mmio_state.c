/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Saving and loading a device with its transport: one section per device.
 * What is loaded is judged as if a guest had written it, because a blob may
 * come from another host: features must be offered here, rings must lie in
 * guest memory, the status must be one that the status machine can reach.
 */
#include <assert.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <stdio.h>

#include "virtio/mmio.h"

enum {
	/* 2: blk has the requests that it keeps. */
	SECTION_VERSION = 2,
	SECTION_NAME_MAX = 40
};

void virtio_mmio_apply_features(struct virtio_device *dev)
{
	for (uint16_t i = 0; i < dev->queue_count; i++) {
		struct virtq *q = &dev->queues[i];

		q->event_idx = virtio_has_feature(dev, VIRTIO_RING_F_EVENT_IDX);
		q->indirect =
			virtio_has_feature(dev, VIRTIO_RING_F_INDIRECT_DESC);
	}
}

static void section_name(const struct virtio_mmio *t, unsigned instance,
			 char name[static SECTION_NAME_MAX])
{
	(void)snprintf(name, SECTION_NAME_MAX, "%s%u", t->dev->ops->name,
		       instance);
}

static void save_queue(const struct virtq *q, struct state_writer *w)
{
	state_put_u16(w, q->size);
	state_put_u8(w, q->ready);
	state_put_u64(w, q->desc_gpa);
	state_put_u64(w, q->avail_gpa);
	state_put_u64(w, q->used_gpa);
	state_put_u16(w, q->next_avail);
	state_put_u16(w, q->next_used);
	state_put_u16(w, q->signalled_used);
	state_put_u8(w, q->signalled_valid);
}

void virtio_mmio_save(struct virtio_mmio *t, struct state_writer *w,
		      unsigned instance)
{
	struct virtio_device *dev = t->dev;
	char name[SECTION_NAME_MAX];

	assert(!dev->in_flight);
	section_name(t, instance, name);
	state_begin(w, name, SECTION_VERSION);
	state_put_u32(w, dev->ops->device_id);
	state_put_u32(w, t->status);
	state_put_u32(w, t->interrupt_status);
	state_put_u32(w, t->device_features_sel);
	state_put_u32(w, t->driver_features_sel);
	state_put_u64(w, t->driver_features);
	state_put_u32(w, t->queue_sel);
	state_put_u32(w, t->config_generation);
	state_put_u64(w, dev->features);
	state_put_u64(w, dev->guest_errors);
	state_put_u16(w, dev->queue_count);
	for (uint16_t i = 0; i < dev->queue_count; i++)
		save_queue(&dev->queues[i], w);
	dev->ops->save(dev, w);
	state_end(w);
}

static int refuse(const char *name, const char *why, struct err *e)
{
	return err_set(e, ERR_CORRUPT, "device_state_invalid", 0,
		       "the saved state of device %s cannot be used: %s", name,
		       why);
}

static bool load_queue(struct virtq *q, struct state_reader *r)
{
	bool ready;
	uint16_t next_avail, next_used, signalled_used;

	q->size = state_get_u16(r);
	ready = state_get_u8(r);
	q->desc_gpa = state_get_u64(r);
	q->avail_gpa = state_get_u64(r);
	q->used_gpa = state_get_u64(r);
	next_avail = state_get_u16(r);
	next_used = state_get_u16(r);
	signalled_used = state_get_u16(r);
	if (ready && !virtq_enable(q))
		return false;
	q->next_avail = next_avail;
	q->next_used = next_used;
	q->signalled_used = signalled_used;
	q->signalled_valid = state_get_u8(r);
	return true;
}

/* Each stage implies those before it (3.1.1). */
static bool status_possible(uint32_t s)
{
	if (s &
	    ~(uint32_t)(VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER |
			VIRTIO_CONFIG_S_FEATURES_OK |
			VIRTIO_CONFIG_S_DRIVER_OK |
			VIRTIO_CONFIG_S_NEEDS_RESET | VIRTIO_CONFIG_S_FAILED))
		return false;
	if ((s & VIRTIO_CONFIG_S_DRIVER) && !(s & VIRTIO_CONFIG_S_ACKNOWLEDGE))
		return false;
	if ((s & VIRTIO_CONFIG_S_FEATURES_OK) && !(s & VIRTIO_CONFIG_S_DRIVER))
		return false;
	return !(s & VIRTIO_CONFIG_S_DRIVER_OK) ||
	       (s & VIRTIO_CONFIG_S_FEATURES_OK);
}

static int load_transport(struct virtio_mmio *t, struct state_reader *r,
			  const char *name, struct err *e)
{
	struct virtio_device *dev = t->dev;

	if (state_get_u32(r) != dev->ops->device_id)
		return refuse(name, "it is of another kind of device", e);
	t->status = state_get_u32(r);
	t->interrupt_status = state_get_u32(r);
	t->device_features_sel = state_get_u32(r);
	t->driver_features_sel = state_get_u32(r);
	t->driver_features = state_get_u64(r);
	t->queue_sel = state_get_u32(r);
	t->config_generation = state_get_u32(r);
	dev->features = state_get_u64(r);
	dev->guest_errors = state_get_u64(r);
	if (!status_possible(t->status) ||
	    (t->interrupt_status &
	     ~(uint32_t)(VIRTIO_INT_USED | VIRTIO_INT_CONFIG)))
		return refuse(name, "its status is impossible", e);
	if (dev->features & ~dev->features_offered)
		return refuse(name,
			      "its guest uses features that are not offered "
			      "here",
			      e);
	if (state_get_u16(r) != dev->queue_count)
		return refuse(name, "it has another number of queues", e);
	virtio_mmio_apply_features(dev);
	for (uint16_t i = 0; i < dev->queue_count; i++)
		if (!load_queue(&dev->queues[i], r))
			return refuse(name,
				      "a queue does not lie in the guest's "
				      "memory",
				      e);
	return 0;
}

int virtio_mmio_load(struct virtio_mmio *t, struct state_reader *r,
		     unsigned instance, struct err *e)
{
	struct virtio_device *dev = t->dev;
	char name[SECTION_NAME_MAX];
	uint16_t version;
	int rc;

	section_name(t, instance, name);
	rc = state_open(r, name, SECTION_VERSION, &version, e);
	if (rc < 0)
		return rc;
	rc = load_transport(t, r, name, e);
	if (rc < 0)
		return rc;
	dev->active = (t->status & VIRTIO_CONFIG_S_DRIVER_OK) &&
		      !(t->status &
			(VIRTIO_CONFIG_S_FAILED | VIRTIO_CONFIG_S_NEEDS_RESET));
	dev->loaded_version = version;
	rc = dev->ops->load(dev, r, e);
	if (rc < 0)
		return err_wrap(e, rc, "device %s", name);
	return state_close(r, e);
}

void virtio_mmio_resume(struct virtio_mmio *t)
{
	struct virtio_device *dev = t->dev;

	t->ops->set_irq(t->ctx, t->interrupt_status != 0);
	if (!dev->active)
		return;
	if (t->ops->set_active)
		t->ops->set_active(t->ctx, true);
	/* A kick may have been under way when the state was saved. */
	for (uint16_t i = 0; i < dev->queue_count; i++)
		if (dev->active && dev->queues[i].ready)
			dev->ops->kick(dev, i);
}
