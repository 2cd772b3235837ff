/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See loop.h. Events are fetched in batches; removing a source clears its
 * entries in the batch being dispatched, so that no callback sees a source after
 * its removal. Timers are a list sorted by deadline behind one timerfd; those
 * for the next turn are a list behind an eventfd that is set while it has any.
 */
#include "base/loop.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"

enum {
	LOOP_BATCH = 32
};

/* deadline_ms of a timer that waits for the next turn. */
#define NEXT_TURN UINT64_MAX

struct loop {
	int epoll_fd;
	bool stopped;
	int status;
	struct epoll_event batch[LOOP_BATCH];
	int batch_len;
	struct loop_timer *timers; /* soonest first */
	uint64_t armed_ms; /* what timer_fd is set to; 0: nothing */
	int timer_fd;
	struct loop_source timer_source;
	struct loop_timer *soon, *firing; /* for the next turn; for this one */
	int soon_fd;
	struct loop_source soon_source;
	int signal_fd;
	struct loop_source signal_source;
	loop_signal_fn *signal_fn;
	void *signal_data;
	int wake_fd;
	struct loop_source wake_source;
	void (*wake_fn)(void *data);
	void *wake_data;
	struct loop_meter meter;
};

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

/* Sets the timerfd to the first deadline, if that is not what it is set to. */
static void timers_program(struct loop *loop)
{
	uint64_t first = loop->timers ? loop->timers->deadline_ms : 0;
	struct itimerspec when = { 0 };

	if (first == loop->armed_ms)
		return;
	when.it_value.tv_sec = (time_t)(first / 1000);
	when.it_value.tv_nsec = (long)(first % 1000) * 1000000;
	(void)timerfd_settime(loop->timer_fd, TFD_TIMER_ABSTIME, &when, NULL);
	loop->armed_ms = first;
}

static void fire(struct loop *loop, struct loop_timer *t)
{
	const char *name = t->name;

	loop_meter_callback_begin(&loop->meter);
	t->fn(t);
	loop_meter_callback_end(&loop->meter, name);
}

