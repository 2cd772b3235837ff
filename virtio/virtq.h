/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Split virtqueues (VIRTIO 1.2, section 2.7): the device side. Everything in a
 * ring is hostile: each descriptor is copied once, checked, and only the copy is
 * used. An invalid ring is reported (VIRTQ_BROKEN), never worked around.
 *
 * Thread: the holder of the machine lock.
 */
#ifndef VIRTIO_VIRTQ_H
#define VIRTIO_VIRTQ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "virtio/guest_mem.h"

enum {
	VIRTQ_SIZE_MAX = 256,
	VIRTQ_CHAIN_MAX = VIRTQ_SIZE_MAX
};

struct virtq {
	const struct guest_mem *mem;
	uint16_t size_max; /* the device's offer; constant */
	uint16_t size; /* the driver's choice: power of two */
	bool ready;
	bool stopping; /* no chain is taken; ready until none is in flight */
	bool event_idx; /* VIRTIO_RING_F_EVENT_IDX negotiated */
	bool indirect; /* VIRTIO_RING_F_INDIRECT_DESC negotiated */
	uint64_t desc_gpa, avail_gpa, used_gpa;
	uint16_t next_avail; /* index of the next chain to take */
	uint16_t next_used;
	uint16_t signalled_used; /* used index at the last interrupt decision */
	bool signalled_valid;
	unsigned in_flight; /* taken, not answered: see device.h */
};

/*
 * A descriptor chain as scatter-gather lists of host addresses: first the parts
 * the device reads, then those it writes (the order is enforced, 2.7.4.2).
 */
struct virtq_chain {
	uint16_t head;
	uint16_t read_count, write_count;
	uint64_t read_len, write_len; /* sums in bytes, no overflow */
	struct iovec iov[VIRTQ_CHAIN_MAX]; /* read parts, then write parts */
};

enum virtq_status {
	VIRTQ_EMPTY,
	VIRTQ_OK,
	VIRTQ_BROKEN
};

/* Checks size, alignment (2.7) and that all rings lie in guest memory. */
bool virtq_enable(struct virtq *q);
void virtq_reset(struct virtq *q);

/* Takes the next available chain. */
enum virtq_status virtq_pop(struct virtq *q, struct virtq_chain *ret);
/* The chain of a head that was taken before; false: its rules are broken. */
bool virtq_walk(const struct virtq *q, uint16_t head, struct virtq_chain *ret);
/* Undoes the last virtq_pop (nothing was done with the chain). */
void virtq_unpop(struct virtq *q);
/* Chains waiting, or -1 when the avail index is impossible (jump > size). */
int virtq_pending(const struct virtq *q);

/* Returns a chain with `written` bytes in its write parts. */
bool virtq_push(struct virtq *q, uint16_t head, uint32_t written);
/*
 * For mergeable receive buffers (5.1.6.4): stages entries at used index +
 * `ahead` without publishing, then virtq_publish() moves the index once.
 */
bool virtq_stage(struct virtq *q, uint16_t ahead, uint16_t head,
		 uint32_t written);
void virtq_publish(struct virtq *q, uint16_t count);

/* Whether the driver wants an interrupt for what was pushed (2.7.7, 2.7.10). */
bool virtq_should_interrupt(struct virtq *q);
/* Asks for / suppresses kicks; after enabling, check virtq_pending again. */
void virtq_enable_kicks(struct virtq *q, bool on);

/* Copy between a chain's parts and flat memory, from byte `offset` on. */
size_t virtq_chain_read(const struct virtq_chain *c, uint64_t offset, void *dst,
			size_t len);
size_t virtq_chain_write(const struct virtq_chain *c, uint64_t offset,
			 const void *src, size_t len);

#endif
