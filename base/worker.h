/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads for calls that wait for a disk (fsync, copying, checkpoints), so that
 * a loop never does. A job runs on one of a few threads, in any order beside
 * others, and its end is told on the loop's thread.
 *
 * The threads are started with the first job: what their owner gives up before
 * that (capabilities, system calls), they do not have either.
 */
#ifndef BASE_WORKER_H
#define BASE_WORKER_H

#include <stdbool.h>

#include "base/loop.h"

struct worker_pool;

/* Embedded in its owner; must stay until done() was called. */
struct worker_job {
	/* On a thread of the pool: touches only what belongs to the job. */
	void (*run)(struct worker_job *job);
	/* On the loop's thread; may free the job. */
	void (*done)(struct worker_job *job);
	void *data; /* the owner's */
	bool dropped; /* in done(): the pool went before run() was called */
	struct worker_job *next;
};

enum {
	WORKER_THREADS_MAX = 8
};

/* threads: 1 to WORKER_THREADS_MAX. NULL when out of memory or descriptors. */
struct worker_pool *worker_pool_new(struct loop *loop, unsigned threads,
				    struct err *e);
/* Waits for what runs, then calls done() of every job; one that is submitted
 * meanwhile is dropped, and must not be submitted again then. NULL is fine. */
void worker_pool_free(struct worker_pool *pool);

/* Loop's thread. Cannot fail: without any thread the caller's has to do it. */
void worker_submit(struct worker_pool *pool, struct worker_job *job);

#endif
