/* SPDX-License-Identifier: Apache-2.0 */
/* See loop_measure.h. */
#include "base/loop_measure.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"

enum {
	SLOW_NS = 5 * 1000 * 1000
};

static uint64_t now_ns(clockid_t clock)
{
	struct timespec t = { 0 };

	(void)clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Time on the run queue: the second number of the scheduler's account. */
static uint64_t queued_ns(const struct loop_meter *m)
{
	char text[96], *at;
	ssize_t n;

	if (m->schedstat_fd < 0)
		return 0;
	n = pread(m->schedstat_fd, text, sizeof(text) - 1, 0);
	text[n > 0 ? n : 0] = '\0';
	at = strchr(text, ' ');
	return at ? strtoull(at + 1, NULL, 10) : 0;
}

void loop_meter_init(struct loop_meter *m)
{
	*m = (struct loop_meter){ .schedstat_fd = -1 };
}

void loop_meter_start(struct loop_meter *m, bool exactly)
{
	close_fd(&m->schedstat_fd);
	if (exactly)
		m->schedstat_fd = open("/proc/thread-self/schedstat",
				       O_RDONLY | O_CLOEXEC);
	m->on = true;
}

void loop_meter_done(struct loop_meter *m)
{
	close_fd(&m->schedstat_fd);
}

void loop_meter_turn_begin(struct loop_meter *m)
{
	if (!m->on)
		return;
	m->turns++;
	m->longest_ns = 0;
	m->longest = NULL;
	m->queued_ns = queued_ns(m);
	m->cpu_ns = now_ns(CLOCK_THREAD_CPUTIME_ID);
	m->turn_ns = m->callback_ns = now_ns(CLOCK_MONOTONIC);
}

void loop_meter_callback_begin(struct loop_meter *m)
{
	if (m->on)
		m->callback_ns = now_ns(CLOCK_MONOTONIC);
}

void loop_meter_callback_end(struct loop_meter *m, const char *source)
{
	uint64_t took;

	if (!m->on)
		return;
	took = now_ns(CLOCK_MONOTONIC) - m->callback_ns;
	if (took <= m->longest_ns)
		return;
	m->longest_ns = took;
	m->longest = source;
}

void loop_meter_turn_end(struct loop_meter *m)
{
	uint64_t wall, cpu, queued, own;

	if (!m->on)
		return;
	wall = now_ns(CLOCK_MONOTONIC) - m->turn_ns;
	if (wall < SLOW_NS || !m->longest)
		return;
	cpu = now_ns(CLOCK_THREAD_CPUTIME_ID) - m->cpu_ns;
	queued = queued_ns(m) - m->queued_ns;
	own = wall > queued ? wall - queued : 0;
	if (own < SLOW_NS ||
	    own / 1000 <= m->worst.cpu_us + m->worst.blocked_us)
		return;
	m->worst = (struct loop_slow){
		.source = m->longest,
		.wall_us = wall / 1000,
		.cpu_us = cpu / 1000,
		.blocked_us = own > cpu ? (own - cpu) / 1000 : 0,
	};
	while (strncmp(m->worst.source, "../", 3) == 0)
		m->worst.source += 3;
	log_debug(
		"the slowest turn of the loop so far: %llu ms (computed %llu, "
		"waited %llu), most of it in %s",
		(unsigned long long)m->worst.wall_us / 1000,
		(unsigned long long)m->worst.cpu_us / 1000,
		(unsigned long long)m->worst.blocked_us / 1000,
		m->worst.source);
}