static void timers_fire(struct loop_source *source, uint32_t events)
{
	struct loop *loop = source->data;
	uint64_t now = clock_mono_ms(), count;

	(void)events;
	if (read(source->fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
		return;
	loop->armed_ms = 0;
	while (loop->timers && loop->timers->deadline_ms <= now) {
		struct loop_timer *t = loop->timers;

		loop->timers = t->next;
		t->next = NULL;
		t->deadline_ms = 0;
		fire(loop, t);
	}
	/* armed_ms may have been set by a callback that armed a timer. */
	timers_program(loop);
}

void loop_timer_init_named(struct loop *loop, struct loop_timer *timer,
			   loop_timer_fn *fn, void *data, const char *name)
{
	/* Else it would stay in the list and be linked to itself when armed. */
	assert(timer->loop != loop || !loop_timer_armed(timer));
	*timer = (struct loop_timer){
		.fn = fn, .name = name, .data = data, .loop = loop
	};
}

void loop_timer_start_named(struct loop_timer *timer, loop_timer_fn *fn,
			    uint64_t after_ms, const char *name)
{
	loop_timer_disarm(timer);
	timer->fn = fn;
	timer->name = name;
	loop_timer_arm(timer, after_ms);
}

void loop_timer_arm(struct loop_timer *timer, uint64_t after_ms)
{
	struct loop *loop = timer->loop;
	struct loop_timer **at;
	uint64_t deadline;

	assert(loop && timer->fn);
	at = &loop->timers;
	loop_timer_disarm(timer);
	if (__builtin_add_overflow(clock_mono_ms(), after_ms, &deadline) ||
	    deadline > INT64_MAX / 1000)
		deadline = INT64_MAX / 1000;
	/* A clock in whole ms is up to 1 ms behind: never fire early. */
	timer->deadline_ms = deadline + 1;
	while (*at && (*at)->deadline_ms <= timer->deadline_ms)
		at = &(*at)->next;
	timer->next = *at;
	*at = timer;
	timers_program(loop);
}

/* True when it was there. */
static bool unlink_timer(struct loop_timer **at, struct loop_timer *timer)
{
	for (; *at; at = &(*at)->next) {
		if (*at == timer) {
			*at = timer->next;
			timer->next = NULL;
			return true;
		}
	}
	return false;
}

static void soon_clear(struct loop *loop)
{
	uint64_t count;
	ssize_t n = read(loop->soon_fd, &count, sizeof(count));

	(void)n; /* it may have been clear */
}

static void soon_set(struct loop *loop)
{
	uint64_t one = 1;
	ssize_t n = write(loop->soon_fd, &one, sizeof(one));

	(void)n; /* cannot fail: the count is small */
}

static void soon_fire(struct loop_source *source, uint32_t events)
{
	struct loop *loop = source->data;

	(void)events;
	soon_clear(loop);
	loop->firing = loop->soon;
	loop->soon = NULL;
	while (loop->firing) {
		struct loop_timer *t = loop->firing;

		loop->firing = t->next;
		t->next = NULL;
		t->deadline_ms = 0;
		fire(loop, t);
	}
}

void loop_timer_arm_soon(struct loop_timer *timer)
{
	struct loop *loop = timer->loop;
	struct loop_timer **at;

	assert(loop && timer->fn);
	at = &loop->soon;
	if (timer->deadline_ms == NEXT_TURN)
		return;
	loop_timer_disarm(timer);
	if (!loop->soon)
		soon_set(loop);
	while (*at)
		at = &(*at)->next;
	timer->deadline_ms = NEXT_TURN;
	timer->next = NULL;
	*at = timer;
}

void loop_timer_start_soon_named(struct loop_timer *timer, loop_timer_fn *fn,
				 const char *name)
{
	loop_timer_disarm(timer);
	timer->fn = fn;
	timer->name = name;
	loop_timer_arm_soon(timer);
}

void loop_timer_disarm(struct loop_timer *timer)
{
	struct loop *loop = timer->loop;

	if (!loop || !timer->deadline_ms)
		return;
	if (timer->deadline_ms != NEXT_TURN) {
		(void)unlink_timer(&loop->timers, timer);
		timers_program(loop);
	} else if (!unlink_timer(&loop->firing, timer) &&
		   unlink_timer(&loop->soon, timer) && !loop->soon) {
		soon_clear(loop);
	}
	timer->deadline_ms = 0;
}

bool loop_timer_armed(const struct loop_timer *timer)
{
	return timer->deadline_ms != 0;
}

void loop_timers_postpone(struct loop *loop, uint64_t by_ms)
{
	/* All by the same: they stay sorted. */
	for (struct loop_timer *t = loop->timers; t; t = t->next)
		if (__builtin_add_overflow(t->deadline_ms, by_ms,
					   &t->deadline_ms) ||
		    t->deadline_ms > INT64_MAX / 1000)
			t->deadline_ms = INT64_MAX / 1000;
	timers_program(loop);
}

static int open_timers(struct loop *loop)
{
	int rc;

	loop->timer_fd =
		timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (loop->timer_fd < 0)
		return -errno;
	loop->soon_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (loop->soon_fd < 0)
		return -errno;
	rc = loop_add(loop, &loop->timer_source, loop->timer_fd, EPOLLIN,
		      timers_fire, loop);
	return rc < 0 ? rc
		      : loop_add(loop, &loop->soon_source, loop->soon_fd,
				 EPOLLIN, soon_fire, loop);
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
	loop_meter_init(&loop->meter);
	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	rc = loop->epoll_fd < 0 ? -errno : open_timers(loop);
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
	close_fd(&loop->soon_fd);
	close_fd(&loop->timer_fd);
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

int loop_run_once(struct loop *loop, int timeout_ms)
{
	int n;

	assert(loop->batch_len == 0);
	n = epoll_wait(loop->epoll_fd, loop->batch, LOOP_BATCH, timeout_ms);
	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	loop->batch_len = n;
	loop_meter_turn_begin(&loop->meter);
	for (int i = 0; i < n; i++) {
		struct loop_source *s = loop->batch[i].data.ptr;

		if (s)
			dispatch(loop, s, loop->batch[i].events);
	}
	loop_meter_turn_end(&loop->meter);
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
