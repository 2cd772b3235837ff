/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The event loop: one epoll instance per process, sources embedded in their
 * owners, one timerfd behind all timers, signals by signalfd, children by
 * pidfd. Everything here runs on the loop's thread; loop_wake() is the only
 * call another thread may make. Arming and disarming a timer takes O(log n).
 *
 * A source or timer may be removed (and its owner freed) from any callback,
 * its own included: events already fetched for it are dropped.
 */
#ifndef BASE_LOOP_H
#define BASE_LOOP_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/queue.h>

#include "base/err.h"
#include "base/loop_measure.h"

struct loop;
struct loop_source;
struct loop_timer;

/* events: EPOLLIN, EPOLLOUT, EPOLLHUP, EPOLLERR, EPOLLRDHUP as delivered. */
typedef void loop_io_fn(struct loop_source *source, uint32_t events);
typedef void loop_timer_fn(struct loop_timer *timer);
typedef void loop_signal_fn(const siginfo_t *info, void *data);

struct loop_source {
	int fd; /* not owned by the loop; -1 when not added */
	uint32_t events;
	loop_io_fn *fn;
	const char *name; /* of fn, for whoever looks for a slow one */
	void *data;
	struct loop *loop;
};

struct loop_timer {
	uint64_t deadline_ms; /* monotonic; 0 when not armed */
	loop_timer_fn *fn;
	const char *name;
	void *data;
	struct loop *loop;
	uint64_t order; /* among equals */
	union {
		struct {
			struct loop_timer *child, *next, *prev;
		}; /* in the heap */
		TAILQ_ENTRY(loop_timer) turn; /* for the next turn */
	};
};

/* What runs at the end of a turn; zeroed memory is one that does not wait. */
struct loop_end {
	void (*fn)(struct loop_end *end);
	const char *name;
	void *data;
	struct loop *loop; /* NULL when it does not wait */
	TAILQ_ENTRY(loop_end) link;
};

#define LOOP_SOURCE_INIT \
	{                \
		.fd = -1 \
	}

/* NULL when out of descriptors or memory. */
struct loop *loop_new(struct err *e);
void loop_free(struct loop *loop);

/* Runs until loop_stop(); returns the value given to it. */
int loop_run(struct loop *loop);
/* Runs callbacks that are due; waits at most timeout_ms (-1: no limit). */
int loop_run_once(struct loop *loop, int timeout_ms);
void loop_stop(struct loop *loop, int status);

/* A callback of loop_run_once() is running. */
bool loop_in_turn(const struct loop *loop);
/*
 * Within a turn (asserted): fn is called once, after the last callback of this
 * turn. One that waits already is put off to the end of those that wait.
 */
void loop_at_turn_end_named(struct loop_end *end, struct loop *loop,
			    void (*fn)(struct loop_end *end), void *data,
			    const char *name);
/* NOLINTNEXTLINE(readability-identifier-naming): a function to its users */
#define loop_at_turn_end(end, loop, fn, data) \
	loop_at_turn_end_named((end), (loop), (fn), (data), __FILE__ ":" #fn)
/* Harmless on one that does not wait. */
void loop_end_cancel(struct loop_end *end);
/*
 * Readable when a callback is due: lets an owner wait without its lock and
 * take the lock around loop_run_once(loop, 0). Still the loop's.
 */
int loop_fd(const struct loop *loop);

/* Level-triggered. Any memory will do for source, but one that is added (its
 * descriptor closed or not) is removed first: asserted. 0 or -errno. */
int loop_add_named(struct loop *loop, struct loop_source *source, int fd,
		   uint32_t events, loop_io_fn *fn, void *data,
		   const char *name);
/* NOLINTNEXTLINE(readability-identifier-naming): a function to its users */
#define loop_add(loop, source, fd, events, fn, data)                   \
	loop_add_named((loop), (source), (fd), (events), (fn), (data), \
		       __FILE__ ":" #fn)
int loop_modify(struct loop_source *source, uint32_t events);
/* Harmless on a source that is not added; does not close the fd. */
void loop_remove(struct loop_source *source);
bool loop_source_active(const struct loop_source *source);

/* Once, when its owner is made; fn may be NULL for one that is only ever begun by
 * loop_timer_start(). A timer that is armed must not be initialised: asserted. */
void loop_timer_init_named(struct loop *loop, struct loop_timer *timer,
			   loop_timer_fn *fn, void *data, const char *name);
/* NOLINTNEXTLINE(readability-identifier-naming): a function to its users */
#define loop_timer_init(loop, timer, fn, data) \
	loop_timer_init_named((loop), (timer), (fn), (data), __FILE__ ":" #fn)
/* Another callback from now on: disarms, then arms to fire once. */
void loop_timer_start_named(struct loop_timer *timer, loop_timer_fn *fn,
			    uint64_t after_ms, const char *name);
/* NOLINTNEXTLINE(readability-identifier-naming): a function to its users */
#define loop_timer_start(timer, fn, after_ms) \
	loop_timer_start_named((timer), (fn), (after_ms), __FILE__ ":" #fn)
/* Arms (or re-arms) to fire once, after_ms from now. */
void loop_timer_arm(struct loop_timer *timer, uint64_t after_ms);
/*
 * Arms to fire once in the next turn of the loop, without any delay: to go on
 * with work after others had their turn. What is armed while such timers fire
 * has to wait for the turn after.
 */
void loop_timer_arm_soon(struct loop_timer *timer);
void loop_timer_start_soon_named(struct loop_timer *timer, loop_timer_fn *fn,
				 const char *name);
/* NOLINTNEXTLINE(readability-identifier-naming): a function to its users */
#define loop_timer_start_soon(timer, fn) \
	loop_timer_start_soon_named((timer), (fn), __FILE__ ":" #fn)
void loop_timer_disarm(struct loop_timer *timer);
bool loop_timer_armed(const struct loop_timer *timer);
/*
 * Every armed timer of the loop fires by_ms later than it would: for a loop
 * that was not run for that long, whose timers count its own time.
 */
void loop_timers_postpone(struct loop *loop, uint64_t by_ms);

/* Blocks the signals of set in this thread and delivers them to fn. */
int loop_signals(struct loop *loop, const sigset_t *set, loop_signal_fn *fn,
		 void *data, struct err *e);

/* From any thread: makes loop_run() call fn(data) once on the loop's thread. */
int loop_set_wake(struct loop *loop, void (*fn)(void *data), void *data,
		  struct err *e);
void loop_wake(struct loop *loop);

#endif
