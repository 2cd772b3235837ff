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
	/* Those of one turn have been told. */
	void (*turn_over)(void *ctx);
	void *ctx;
};

typedef int blk_enter_fn(void *ctx, struct err *e);

struct blk_engine;

struct blk_engine_ops {
	const char *name;
	/* Starts its threads; the first act of each is enter(ctx). */
	int (*start)(struct blk_engine *engine, pthread_mutex_t *lock,
		     blk_enter_fn *enter, void *ctx, struct err *e);
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

/*
 * `threads` threads that each wait for one request; until they are started it is
 * the caller of submit() who waits.
 */
int blk_threads_new(int fd, unsigned threads,
		    const struct blk_engine_events *events,
		    struct blk_engine **ret, struct err *e);

#endif
