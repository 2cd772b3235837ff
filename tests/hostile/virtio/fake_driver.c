/* SPDX-License-Identifier: Apache-2.0 */
/* See fake_driver.h. */
#include "fake_driver.h"
#include "tests/must.h"

#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <string.h>
#include <sys/mman.h>

enum {
	GUARD_LEN = 4096,
	STATE_LIMIT = 1 << 20,
	/* Page 0 stays free: a forgotten address is then a wrong one. */
	FIRST_FREE = 4096
};

/* An assert for what has effects. */
static void *map_guarded(size_t len)
{
	uint8_t *p = mmap(NULL, len + GUARD_LEN, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	must(p != MAP_FAILED);
	must(mprotect(p + len, GUARD_LEN, PROT_NONE) == 0);
	return p;
}

void fake_driver_init(struct fake_driver *d)
{
	*d = (struct fake_driver){
		.low = map_guarded(FAKE_LOW_LEN),
		.high = map_guarded(FAKE_HIGH_LEN),
		.next_free = FIRST_FREE,
	};
	d->mem = (struct guest_mem){
		.regions = { { 0, FAKE_LOW_LEN, d->low },
			     { FAKE_HIGH_GPA, FAKE_HIGH_LEN, d->high } },
		.count = 2,
	};
}

void fake_driver_detach(struct fake_driver *d)
{
	if (d->dev)
		d->dev->ops->free(d->dev);
	d->dev = NULL;
}

void fake_driver_done(struct fake_driver *d)
{
	fake_driver_detach(d);
	(void)munmap(d->low, FAKE_LOW_LEN + GUARD_LEN);
	(void)munmap(d->high, FAKE_HIGH_LEN + GUARD_LEN);
}

static void on_set_irq(void *ctx, bool level)
{
	struct fake_driver *d = ctx;

	if (level && !d->irq)
		d->irq_raised++;
	d->irq_messages += level;
	d->irq = level;
}

static void on_set_active(void *ctx, bool active)
{
	struct fake_driver *d = ctx;

	d->live = active;
}

static const struct virtio_mmio_ops monitor_ops = {
	.set_irq = on_set_irq,
	.set_active = on_set_active,
};

void fake_driver_attach(struct fake_driver *d, struct virtio_device *dev)
{
	must(!d->dev);
	d->dev = dev;
	virtio_mmio_init(&d->mmio, dev, &monitor_ops, d);
}

uint32_t fake_read(struct fake_driver *d, uint64_t offset)
{
	uint32_t value;

	virtio_mmio_read(&d->mmio, offset, &value, sizeof(value));
	return value;
}

void fake_write(struct fake_driver *d, uint64_t offset, uint32_t value)
{
	virtio_mmio_write(&d->mmio, offset, &value, sizeof(value));
}

uint64_t fake_config(struct fake_driver *d, uint32_t offset, uint32_t len)
{
	uint64_t value = 0;

	virtio_mmio_read(&d->mmio, VIRTIO_MMIO_CONFIG + offset, &value, len);
	return value;
}

static void add_status(struct fake_driver *d, uint32_t bits)
{
	fake_write(d, VIRTIO_MMIO_STATUS,
		   fake_read(d, VIRTIO_MMIO_STATUS) | bits);
}

uint64_t fake_offered_features(struct fake_driver *d)
{
	uint64_t features;

	fake_write(d, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 1);
	features = (uint64_t)fake_read(d, VIRTIO_MMIO_DEVICE_FEATURES) << 32;
	fake_write(d, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 0);
	return features | fake_read(d, VIRTIO_MMIO_DEVICE_FEATURES);
}

bool fake_negotiate(struct fake_driver *d, uint64_t features)
{
	fake_reset(d);
	add_status(d, VIRTIO_CONFIG_S_ACKNOWLEDGE);
	add_status(d, VIRTIO_CONFIG_S_DRIVER);
	fake_write(d, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
	fake_write(d, VIRTIO_MMIO_DRIVER_FEATURES, (uint32_t)features);
	fake_write(d, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
	fake_write(d, VIRTIO_MMIO_DRIVER_FEATURES, (uint32_t)(features >> 32));
	add_status(d, VIRTIO_CONFIG_S_FEATURES_OK);
	d->features = features;
	return fake_read(d, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_FEATURES_OK;
}

static void write_address(struct fake_driver *d, uint64_t low_register,
			  uint64_t gpa)
{
	fake_write(d, low_register, (uint32_t)gpa);
	fake_write(d, low_register + 4, (uint32_t)(gpa >> 32));
}

bool fake_setup_queue(struct fake_driver *d, uint16_t index, uint16_t size)
{
	struct fake_queue *q = &d->queues[index];

	*q = (struct fake_queue){
		.size = size,
		.desc_gpa = fake_alloc(d, 16u * (uint64_t)size, 16),
		.avail_gpa = fake_alloc(d, 6u + 2u * (uint64_t)size, 2),
		.used_gpa = fake_alloc(d, 6u + 8u * (uint64_t)size, 4),
	};
	fake_write(d, VIRTIO_MMIO_QUEUE_SEL, index);
	fake_write(d, VIRTIO_MMIO_QUEUE_NUM, size);
	write_address(d, VIRTIO_MMIO_QUEUE_DESC_LOW, q->desc_gpa);
	write_address(d, VIRTIO_MMIO_QUEUE_AVAIL_LOW, q->avail_gpa);
	write_address(d, VIRTIO_MMIO_QUEUE_USED_LOW, q->used_gpa);
	fake_write(d, VIRTIO_MMIO_QUEUE_READY, 1);
	return fake_read(d, VIRTIO_MMIO_QUEUE_READY) == 1;
}

void fake_driver_start_sized(struct fake_driver *d, uint64_t wanted,
			     uint16_t queue_size)
{
	uint64_t features = (fake_offered_features(d) & wanted) |
			    1ull << VIRTIO_F_VERSION_1;

	must(fake_negotiate(d, features));
	for (uint16_t i = 0; i < d->dev->queue_count; i++) {
		uint32_t size;

		fake_write(d, VIRTIO_MMIO_QUEUE_SEL, i);
		size = fake_read(d, VIRTIO_MMIO_QUEUE_NUM_MAX);
		if (queue_size && queue_size < size)
			size = queue_size;
		must(fake_setup_queue(d, i, (uint16_t)size));
	}
	add_status(d, VIRTIO_CONFIG_S_DRIVER_OK);
	must(fake_read(d, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_DRIVER_OK);
}

void fake_driver_start(struct fake_driver *d, uint64_t wanted)
{
	fake_driver_start_sized(d, wanted, 0);
}

void fake_reset(struct fake_driver *d)
{
	fake_write(d, VIRTIO_MMIO_STATUS, 0);
	must(fake_read(d, VIRTIO_MMIO_STATUS) == 0);
}

bool fake_needs_reset(struct fake_driver *d)
{
	return fake_read(d, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET;
}

uint64_t fake_alloc(struct fake_driver *d, uint64_t len, uint64_t align)
{
	uint64_t gpa = (d->next_free + align - 1) & ~(align - 1);

	must(gpa + len <= FAKE_LOW_LEN);
	d->next_free = gpa + len;
	return gpa;
}

void *fake_ptr(struct fake_driver *d, uint64_t gpa, uint64_t len)
{
	void *p = guest_slice(&d->mem, gpa, len);

	must(p);
	return p;
}

static uint16_t *u16_at(struct fake_driver *d, uint64_t gpa)
{
	return fake_ptr(d, gpa, 2);
}

struct vring_desc *fake_desc(struct fake_driver *d, uint16_t queue,
			     uint16_t index)
{
	return fake_ptr(d, d->queues[queue].desc_gpa + 16ull * index,
			sizeof(struct vring_desc));
}

void fake_put_desc(struct fake_driver *d, uint16_t queue, uint16_t index,
		   struct vring_desc desc)
{
	*fake_desc(d, queue, index) = desc;
}

uint16_t *fake_avail_flags(struct fake_driver *d, uint16_t queue)
{
	return u16_at(d, d->queues[queue].avail_gpa);
}

uint16_t *fake_avail_idx(struct fake_driver *d, uint16_t queue)
{
	return u16_at(d, d->queues[queue].avail_gpa + 2);
}

uint16_t *fake_avail_entry(struct fake_driver *d, uint16_t queue,
			   uint16_t index)
{
	struct fake_queue *q = &d->queues[queue];

	return u16_at(d, q->avail_gpa + 4 + 2ull * (index % q->size));
}

uint16_t *fake_used_event(struct fake_driver *d, uint16_t queue)
{
	struct fake_queue *q = &d->queues[queue];

	return u16_at(d, q->avail_gpa + 4 + 2ull * q->size);
}

uint16_t *fake_used_flags(struct fake_driver *d, uint16_t queue)
{
	return u16_at(d, d->queues[queue].used_gpa);
}

uint16_t *fake_used_idx(struct fake_driver *d, uint16_t queue)
{
	return u16_at(d, d->queues[queue].used_gpa + 2);
}

uint16_t *fake_avail_event(struct fake_driver *d, uint16_t queue)
{
	struct fake_queue *q = &d->queues[queue];

	return u16_at(d, q->used_gpa + 4 + 8ull * q->size);
}

void fake_offer(struct fake_driver *d, uint16_t queue, uint16_t head)
{
	struct fake_queue *q = &d->queues[queue];

	*fake_avail_entry(d, queue, q->next_avail) = head;
	q->next_avail++;
	/* Release: pairs with the acquire in virtq_pending(). */
	__atomic_store_n(fake_avail_idx(d, queue), q->next_avail,
			 __ATOMIC_RELEASE);
}

static struct vring_desc part_desc(const struct fake_part *part, bool last,
				   uint16_t next)
{
	return (struct vring_desc){
		.addr = part->gpa,
		.len = part->len,
		.flags = (uint16_t)((part->write ? VRING_DESC_F_WRITE : 0) |
				    (last ? 0 : VRING_DESC_F_NEXT)),
		.next = last ? 0 : next,
	};
}

uint16_t fake_add(struct fake_driver *d, uint16_t queue,
		  const struct fake_part *parts, size_t count)
{
	struct fake_queue *q = &d->queues[queue];
	uint16_t head = q->next_desc % q->size;

	must(count && count <= q->size);
	for (size_t i = 0; i < count; i++) {
		uint16_t at = q->next_desc++ % q->size;

		fake_put_desc(d, queue, at,
			      part_desc(&parts[i], i + 1 == count,
					q->next_desc % q->size));
	}
	fake_offer(d, queue, head);
	return head;
}

uint16_t fake_add_indirect(struct fake_driver *d, uint16_t queue,
			   const struct fake_part *parts, size_t count)
{
	struct fake_queue *q = &d->queues[queue];
	uint16_t head = q->next_desc++ % q->size;
	uint64_t len = count * sizeof(struct vring_desc);
	uint64_t table = fake_alloc(d, len, 16);
	struct vring_desc *descs = fake_ptr(d, table, len);

	for (size_t i = 0; i < count; i++)
		descs[i] =
			part_desc(&parts[i], i + 1 == count, (uint16_t)(i + 1));
	fake_put_desc(d, queue, head,
		      (struct vring_desc){ .addr = table,
					   .len = (uint32_t)len,
					   .flags = VRING_DESC_F_INDIRECT });
	fake_offer(d, queue, head);
	return head;
}

void fake_kick(struct fake_driver *d, uint16_t queue)
{
	d->queues[queue].kicked_avail = d->queues[queue].next_avail;
	fake_write(d, VIRTIO_MMIO_QUEUE_NOTIFY, queue);
}

bool fake_kick_if_wanted(struct fake_driver *d, uint16_t queue)
{
	struct fake_queue *q = &d->queues[queue];
	uint16_t before = q->kicked_avail;
	bool wanted;

	/* Full barrier: pairs with the one in virtq_enable_kicks(). */
	__sync_synchronize(); /* a fence that TSan accepts */
	if ((d->features >> VIRTIO_RING_F_EVENT_IDX) & 1)
		wanted = vring_need_event(*fake_avail_event(d, queue),
					  q->next_avail, before);
	else
		wanted = !(*fake_used_flags(d, queue) & VRING_USED_F_NO_NOTIFY);
	q->kicked_avail = q->next_avail;
	if (wanted)
		fake_write(d, VIRTIO_MMIO_QUEUE_NOTIFY, queue);
	return wanted;
}

bool fake_take_used(struct fake_driver *d, uint16_t queue,
		    struct fake_used *ret)
{
	struct fake_queue *q = &d->queues[queue];
	uint64_t slot = q->used_gpa + 4 + 8ull * (q->next_used % q->size);

	/* Acquire: pairs with the release in virtq_publish(). */
	if (__atomic_load_n(fake_used_idx(d, queue), __ATOMIC_ACQUIRE) ==
	    q->next_used)
		return false;
	memcpy(ret, fake_ptr(d, slot, sizeof(*ret)), sizeof(*ret));
	q->next_used++;
	return true;
}

uint32_t fake_ack(struct fake_driver *d)
{
	uint32_t causes = fake_read(d, VIRTIO_MMIO_INTERRUPT_STATUS);

	fake_write(d, VIRTIO_MMIO_INTERRUPT_ACK, causes);
	return causes;
}

int fake_move_to(struct fake_driver *d, struct virtio_device *fresh,
		 struct err *e)
{
	struct state_writer w;
	struct state_reader r;
	int rc;

	state_writer_init(&w, STATE_LIMIT);
	virtio_mmio_save(&d->mmio, &w, 0);
	rc = state_finish(&w, e);
	fake_driver_detach(d);
	fake_driver_attach(d, fresh);
	if (rc == 0)
		rc = state_reader_init(&r, buf_head(&w.out), buf_len(&w.out),
				       e);
	if (rc == 0)
		rc = virtio_mmio_load(&d->mmio, &r, 0, e);
	if (rc == 0)
		rc = state_all_read(&r, e);
	if (rc == 0)
		virtio_mmio_resume(&d->mmio);
	state_writer_done(&w);
	return rc;
}
