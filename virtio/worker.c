/* SPDX-License-Identifier: Apache-2.0 */
/* See worker.h. */
#include "virtio/worker.h"

enum {
	/* Device code is shallow, but a log record has its text on the stack. */
	STACK_BYTES = 256 * 1024
};

void worker_init(struct worker *w, bool (*step)(void *ctx), void *ctx)
{
	*w = (struct worker){ .step = step, .ctx = ctx };
}

static void *run(void *data)
{
	struct worker *w = data;
	int rc = w->enter ? w->enter(w->enter_ctx, &w->enter_err) : 0;

	(void)pthread_mutex_lock(w->lock);
	w->enter_rc = rc;
	w->entered = true;
	(void)pthread_cond_broadcast(&w->changed);
	while (!w->quit && rc == 0) {
		bool more = !w->paused && w->step(w->ctx);

		w->steps++;
		(void)pthread_cond_broadcast(&w->changed);
		if (!more && !w->quit)
			(void)pthread_cond_wait(&w->wake, w->lock);
	}
	(void)pthread_mutex_unlock(w->lock);
	return NULL;
}

static int create(struct worker *w, struct err *e)
{
	pthread_attr_t attr;
	int rc;

	(void)pthread_attr_init(&attr);
	(void)pthread_attr_setstacksize(&attr, STACK_BYTES);
	rc = pthread_create(&w->thread, &attr, run, w);
	(void)pthread_attr_destroy(&attr);
	return rc ? err_sys(e, rc, "starting a thread for host I/O") : 0;
}

int worker_start(struct worker *w, pthread_mutex_t *lock,
		 int (*enter)(void *ctx, struct err *e), void *enter_ctx,
		 struct err *e)
{
	int rc;

	(void)pthread_cond_init(&w->wake, NULL);
	(void)pthread_cond_init(&w->changed, NULL);
	w->enter = enter;
	w->enter_ctx = enter_ctx;
	w->lock = lock;
	rc = create(w, e);
	if (rc < 0) {
		w->lock = NULL;
		return rc;
	}
	(void)pthread_mutex_lock(lock);
	while (!w->entered)
		(void)pthread_cond_wait(&w->changed, lock);
	rc = w->enter_rc;
	(void)pthread_mutex_unlock(lock);
	if (rc < 0 && e)
		*e = w->enter_err;
	return rc;
}

void worker_stop(struct worker *w)
{
	if (!w->lock)
		return;
	(void)pthread_mutex_lock(w->lock);
	w->quit = true;
	(void)pthread_cond_broadcast(&w->wake);
	(void)pthread_mutex_unlock(w->lock);
	(void)pthread_join(w->thread, NULL);
	(void)pthread_cond_destroy(&w->wake);
	(void)pthread_cond_destroy(&w->changed);
	w->lock = NULL;
}

void worker_wake(struct worker *w)
{
	(void)pthread_cond_signal(&w->wake);
}

void worker_unlock(struct worker *w)
{
	w->busy = true;
	(void)pthread_mutex_unlock(w->lock);
}

void worker_relock(struct worker *w)
{
	(void)pthread_mutex_lock(w->lock);
	w->busy = false;
	(void)pthread_cond_broadcast(&w->changed);
}

void worker_settle(struct worker *w)
{
	while (w->lock && w->busy)
		(void)pthread_cond_wait(&w->changed, w->lock);
}

void worker_pause(struct worker *w)
{
	w->paused = true;
}

void worker_resume(struct worker *w)
{
	w->paused = false;
	worker_wake(w);
}

void worker_round(struct worker *w)
{
	uint64_t before = w->steps;

	worker_resume(w);
	while (w->steps == before)
		(void)pthread_cond_wait(&w->changed, w->lock);
}
