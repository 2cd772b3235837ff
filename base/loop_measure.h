/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long callbacks keep a loop from the others, for loops that are measured: at
 * the price of two looks at a clock per callback and one per turn. For turns that
 * are slow it is told apart what the thread computed, what it waited for (a disk, a
 * lock, a child), and what others had the processor meanwhile: only the first two
 * are the callbacks' fault. So it is with a child whose exec is awaited: what it
 * works and sleeps counts, what it waits for a processor does not.
 */
#ifndef BASE_LOOP_MEASURE_H
#define BASE_LOOP_MEASURE_H

#include <dirent.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct loop;

struct loop_slow {
	const char
		*source; /* "vmd/task.c:on_exit_event"; NULL: none was slow */
	uint64_t wall_us, cpu_us;
	/* Slept in the kernel; of a loop that is not exact what was not
	 * computed, with the time that others had the processor. */
	uint64_t blocked_us;
};

/*
 * From now on, from the loop's thread, which stays its thread. exactly: also reads
 * the scheduler's account before each turn (some microseconds), so that a thread
 * that was only not scheduled does not look blocked.
 */
void loop_measure(struct loop *loop, bool exactly);

/* The worst turn since the start or the last reset: its times, and in it the
 * source that took most. */
struct loop_slow loop_worst_turn(const struct loop *loop);
void loop_measure_reset(struct loop *loop);
uint64_t loop_turns(const struct loop *loop);

/* For loop.c. */
struct loop_meter {
	bool on;
	int schedstat_fd; /* -1: not exact */
	pid_t tid;
	DIR *threads; /* of the process; NULL: not exact */
	uint64_t turns;
	uint64_t turn_ns, cpu_ns, queued_ns; /* as the turn began */
	uint64_t child_queued_ns; /* of children it slept for, in this turn */
	uint64_t others_queued_ns; /* the other threads, as the turn began */
	uint64_t callback_ns; /* as the callback began */
	uint64_t longest_ns; /* of this turn's callbacks */
	const char *longest;
	struct loop_slow worst;
};

void loop_meter_init(struct loop_meter *m);
void loop_meter_start(struct loop_meter *m, bool exactly);
void loop_meter_done(struct loop_meter *m);
void loop_meter_turn_begin(struct loop_meter *m);
void loop_meter_callback_begin(struct loop_meter *m);
void loop_meter_callback_end(struct loop_meter *m, const char *source);
void loop_meter_turn_end(struct loop_meter *m);

/*
 * Around a sleep of the calling thread that ends when a child gets on, which was
 * started just before. pid: the child, not yet reaped. Free where the thread's loop
 * is not measured exactly; any thread.
 */
struct loop_child_wait {
	uint64_t begin_ns, queued_ns;
};
struct loop_child_wait loop_child_wait_begin(void);
void loop_child_wait_end(struct loop_child_wait wait, pid_t pid);

#endif
