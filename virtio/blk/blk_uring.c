/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine on io_uring: one thread, which takes what the driver offers, gives
 * all of it to the kernel in one call, and tells results as they come. It alone
 * touches the ring. It sleeps in one place, and is woken by results, by the
 * driver's kicks (their eventfds, past the loop thread) and by wake_fd.
 *
 * What would wait in the kernel (a file that is not in the page cache, a sync)
 * is done by threads of the kernel's, as many as needed: a request that hangs
 * holds up no other.
 */
#include "virtio/blk/blk_engine.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "virtio/blk/uring.h"

enum {
	ENTRIES = 256, /* as many as a device has requests */
	STACK_BYTES = 256 * 1024,
	/* What the kernel could not take (no memory, no thread for it) is
	 * offered again after a while, and fails in the end. */
	RETRY_MS = 10,
	TRIES_MAX = 500,
	EVENTS = 8
};

struct blk_uring {
	struct blk_engine engine; /* first: an engine is a blk_uring */
	struct uring ring;
	int epoll_fd, wake_fd;
	pthread_mutex_t *lock; /* NULL: not started */
	pthread_t thread;
	pthread_cond_t changed;
	struct blk_request *first, **last; /* not given to the ring */
	unsigned in_ring;
	bool in_turn; /* the thread looks at the list anyhow */
	bool later; /* something has to be offered again */
	bool quit, entered;
	blk_enter_fn *enter;
	void *enter_ctx;
	struct err enter_err;
	int enter_rc;
};

static struct blk_uring *to_uring(struct blk_engine *engine)
{
	return (struct blk_uring *)engine;
}

static void append(struct blk_uring *u, struct blk_request *r)
{
	r->next = NULL;
	*u->last = r;
	u->last = &r->next;
}

static struct blk_request *take(struct blk_uring *u)
{
	struct blk_request *r = u->first;

	if (!r)
		return NULL;
	u->first = r->next;
	if (!u->first)
		u->last = &u->first;
	return r;
}

static void wake(struct blk_uring *u)
{
	uint64_t one = 1;

	(void)!write(u->wake_fd, &one, sizeof(one));
}

/* The kernel's own reasons, which pass. */
static bool passes(struct blk_uring *u, struct blk_request *r, int result)
{
	if (result != -EAGAIN && result != -EINTR && result != -ECANCELED)
		return false;
	if (r->tries++ >= TRIES_MAX)
		return false;
	u->later |= result != -EINTR;
	return true;
}

static void take_results(struct blk_uring *u)
{
	int result;
	void *tag;

	while (uring_take(&u->ring, &tag, &result)) {
		struct blk_request *r = tag;

		u->in_ring--;
		if (!passes(u, r, result))
			blk_request_took(r, result);
		append(u, r);
	}
}

/* Each request's next operation to the ring; those without one are done. */
static void give(struct blk_uring *u)
{
	const struct blk_engine_events *events = &u->engine.events;
	struct blk_request *r;
	struct blk_op op;

	while ((r = take(u))) {
		if (!blk_request_next(r, &op)) {
			events->done(events->ctx, r);
		} else if (uring_put(&u->ring, &op, r)) {
			u->in_ring++;
		} else {
			append(u, r);
			u->later = true;
			return;
		}
	}
}

/* Lock held. A driver that has more to do is not asked to kick for it. */
static void turn(struct blk_uring *u)
{
	const struct blk_engine_events *events = &u->engine.events;

	u->in_turn = true;
	u->later = false;
	take_results(u);
	give(u);
	if (!u->quit)
		events->turn_over(events->ctx, true);
	give(u);
	u->in_turn = false;
}

/* No lock. What the kernel does not take now it is offered again. */
static bool enter_ring(struct blk_uring *u)
{
	static struct log_rate rate = LOG_RATE_INIT(1);
	int rc = uring_enter(&u->ring);

	if (rc < 0 && rc != -EAGAIN && rc != -EBUSY && log_rate_ok(&rate))
		log_warn("virtio-blk: io_uring_enter: %s", strerror(-rc));
	return rc == 0;
}

