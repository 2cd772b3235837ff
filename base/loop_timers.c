/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The timers of a loop: those with a deadline are a heap behind one timerfd,
 * which is set for the first of them only; those for the next turn are a list
 * behind an eventfd that is set while it has any.
 */
#include <assert.h>
#include <errno.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/loop_private.h"

/* deadline_ms of a timer that waits for the next turn. */
#define NEXT_TURN UINT64_MAX
/* In seconds it is still a time_t for timerfd. */
#define DEADLINE_MAX ((uint64_t)INT64_MAX / 1000)

/* Sets the timerfd to the first deadline, if that is not what it is set to. */
static void timers_program(struct loop *loop)
{
	uint64_t first = loop->timers.root ? loop->timers.root->deadline_ms : 0;
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
	while (loop->timers.root && loop->timers.root->deadline_ms <= now) {
		struct loop_timer *t = loop->timers.root;

		timer_heap_remove(&loop->timers, t);
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
	uint64_t deadline;

	assert(loop && timer->fn);
	loop_timer_disarm(timer);
	if (__builtin_add_overflow(clock_mono_ms(), after_ms, &deadline) ||
	    deadline > DEADLINE_MAX)
		deadline = DEADLINE_MAX;
	/* A clock in whole ms is up to 1 ms behind: never fire early. */
	timer->deadline_ms = deadline + 1;
	timer_heap_insert(&loop->timers, timer);
	timers_program(loop);
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
	struct loop_timer *t;

	(void)events;
	soon_clear(loop);
	/* Whatever is armed from here on has to wait for the next turn. */
	loop->soon_round++;
	while ((t = TAILQ_FIRST(&loop->soon)) && t->order < loop->soon_round) {
		TAILQ_REMOVE(&loop->soon, t, turn);
		t->deadline_ms = 0;
		fire(loop, t);
	}
	if (!TAILQ_EMPTY(&loop->soon))
		soon_set(loop);
}

void loop_timer_arm_soon(struct loop_timer *timer)
{
	struct loop *loop = timer->loop;

	assert(loop && timer->fn);
	if (timer->deadline_ms == NEXT_TURN)
		return;
	loop_timer_disarm(timer);
	if (TAILQ_EMPTY(&loop->soon))
		soon_set(loop);
	timer->deadline_ms = NEXT_TURN;
	timer->order = loop->soon_round;
	TAILQ_INSERT_TAIL(&loop->soon, timer, turn);
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
		timer_heap_remove(&loop->timers, timer);
		timers_program(loop);
	} else {
		TAILQ_REMOVE(&loop->soon, timer, turn);
		if (TAILQ_EMPTY(&loop->soon))
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
	timer_heap_postpone(&loop->timers, by_ms, DEADLINE_MAX);
	timers_program(loop);
}

int loop_timers_open(struct loop *loop)
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

void loop_timers_close(struct loop *loop)
{
	close_fd(&loop->soon_fd);
	close_fd(&loop->timer_fd);
}
