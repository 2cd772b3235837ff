/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The device side of a split virtqueue: returning chains and deciding who has
 * to be woken (VIRTIO 1.2, 2.7.7 to 2.7.10). The rings were checked by
 * virtq_enable(); addresses computed here stay inside them.
 */
#include <assert.h>
#include <linux/virtio_ring.h>

#include "virtio/virtq.h"

static_assert(sizeof(struct vring_used_elem) == 8, "VIRTIO 1.2, 2.7.8");

/* Offsets in the rings; each ends with the other side's event index. */
enum {
	AVAIL_FLAGS = 0,
	AVAIL_RING = 4,
	USED_FLAGS = 0,
	USED_IDX = 2
};
enum {
	USED_RING = 4
};

/* Not __atomic_thread_fence(): gcc's thread sanitizer knows none and says so. */
static void full_barrier(void)
{
	__sync_synchronize();
}

static uint16_t *ring_u16(const struct virtq *q, uint64_t gpa)
{
	uint16_t *p = guest_slice(q->mem, gpa, 2);

	assert(p);
	return p;
}

bool virtq_stage(struct virtq *q, uint16_t ahead, uint16_t head,
		 uint32_t written)
{
	struct vring_used_elem elem = { .id = head, .len = written };
	uint64_t slot;

	if (!q->ready || ahead >= q->size)
		return false;
	slot = (q->next_used + (uint32_t)ahead) & (q->size - 1u);
	return guest_write(q->mem, q->used_gpa + USED_RING + 8u * slot, &elem,
			   sizeof(elem));
}

void virtq_publish(struct virtq *q, uint16_t count)
{
	if (!q->ready)
		return;
	q->next_used = (uint16_t)(q->next_used + count);
	/*
	 * Release: entries and data become visible before the index; pairs with
	 * the driver's read barrier after loading used.idx (2.7.14).
	 */
	__atomic_store_n(ring_u16(q, q->used_gpa + USED_IDX), q->next_used,
			 __ATOMIC_RELEASE);
}

bool virtq_push(struct virtq *q, uint16_t head, uint32_t written)
{
	if (!virtq_stage(q, 0, head, written))
		return false;
	virtq_publish(q, 1);
	return true;
}

bool virtq_should_interrupt(struct virtq *q)
{
	uint16_t before = q->signalled_used, event;
	bool first = !q->signalled_valid;

	if (!q->ready || q->next_used == before)
		return false;
	/*
	 * Full barrier: used.idx is stored before used_event or flags are
	 * loaded; pairs with the driver's barrier between writing those and
	 * looking at used.idx once more (2.7.7.1). Either it sees our entry or
	 * we see its wish.
	 */
	full_barrier();
	if (!q->event_idx) {
		uint16_t flags =
			__atomic_load_n(ring_u16(q, q->avail_gpa + AVAIL_FLAGS),
					__ATOMIC_RELAXED);

		q->signalled_used = q->next_used;
		q->signalled_valid = true;
		return !(flags & VRING_AVAIL_F_NO_INTERRUPT);
	}
	event = __atomic_load_n(
		ring_u16(q, q->avail_gpa + AVAIL_RING + 2ull * q->size),
		__ATOMIC_RELAXED);
	q->signalled_used = q->next_used;
	q->signalled_valid = true;
	return first || vring_need_event(event, q->next_used, before);
}

void virtq_enable_kicks(struct virtq *q, bool on)
{
	if (!q->ready)
		return;
	if (!q->event_idx)
		__atomic_store_n(ring_u16(q, q->used_gpa + USED_FLAGS),
				 (uint16_t)(on ? 0 : VRING_USED_F_NO_NOTIFY),
				 __ATOMIC_RELAXED);
	else if (on)
		/* Left behind, avail_event suppresses kicks by itself. */
		__atomic_store_n(
			ring_u16(q, q->used_gpa + USED_RING + 8ull * q->size),
			q->next_avail, __ATOMIC_RELAXED);
	/*
	 * Full barrier: the wish is stored before the caller looks at avail.idx
	 * again; pairs with the driver's barrier between moving avail.idx and
	 * loading avail_event or flags (2.7.13.4.1).
	 */
	if (on)
		full_barrier();
}