static void serve(struct blk_uring *u)
{
	struct epoll_event events[EVENTS];

	while (!u->quit || u->in_ring || u->first) {
		bool later;

		turn(u);
		later = u->later;
		(void)pthread_mutex_unlock(u->lock);
		later |= !enter_ring(u);
		/* Edges: what has come since is told, and nothing is read. */
		if (!uring_ready(&u->ring) || later)
			(void)epoll_wait(u->epoll_fd, events, EVENTS,
					 later ? RETRY_MS : -1);
		(void)pthread_mutex_lock(u->lock);
	}
}

static void *run(void *data)
{
	struct blk_uring *u = data;
	int rc = u->enter ? u->enter(u->enter_ctx, &u->enter_err) : 0;

	(void)pthread_mutex_lock(u->lock);
	u->enter_rc = rc;
	u->entered = true;
	(void)pthread_cond_signal(&u->changed);
	if (rc == 0)
		serve(u);
	(void)pthread_mutex_unlock(u->lock);
	return NULL;
}

static int watch(struct blk_uring *u, int fd, struct err *e)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLET };

	return epoll_ctl(u->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0
		       ? err_sys(e, errno, "watching a disk")
		       : 0;
}

static int start(struct blk_engine *engine, const struct blk_start *s,
		 struct err *e)
{
	struct blk_uring *u = to_uring(engine);
	pthread_attr_t attr;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < s->kick_count; i++)
		rc = watch(u, s->kick_fds[i], e);
	if (rc < 0)
		return rc;
	(void)pthread_cond_init(&u->changed, NULL);
	u->enter = s->enter;
	u->enter_ctx = s->ctx;
	u->lock = s->lock;
	(void)pthread_attr_init(&attr);
	(void)pthread_attr_setstacksize(&attr, STACK_BYTES);
	rc = pthread_create(&u->thread, &attr, run, u);
	(void)pthread_attr_destroy(&attr);
	if (rc) {
		u->lock = NULL;
		return err_sys(e, rc, "starting a thread for host I/O");
	}
	(void)pthread_mutex_lock(u->lock);
	while (!u->entered)
		(void)pthread_cond_wait(&u->changed, u->lock);
	rc = u->enter_rc;
	(void)pthread_mutex_unlock(u->lock);
	if (rc < 0 && e)
		*e = u->enter_err;
	return rc;
}

static void submit(struct blk_engine *engine, struct blk_request *r)
{
	struct blk_uring *u = to_uring(engine);

	if (!u->lock) {
		blk_request_perform(r, engine->fd);
		engine->events.done(engine->events.ctx, r);
		return;
	}
	r->tries = 0;
	if (!u->first && !u->in_turn)
		wake(u);
	append(u, r);
}

static void cancel(struct blk_engine *engine)
{
	struct blk_uring *u = to_uring(engine);
	struct blk_request *r;

	while ((r = take(u))) {
		r->rc = -ECANCELED;
		engine->events.done(engine->events.ctx, r);
	}
}

static void free_uring(struct blk_engine *engine)
{
	struct blk_uring *u = to_uring(engine);

	if (u->lock) {
		(void)pthread_mutex_lock(u->lock);
		u->quit = true;
		wake(u);
		(void)pthread_mutex_unlock(u->lock);
		(void)pthread_join(u->thread, NULL);
		(void)pthread_cond_destroy(&u->changed);
	}
	uring_close(&u->ring);
	close_fd(&u->epoll_fd);
	close_fd(&u->wake_fd);
	free(u);
}

static const struct blk_engine_ops uring_ops = {
	.name = "io_uring",
	.by_ring = true,
	.start = start,
	.submit = submit,
	.cancel = cancel,
	.free = free_uring,
};

int blk_uring_new(int fd, const struct blk_engine_events *events,
		  struct blk_engine **ret, struct err *e)
{
	struct blk_uring *u = calloc(1, sizeof(*u));
	int rc;

	if (!u)
		return err_sys(e, ENOMEM, "block device");
	u->engine = (struct blk_engine){ &uring_ops, *events, fd };
	u->last = &u->first;
	u->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	u->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	rc = uring_open(&u->ring, fd, ENTRIES, e);
	if (rc == 0 && (u->epoll_fd < 0 || u->wake_fd < 0))
		rc = err_sys(e, EMFILE, "descriptors of a disk");
	if (rc == 0)
		rc = watch(u, u->wake_fd, e);
	if (rc == 0)
		rc = watch(u, u->ring.fd, e);
	if (rc < 0) {
		free_uring(&u->engine);
		return rc;
	}
	*ret = &u->engine;
	return 0;
}
