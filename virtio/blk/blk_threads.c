/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine that works everywhere: a few threads, each with one request at a
 * time and calls that wait. Requests are begun in order. A pool is one drive's
 * own: a file that hangs takes all its threads, and nobody else's.
 *
 * Idle threads sleep at the driver's kicks (their eventfds, past the loop thread)
 * and at wake_fd. Who is woken takes what the driver offers, wakes another one if
 * that is more than a request, and does the first. Edges: an event wakes one
 * thread, and nothing has to be read.
 */
#include "virtio/blk/blk_engine.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/cleanup.h"

enum {
	THREADS_MAX = 8,
	/* Device code is shallow, but a log record has its text on the stack. */
	STACK_BYTES = 256 * 1024
};

struct blk_threads {
	struct blk_engine engine; /* first: an engine is a blk_threads */
	pthread_mutex_t *lock; /* NULL: not started */
	pthread_cond_t changed;
	int epoll_fd, wake_fd;
	struct blk_request *first, **last; /* not begun */
	bool in_turn; /* a thread looks at the list anyhow */
	unsigned wanted, started, entered, idle;
	pthread_t threads[THREADS_MAX];
	bool quit;
	blk_enter_fn *enter;
	void *enter_ctx;
	struct err enter_err;
	int enter_rc;
};

static struct blk_threads *to_threads(struct blk_engine *engine)
{
	return (struct blk_threads *)engine;
}

void blk_request_perform(struct blk_request *r, int fd)
{
	struct blk_op op;

	while (blk_request_next(r, &op))
		blk_request_took(r, blk_io_run(fd, &op));
}

static struct blk_request *take(struct blk_threads *t)
{
	struct blk_request *r = t->first;

	if (!r)
		return NULL;
	t->first = r->next;
	if (!t->first)
		t->last = &t->first;
	return r;
}

static void enter(struct blk_threads *t)
{
	struct err e = ERR_INIT;
	int rc = t->enter ? t->enter(t->enter_ctx, &e) : 0;

	(void)pthread_mutex_lock(t->lock);
	t->entered++;
	if (rc < 0) {
		t->enter_rc = rc;
		t->enter_err = e;
		t->quit = true;
	}
	(void)pthread_cond_signal(&t->changed);
}

static void wake(struct blk_threads *t)
{
	uint64_t one = 1;

	(void)!write(t->wake_fd, &one, sizeof(one));
}

/* Lock held. What the driver offers is taken, whether it has kicked or not. */
static void look(struct blk_threads *t)
{
	t->in_turn = true;
	t->engine.events.turn_over(t->engine.events.ctx, true);
	t->in_turn = false;
}

/* Lock held, given away while this thread has nothing to do. */
static void sleep_idle(struct blk_threads *t)
{
	struct epoll_event event;

	t->idle++;
	(void)pthread_mutex_unlock(t->lock);
	(void)epoll_wait(t->epoll_fd, &event, 1, -1);
	(void)pthread_mutex_lock(t->lock);
	t->idle--;
}

static void *run(void *data)
{
	struct blk_threads *t = data;
	const struct blk_engine_events *events = &t->engine.events;

	enter(t);
	while (!t->quit) {
		struct blk_request *r;

		look(t);
		r = take(t);
		if (!r) {
			sleep_idle(t);
			continue;
		}
		if (t->first && t->idle)
			wake(t);
		(void)pthread_mutex_unlock(t->lock);
		blk_request_perform(r, t->engine.fd);
		(void)pthread_mutex_lock(t->lock);
		events->done(events->ctx, r);
	}
	events->turn_over(events->ctx, false);
	wake(t); /* the next one ends, too */
	(void)pthread_mutex_unlock(t->lock);
	return NULL;
}

static int watch(struct blk_threads *t, int fd, struct err *e)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLET };

	return epoll_ctl(t->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0
		       ? err_sys(e, errno, "watching a disk")
		       : 0;
}

static int start(struct blk_engine *engine, const struct blk_start *s,
		 struct err *e)
{
	struct blk_threads *t = to_threads(engine);
	pthread_attr_t attr;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < s->kick_count; i++)
		rc = watch(t, s->kick_fds[i], e);
	if (rc < 0)
		return rc;
	(void)pthread_cond_init(&t->changed, NULL);
	t->enter = s->enter;
	t->enter_ctx = s->ctx;
	t->lock = s->lock;
	(void)pthread_attr_init(&attr);
	(void)pthread_attr_setstacksize(&attr, STACK_BYTES);
	while (rc == 0 && t->started < t->wanted) {
		rc = pthread_create(&t->threads[t->started], &attr, run, t);
		t->started += rc == 0;
	}
	(void)pthread_attr_destroy(&attr);
	(void)pthread_mutex_lock(t->lock);
	while (t->entered < t->started)
		(void)pthread_cond_wait(&t->changed, t->lock);
	(void)pthread_mutex_unlock(t->lock);
	if (rc > 0)
		return err_sys(e, rc, "starting a thread for host I/O");
	if (t->enter_rc < 0 && e)
		*e = t->enter_err;
	return t->enter_rc;
}

static void submit(struct blk_engine *engine, struct blk_request *r)
{
	struct blk_threads *t = to_threads(engine);

	if (!t->lock) {
		blk_request_perform(r, engine->fd);
		engine->events.done(engine->events.ctx, r);
		return;
	}
	r->next = NULL;
	*t->last = r;
	t->last = &r->next;
	if (!t->in_turn && t->idle)
		wake(t);
}

static void cancel(struct blk_engine *engine)
{
	struct blk_threads *t = to_threads(engine);
	struct blk_request *r;

	while ((r = take(t))) {
		r->rc = -ECANCELED;
		engine->events.done(engine->events.ctx, r);
	}
}

static void free_threads(struct blk_engine *engine)
{
	struct blk_threads *t = to_threads(engine);

	if (t->lock) {
		(void)pthread_mutex_lock(t->lock);
		t->quit = true;
		wake(t);
		(void)pthread_mutex_unlock(t->lock);
		for (unsigned i = 0; i < t->started; i++)
			(void)pthread_join(t->threads[i], NULL);
		(void)pthread_cond_destroy(&t->changed);
	}
	close_fd(&t->epoll_fd);
	close_fd(&t->wake_fd);
	free(t);
}

static const struct blk_engine_ops threads_ops = {
	.name = "threads",
	.start = start,
	.submit = submit,
	.cancel = cancel,
	.free = free_threads,
};

int blk_threads_new(int fd, unsigned threads,
		    const struct blk_engine_events *events,
		    struct blk_engine **ret, struct err *e)
{
	struct blk_threads *t = calloc(1, sizeof(*t));
	int rc;

	if (!t)
		return err_sys(e, ENOMEM, "block device");
	t->engine = (struct blk_engine){ &threads_ops, *events, fd };
	t->wanted = threads > THREADS_MAX ? THREADS_MAX : threads;
	t->last = &t->first;
	t->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	t->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	rc = t->epoll_fd < 0 || t->wake_fd < 0
		     ? err_sys(e, EMFILE, "descriptors of a disk")
		     : watch(t, t->wake_fd, e);
	if (rc < 0) {
		free_threads(&t->engine);
		return rc;
	}
	*ret = &t->engine;
	return 0;
}
