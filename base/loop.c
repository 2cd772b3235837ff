/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See loop.h. Events are fetched in batches; removing a source clears its
 * entries in the batch being dispatched, so that no callback sees a source after
 * its removal. Timers are in loop_timers.c.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/loop_private.h"

int loop_add_named(struct loop *loop, struct loop_source *source, int fd,
		   uint32_t events, loop_io_fn *fn, void *data,
		   const char *name)
{
	struct epoll_event ev = { .events = events, .data.ptr = source };

	/* Else the first descriptor would go on calling a source that has
	 * another one, or an owner that is gone. */
	assert(source->loop != loop || source->fd < 0);
	*source = (struct loop_source){ .fd = fd,
					.events = events,
					.fn = fn,
					.name = name,
					.data = data,
					.loop = loop };
	if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0) {
		source->fd = -1;
		return -errno;
	}
	return 0;
}

int loop_modify(struct loop_source *source, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = source };

	if (source->fd < 0)
		return -ENOENT;
	if (source->events == events)
		return 0;
	if (epoll_ctl(source->loop->epoll_fd, EPOLL_CTL_MOD, source->fd, &ev) <
	    0)
		return -errno;
	source->events = events;
	return 0;
}

void loop_remove(struct loop_source *source)
{
	struct loop *loop = source->loop;

	if (!loop || source->fd < 0)
		return;
	(void)epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, source->fd, NULL);
	source->fd = -1;
	for (int i = 0; i < loop->batch_len; i++) {
		if (loop->batch[i].data.ptr == source)
			loop->batch[i].data.ptr = NULL;
	}
}

bool loop_source_active(const struct loop_source *source)
{
	return source->loop && source->fd >= 0;
}

struct loop *loop_new(struct err *e)
{
	struct loop *loop = calloc(1, sizeof(*loop));
	int rc;

	if (!loop) {
		(void)err_sys(e, ENOMEM, "event loop");
		return NULL;
	}
	loop->signal_fd = loop->wake_fd = loop->timer_fd = loop->soon_fd = -1;
	TAILQ_INIT(&loop->soon);
	TAILQ_INIT(&loop->ends);
	loop_meter_init(&loop->meter);
	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	rc = loop->epoll_fd < 0 ? -errno : loop_timers_open(loop);
	if (rc < 0) {
		(void)err_sys(e, -rc, "event loop");
		loop_free(loop);
		return NULL;
	}
	return loop;
}

void loop_free(struct loop *loop)
{
	if (!loop)
		return;
	loop_meter_done(&loop->meter);
	close_fd(&loop->wake_fd);
	close_fd(&loop->signal_fd);
	loop_timers_close(loop);
	close_fd(&loop->epoll_fd);
	free(loop);
}

static void dispatch(struct loop *loop, struct loop_source *s, uint32_t events)
{
	const char *name = s->name;

	/* Timers measure themselves, one by one. */
	if (s == &loop->timer_source || s == &loop->soon_source) {
		s->fn(s, events);
		return;
	}
	loop_meter_callback_begin(&loop->meter);
	s->fn(s, events);
	loop_meter_callback_end(&loop->meter, name);
}

void loop_measure(struct loop *loop, bool exactly)
{
	loop_meter_start(&loop->meter, exactly);
}

struct loop_slow loop_worst_turn(const struct loop *loop)
{
	return loop->meter.worst;
}

void loop_measure_reset(struct loop *loop)
{
	loop->meter.worst = (struct loop_slow){ .source = NULL };
}

uint64_t loop_turns(const struct loop *loop)
{
	return loop->meter.turns;
}

bool loop_in_turn(const struct loop *loop)
{
	return loop->in_turn;
}

void loop_at_turn_end_named(struct loop_end *end, struct loop *loop,
			    void (*fn)(struct loop_end *end), void *data,
			    const char *name)
{
	assert(loop->in_turn);
	loop_end_cancel(end);
	*end = (struct loop_end){
		.fn = fn, .name = name, .data = data, .loop = loop
	};
	TAILQ_INSERT_TAIL(&loop->ends, end, link);
}

