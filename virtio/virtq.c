/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The device side of a split virtqueue (VIRTIO 1.2, 2.7): taking chains. The
 * other half, giving them back, is virtq_used.c.
 *
 * The walk copies one descriptor at a time through the gate of guest_mem.h and
 * judges the copy. It ends because every step counts against a fixed limit, no
 * matter what the descriptors say; the host addresses it collects stay valid
 * because guest memory is never unmapped while devices run. What the guest does
 * to the *data* behind those addresses later is for the device to survive.
 */
#include "virtio/virtq.h"

#include <assert.h>
#include <linux/virtio_ring.h>
#include <string.h>

#include "base/checked.h"

static_assert(sizeof(struct vring_desc) == 16, "VIRTIO 1.2, 2.7.5");

/* Offsets in the available ring (2.7.6). */
enum {
	AVAIL_IDX = 2,
	AVAIL_RING = 4
};

static uint64_t avail_len(const struct virtq *q)
{
	return AVAIL_RING + 2u * (uint64_t)q->size + 2u; /* ring, used_event */
}

static uint64_t used_len(const struct virtq *q)
{
	return 4u + 8u * (uint64_t)q->size + 2u; /* flags, idx, avail_event */
}

bool virtq_enable(struct virtq *q)
{
	bool power_of_two = q->size && !(q->size & (q->size - 1));

	q->ready = false;
	if (!power_of_two || q->size > q->size_max)
		return false;
	if (q->desc_gpa % 16 || q->avail_gpa % 2 || q->used_gpa % 4)
		return false;
	if (!guest_slice(q->mem, q->desc_gpa, 16u * (uint64_t)q->size) ||
	    !guest_slice(q->mem, q->avail_gpa, avail_len(q)) ||
	    !guest_slice(q->mem, q->used_gpa, used_len(q)))
		return false;
	q->next_avail = 0;
	q->next_used = 0;
	q->signalled_used = 0;
	q->signalled_valid = false;
	q->stopping = false;
	q->ready = true;
	return true;
}

void virtq_reset(struct virtq *q)
{
	*q = (struct virtq){ .mem = q->mem, .size_max = q->size_max };
}

int virtq_pending(const struct virtq *q)
{
	const uint16_t *idx;
	uint16_t waiting;

	if (!q->ready || q->stopping)
		return 0;
	idx = guest_slice(q->mem, q->avail_gpa + AVAIL_IDX, 2);
	assert(idx);
	/*
	 * Acquire: pairs with the driver's write barrier between filling the
	 * ring entry (and descriptors) and moving the index (2.7.13.3).
	 */
	waiting = (uint16_t)(__atomic_load_n(idx, __ATOMIC_ACQUIRE) -
			     q->next_avail);
	return waiting > q->size ? -1 : waiting;
}

/* Where a chain is being read from: the ring's table or an indirect one. */
struct walk {
	uint64_t table_gpa;
	uint32_t entries;
	uint32_t steps; /* descriptors looked at so far, all tables */
	bool indirect;
};

/* Adds one buffer; false when it breaks a rule. Empty ones leave no part. */
static bool add_part(const struct virtq *q, const struct vring_desc *d,
		     struct virtq_chain *c)
{
	bool write = d->flags & VRING_DESC_F_WRITE;
	void *host;

	/* 2.7.4.2: parts the device writes come after all that it reads. */
	if (!write && c->write_count)
		return false;
	if (!d->len)
		return true;
	/* 2.7.5.1: a chain holds less than 2^32 bytes. */
	if (c->read_len + c->write_len + d->len > UINT32_MAX)
		return false;
	host = guest_slice(q->mem, d->addr, d->len);
	if (!host)
		return false;
	c->iov[c->read_count + c->write_count] =
		(struct iovec){ .iov_base = host, .iov_len = d->len };
	if (write) {
		c->write_count++;
		c->write_len += d->len;
	} else {
		c->read_count++;
		c->read_len += d->len;
	}
	return true;
}

