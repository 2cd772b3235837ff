/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A thread for what may block: host I/O that must not be made with the machine
 * lock held. It runs step() under that lock as long as there is work; around the
 * call that blocks, step() gives the lock away. One piece of work at a time, so
 * order is kept.
 *
 * All functions but start and stop: lock held. Those that wait release it while
 * they do, so that whoever else needs it goes on.
 */
#ifndef VIRTIO_WORKER_H
#define VIRTIO_WORKER_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct worker {
	/* Does one piece of work; false when there is none. */
	bool (*step)(void *ctx);
	void *ctx;
	pthread_mutex_t *lock; /* NULL: never started */
	pthread_cond_t wake, changed;
	pthread_t thread;
	int (*enter)(void *ctx, struct err *e);
	void *enter_ctx;
	struct err enter_err;
	int enter_rc;
	bool entered, quit, paused;
	bool busy; /* the lock is given away in the middle of a step */
	uint64_t steps; /* done, also those without work */
};

void worker_init(struct worker *w, bool (*step)(void *ctx), void *ctx);

/*
 * Starts the thread; its first act is enter() (may be NULL), whose failure is
 * returned. The lock is not held and outlives the worker.
 */
int worker_start(struct worker *w, pthread_mutex_t *lock,
		 int (*enter)(void *ctx, struct err *e), void *enter_ctx,
		 struct err *e);
/* Ends the thread; waits for a step under way. Harmless when never started. */
void worker_stop(struct worker *w);

static inline bool worker_started(const struct worker *w)
{
	return w->lock;
}

/* There may be work. */
void worker_wake(struct worker *w);

/* From step(): around the call that blocks. */
void worker_unlock(struct worker *w);
void worker_relock(struct worker *w);

/* Waits until no step is in the middle of its call. */
void worker_settle(struct worker *w);
/* No new step begins; settle() after it: nothing is under way. */
void worker_pause(struct worker *w);
void worker_resume(struct worker *w);
/* Resumes, and waits until the thread has tried one step. */
void worker_round(struct worker *w);

#endif
