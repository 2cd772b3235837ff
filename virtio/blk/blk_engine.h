/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who asks the host's file. An engine takes requests that were checked, performs
 * each of them (all operations of blk_request_next()), and gives them back in
 * any order. It knows nothing of queues and of the guest.
 *
 * All calls but new, start and free: machine lock held. No engine waits with it.
 */
#ifndef VIRTIO_BLK_ENGINE_H
#define VIRTIO_BLK_ENGINE_H

#include <pthread.h>

#include "virtio/blk/blk_request.h"

/* What the engine's owner is told; lock held, on any thread. */
struct blk_engine_events {
	/* r->rc says how it went; r is the owner's again. */
	void (*done)(void *ctx, struct blk_request *r);
	/* Those of one turn have been told. look: and the driver's queues
	 * should be looked at, whether it has kicked or not. */
	void (*turn_over)(void *ctx, bool look);
	void *ctx;
};

typedef int blk_enter_fn(void *ctx, struct err *e);

struct blk_start {
	pthread_mutex_t *lock; /* the machine's; not held now */
	/* The first act of each thread; may be NULL. */
	blk_enter_fn *enter;
	void *ctx;
	/* Eventfds of the driver's kicks: the engine's own from then on. */
	const int *kick_fds;
	size_t kick_count;
};

struct blk_engine;

struct blk_engine_ops {
	const char *name;
	bool by_ring; /* the file is the kernel's matter, no thread's of ours */
	int (*start)(struct blk_engine *engine, const struct blk_start *start,
		     struct err *e);
	/* Takes it; done() follows, for an engine without threads within. */
	void (*submit)(struct blk_engine *engine, struct blk_request *r);
	/* What it has not begun is done at once, with -ECANCELED. */
	void (*cancel)(struct blk_engine *engine);
	/* Ends its threads; what is under way is waited for, and not told. */
	void (*free)(struct blk_engine *engine);
};

struct blk_engine {
	const struct blk_engine_ops *ops;
	struct blk_engine_events events;
	int fd; /* of the disk; not owned */
};

/* Waits for all operations of r. */
void blk_request_perform(struct blk_request *r, int fd);

/*
 * `threads` threads that each wait for one request; until they are started it is
 * the caller of submit() who waits.
 */
int blk_threads_new(int fd, unsigned threads,
		    const struct blk_engine_events *events,
		    struct blk_engine **ret, struct err *e);

/* Unavailable (code io_uring_unavailable) where the host has none for us. */
int blk_uring_new(int fd, const struct blk_engine_events *events,
		  struct blk_engine **ret, struct err *e);

#endif