/* 2.7.5.3: one level, negotiated, whole descriptors, ends the outer chain. */
static bool enter_indirect(const struct virtq *q, const struct vring_desc *d,
			   struct walk *w)
{
	if (!q->indirect || w->indirect || (d->flags & VRING_DESC_F_NEXT))
		return false;
	if (!d->len || d->len % sizeof(struct vring_desc))
		return false;
	if (!guest_slice(q->mem, d->addr, d->len))
		return false;
	w->table_gpa = d->addr;
	w->entries = d->len / (uint32_t)sizeof(struct vring_desc);
	w->indirect = true;
	w->steps--; /* it is no part: a table may be VIRTQ_CHAIN_MAX long */
	return true;
}

/*
 * Drivers of stock kernels build indirect chains longer than a small queue, so
 * those may have VIRTQ_CHAIN_MAX parts; in the ring's own table more than
 * `size` steps can only be a loop.
 */
static uint32_t step_limit(const struct virtq *q, const struct walk *w)
{
	return w->indirect ? VIRTQ_CHAIN_MAX : q->size;
}

static bool walk_chain(const struct virtq *q, struct virtq_chain *c)
{
	struct walk w = { .table_gpa = q->desc_gpa, .entries = q->size };
	uint16_t next = c->head;
	struct vring_desc d;

	for (;;) {
		if (next >= w.entries || w.steps++ >= step_limit(q, &w))
			return false;
		if (!guest_read(q->mem, w.table_gpa + sizeof(d) * next, &d,
				sizeof(d)))
			return false;
		if (d.flags & VRING_DESC_F_INDIRECT) {
			if (!enter_indirect(q, &d, &w))
				return false;
			next = 0;
			continue;
		}
		if (!add_part(q, &d, c))
			return false;
		if (!(d.flags & VRING_DESC_F_NEXT))
			return true;
		next = d.next;
	}
}

bool virtq_walk(const struct virtq *q, uint16_t head, struct virtq_chain *ret)
{
	ret->head = head;
	ret->read_count = 0;
	ret->write_count = 0;
	ret->read_len = 0;
	ret->write_len = 0;
	return walk_chain(q, ret);
}

enum virtq_status virtq_pop(struct virtq *q, struct virtq_chain *ret)
{
	int waiting = virtq_pending(q);
	uint64_t entry;
	uint16_t head;

	if (waiting == 0)
		return VIRTQ_EMPTY;
	if (waiting < 0)
		return VIRTQ_BROKEN;
	entry = AVAIL_RING + 2u * (q->next_avail & (q->size - 1u));
	if (!guest_read(q->mem, q->avail_gpa + entry, &head, sizeof(head)) ||
	    !virtq_walk(q, head, ret))
		return VIRTQ_BROKEN;
	q->next_avail++;
	return VIRTQ_OK;
}

void virtq_unpop(struct virtq *q)
{
	q->next_avail--;
}

/* Bytes moved between flat memory and parts first..first + count. */
static size_t copy_parts(const struct iovec *part, size_t count,
			 uint64_t offset, void *to_flat, const void *from_flat,
			 size_t len)
{
	size_t done = 0;

	for (size_t i = 0; i < count && done < len; i++) {
		uint8_t *base = part[i].iov_base;
		size_t n;

		if (offset >= part[i].iov_len) {
			offset -= part[i].iov_len;
			continue;
		}
		n = min_u64(part[i].iov_len - offset, len - done);
		if (to_flat)
			memcpy((uint8_t *)to_flat + done, base + offset, n);
		else
			memcpy(base + offset, (const uint8_t *)from_flat + done,
			       n);
		done += n;
		offset = 0;
	}
	/* As in guest_mem.c: the copy is taken here, once. */
	__asm__ volatile("" ::: "memory");
	return done;
}

size_t virtq_chain_read(const struct virtq_chain *c, uint64_t offset, void *dst,
			size_t len)
{
	return copy_parts(c->iov, c->read_count, offset, dst, NULL, len);
}

size_t virtq_chain_write(const struct virtq_chain *c, uint64_t offset,
			 const void *src, size_t len)
{
	return copy_parts(c->iov + c->read_count, c->write_count, offset, NULL,
			  src, len);
}