void loop_end_cancel(struct loop_end *end)
{
	if (!end->loop)
		return;
	TAILQ_REMOVE(&end->loop->ends, end, link);
	end->loop = NULL;
}

static void run_ends(struct loop *loop)
{
	struct loop_end *end;

	while ((end = TAILQ_FIRST(&loop->ends))) {
		const char *name = end->name;

		loop_end_cancel(end);
		loop_meter_callback_begin(&loop->meter);
		end->fn(end);
		loop_meter_callback_end(&loop->meter, name);
	}
}

int loop_run_once(struct loop *loop, int timeout_ms)
{
	int n;

	assert(loop->batch_len == 0);
	n = epoll_wait(loop->epoll_fd, loop->batch, LOOP_BATCH, timeout_ms);
	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	loop->batch_len = n;
	loop->in_turn = true;
	loop_meter_turn_begin(&loop->meter);
	for (int i = 0; i < n; i++) {
		struct loop_source *s = loop->batch[i].data.ptr;

		if (s)
			dispatch(loop, s, loop->batch[i].events);
	}
	run_ends(loop);
	loop_meter_turn_end(&loop->meter);
	loop->in_turn = false;
	loop->batch_len = 0;
	return n;
}

int loop_run(struct loop *loop)
{
	loop->stopped = false;
	while (!loop->stopped) {
		int rc = loop_run_once(loop, -1);

		if (rc < 0)
			return rc;
	}
	return loop->status;
}

int loop_fd(const struct loop *loop)
{
	return loop->epoll_fd;
}

void loop_stop(struct loop *loop, int status)
{
	loop->stopped = true;
	loop->status = status;
}

static void signals_read(struct loop_source *source, uint32_t events)
{
	struct loop *loop = source->data;
	struct signalfd_siginfo raw;

	(void)events;
	while (read(source->fd, &raw, sizeof(raw)) == sizeof(raw)) {
		siginfo_t info = { .si_signo = (int)raw.ssi_signo };

		info.si_pid = (pid_t)raw.ssi_pid;
		loop->signal_fn(&info, loop->signal_data);
	}
}

int loop_signals(struct loop *loop, const sigset_t *set, loop_signal_fn *fn,
		 void *data, struct err *e)
{
	int rc;

	assert(loop->signal_fd < 0);
	rc = pthread_sigmask(SIG_BLOCK, set, NULL);
	if (rc)
		return err_sys(e, rc, "block signals");
	loop->signal_fd = signalfd(-1, set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (loop->signal_fd < 0)
		return err_sys(e, errno, "signalfd");
	loop->signal_fn = fn;
	loop->signal_data = data;
	rc = loop_add(loop, &loop->signal_source, loop->signal_fd, EPOLLIN,
		      signals_read, loop);
	return rc < 0 ? err_sys(e, -rc, "watch signals") : 0;
}

static void wake_read(struct loop_source *source, uint32_t events)
{
	struct loop *loop = source->data;
	uint64_t count;

	(void)events;
	if (read(source->fd, &count, sizeof(count)) == sizeof(count))
		loop->wake_fn(loop->wake_data);
}

int loop_set_wake(struct loop *loop, void (*fn)(void *data), void *data,
		  struct err *e)
{
	int rc;

	assert(loop->wake_fd < 0);
	loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (loop->wake_fd < 0)
		return err_sys(e, errno, "eventfd");
	loop->wake_fn = fn;
	loop->wake_data = data;
	rc = loop_add(loop, &loop->wake_source, loop->wake_fd, EPOLLIN,
		      wake_read, loop);
	return rc < 0 ? err_sys(e, -rc, "watch eventfd") : 0;
}

void loop_wake(struct loop *loop)
{
	uint64_t one = 1;
	ssize_t n = write(loop->wake_fd, &one, sizeof(one));

	/* EAGAIN means that a wake-up is pending already. */
	(void)n;
}
