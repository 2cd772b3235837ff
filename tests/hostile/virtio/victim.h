/* SPDX-License-Identifier: Apache-2.0 */
/* The devices that the attacks are run against, each with its surroundings. */
#ifndef TESTS_HOSTILE_VIRTIO_VICTIM_H
#define TESTS_HOSTILE_VIRTIO_VICTIM_H

#include "fake_driver.h"
#include "virtio/blk/blk.h"

enum victim_kind {
	VICTIM_BLK,
	VICTIM_RNG,
	VICTIM_CONSOLE,
	VICTIM_KINDS
};

struct victim {
	struct fake_driver d;
	struct loop *loop;
	enum victim_kind kind;
	enum virtio_blk_kind engine; /* of blk */
	uint16_t queue; /* one that the device serves at a kick */
	int disk_fd; /* blk: a duplicate of its 128 KiB disk; else -1 */
};

/* A new device of that kind for v->d.mem, with the same surroundings. */
struct virtio_device *victim_make(struct victim *v);
void victim_init(struct victim *v, enum victim_kind kind);
/* The same; blk with that engine, which is not started. */
void victim_init_engine(struct victim *v, enum victim_kind kind,
			enum virtio_blk_kind engine);
void victim_done(struct victim *v);

/* Resets, starts and makes one honest request: the device is as good as new. */
bool victim_recovers(struct victim *v);

#endif
