/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The armed timers of a loop as a pairing heap: the soonest is at hand, arming
 * and disarming take O(log n), and nothing is allocated, so that arming cannot
 * fail. Timers with the same deadline come out in the order they went in.
 * For the loop only (loop_timers.c); its thread.
 */
#ifndef BASE_TIMER_HEAP_H
#define BASE_TIMER_HEAP_H

#include <stdint.h>

struct loop_timer;

struct timer_heap {
	struct loop_timer *root; /* the soonest; NULL: none */
	uint64_t count; /* inserted so far: tells equal deadlines apart */
};

/* deadline_ms is set; the timer is in no heap. The heap does not own it. */
void timer_heap_insert(struct timer_heap *heap, struct loop_timer *timer);
/* The timer is in this heap. */
void timer_heap_remove(struct timer_heap *heap, struct loop_timer *timer);
/* Adds by_ms to every deadline, at most to limit_ms. Takes O(n). */
void timer_heap_postpone(struct timer_heap *heap, uint64_t by_ms,
			 uint64_t limit_ms);

#endif
