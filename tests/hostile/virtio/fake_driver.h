/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest made of plain memory: it drives any virtio device through the
 * registers of virtio-mmio, as a driver would, or as an attacker would. The
 * honest calls follow VIRTIO 1.2 (3.1.1, 2.7.13, 2.7.14); fake_desc() and its
 * neighbours give the bare rings for everything that is forbidden.
 *
 *	struct fake_driver d;
 *	fake_driver_init(&d);
 *	virtio_rng_new(&d.mem, loop, &dev, &e);
 *	fake_driver_attach(&d, dev);
 *	fake_driver_start(&d, ~0ull);
 *	fake_add(&d, 0, FAKE_PARTS({ fake_alloc(&d, 64, 1), 64, true }));
 *	fake_kick(&d, 0);
 *	fake_take_used(&d, 0, &used);
 *	fake_driver_done(&d);
 *
 * Memory: 1 MiB at 0 and 1 MiB at 4 GiB, as of a machine with a hole; what is
 * behind each region faults when it is touched. A rule of the *test* that is
 * broken (no descriptors left, no memory) ends the program by assert.
 */
#ifndef TESTS_HOSTILE_VIRTIO_FAKE_DRIVER_H
#define TESTS_HOSTILE_VIRTIO_FAKE_DRIVER_H

#include <linux/virtio_ring.h>
#include <stdbool.h>
#include <stdint.h>

#include "virtio/mmio.h"

enum {
	FAKE_LOW_LEN = 1 << 20,
	FAKE_HIGH_LEN = 1 << 20
};
#define FAKE_HIGH_GPA (1ull << 32)

struct fake_part {
	uint64_t gpa;
	uint32_t len;
	bool write; /* by the device */
};

/* A list of parts as two arguments: parts and their number. */
#define FAKE_PARTS(...)                                             \
	(const struct fake_part[]){ __VA_ARGS__ },                  \
		sizeof((const struct fake_part[]){ __VA_ARGS__ }) / \
			sizeof(struct fake_part)

struct fake_queue {
	uint16_t size;
	uint64_t desc_gpa, avail_gpa, used_gpa;
	uint16_t next_desc; /* descriptors are used in turn, never freed */
	uint16_t next_avail;
	uint16_t next_used;
	uint16_t kicked_avail; /* available index at the last kick decision */
};

struct fake_used {
	uint32_t id;
	uint32_t len;
};

struct fake_driver {
	struct guest_mem mem;
	void *low, *high; /* mappings with a guard page behind each */
	uint64_t next_free; /* in the low region */
	struct virtio_device *dev;
	struct virtio_mmio mmio;
	struct fake_queue queues[VIRTIO_QUEUES_MAX];
	uint64_t features; /* negotiated */
	/* What the monitor would have seen. */
	bool irq;
	unsigned irq_raised; /* times the line was set while it was low */
	unsigned irq_messages; /* times it was set at all */
	bool live; /* last set_active */
};

void fake_driver_init(struct fake_driver *d);
/* Frees the device, if one is attached, and the memory. */
void fake_driver_done(struct fake_driver *d);

/* Puts a transport in front of dev; fake_driver_done() will free it. */
void fake_driver_attach(struct fake_driver *d, struct virtio_device *dev);
/* Takes the device out and frees it; memory and driver state stay. */
void fake_driver_detach(struct fake_driver *d);

/* 32-bit register access. */
uint32_t fake_read(struct fake_driver *d, uint64_t offset);
void fake_write(struct fake_driver *d, uint64_t offset, uint32_t value);
/* One byte, half word, word or double word of the configuration space. */
uint64_t fake_config(struct fake_driver *d, uint32_t offset, uint32_t len);

/*
 * The steps of 3.1.1. start() does them all with queues of the largest size:
 * features = offered & wanted, plus VERSION_1. Asserts that the device agrees.
 */
void fake_driver_start(struct fake_driver *d, uint64_t wanted);
void fake_driver_start_sized(struct fake_driver *d, uint64_t wanted,
			     uint16_t queue_size);
/* Up to FEATURES_OK; false when the device did not accept. */
bool fake_negotiate(struct fake_driver *d, uint64_t features);
/* Allocates rings and makes the queue ready; false when it is not. */
bool fake_setup_queue(struct fake_driver *d, uint16_t index, uint16_t size);
uint64_t fake_offered_features(struct fake_driver *d);
void fake_reset(struct fake_driver *d);
bool fake_needs_reset(struct fake_driver *d);

/* len bytes of zeroed guest memory in the low region; len may be 0. */
uint64_t fake_alloc(struct fake_driver *d, uint64_t len, uint64_t align);
/* Host address of guest memory; asserts that it is memory. */
void *fake_ptr(struct fake_driver *d, uint64_t gpa, uint64_t len);

/* Makes a chain available (without a kick) and returns its head. */
uint16_t fake_add(struct fake_driver *d, uint16_t queue,
		  const struct fake_part *parts, size_t count);
/* The same through one indirect table. */
uint16_t fake_add_indirect(struct fake_driver *d, uint16_t queue,
			   const struct fake_part *parts, size_t count);
/* Writes QueueNotify. */
void fake_kick(struct fake_driver *d, uint16_t queue);
/* Kicks only if the device wants it (2.7.10); true when it did. */
bool fake_kick_if_wanted(struct fake_driver *d, uint16_t queue);
/* Next entry of the used ring; false when there is none. */
bool fake_take_used(struct fake_driver *d, uint16_t queue,
		    struct fake_used *ret);
/* Acknowledges all causes and returns them. */
uint32_t fake_ack(struct fake_driver *d);

/* Bare rings. */
struct vring_desc *fake_desc(struct fake_driver *d, uint16_t queue,
			     uint16_t index);
void fake_put_desc(struct fake_driver *d, uint16_t queue, uint16_t index,
		   struct vring_desc desc);
uint16_t *fake_avail_flags(struct fake_driver *d, uint16_t queue);
uint16_t *fake_avail_idx(struct fake_driver *d, uint16_t queue);
uint16_t *fake_avail_entry(struct fake_driver *d, uint16_t queue,
			   uint16_t index);
uint16_t *fake_used_event(struct fake_driver *d, uint16_t queue);
uint16_t *fake_used_flags(struct fake_driver *d, uint16_t queue);
uint16_t *fake_used_idx(struct fake_driver *d, uint16_t queue);
uint16_t *fake_avail_event(struct fake_driver *d, uint16_t queue);
/* Puts a head into the available ring, whatever it is, and moves the index. */
void fake_offer(struct fake_driver *d, uint16_t queue, uint16_t head);

/*
 * Saves the device into a blob, frees it, attaches `fresh` (made for d->mem)
 * and loads it: what a snapshot does. 0 or the error of the load.
 */
int fake_move_to(struct fake_driver *d, struct virtio_device *fresh,
		 struct err *e);

#endif
