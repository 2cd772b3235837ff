/* SPDX-License-Identifier: Apache-2.0 */
/* What loop.c and loop_timers.c share; nobody else includes it. */
#ifndef BASE_LOOP_PRIVATE_H
#define BASE_LOOP_PRIVATE_H

#include <sys/queue.h>

#include "base/loop.h"
#include "base/timer_heap.h"

enum {
	LOOP_BATCH = 32
};

struct loop {
	int epoll_fd;
	bool stopped;
	bool in_turn;
	int status;
	struct epoll_event batch[LOOP_BATCH];
	int batch_len;
	TAILQ_HEAD(, loop_end) ends; /* of this turn */
	struct timer_heap timers;
	uint64_t armed_ms; /* what timer_fd is set to; 0: nothing */
	int timer_fd;
	struct loop_source timer_source;
	TAILQ_HEAD(, loop_timer) soon; /* for the next turn */
	uint64_t soon_round; /* of firing them */
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

/* 0 or -errno; close also after a failure. */
int loop_timers_open(struct loop *loop);
void loop_timers_close(struct loop *loop);

#endif
