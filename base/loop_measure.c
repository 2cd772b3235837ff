/* SPDX-License-Identifier: Apache-2.0 */
/* See loop_measure.h. */
#include "base/loop_measure.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
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

/* The meter of this thread's loop when it is exact. */
static __thread struct loop_meter *exact;

/* Time on the run queue: the second number of the scheduler's account. */
static uint64_t read_queued_ns(int fd)
{
	char text[96], *at;
	ssize_t n;

	if (fd < 0)
		return 0;
	n = pread(fd, text, sizeof(text) - 1, 0);
	text[n > 0 ? n : 0] = '\0';
	at = strchr(text, ' ');
	return at ? strtoull(at + 1, NULL, 10) : 0;
}

static uint64_t queued_ns(const struct loop_meter *m)
{
	return read_queued_ns(m->schedstat_fd);
}

static uint64_t less(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

/* What the process's other threads queued for, all together: who sleeps for a lock
 * of one of them waits for a processor, too. */
static uint64_t others_queued_ns(const struct loop_meter *m)
{
	struct dirent *entry;
	uint64_t sum = 0;

	if (!m->threads)
		return 0;
	rewinddir(m->threads);
	while ((entry = readdir(m->threads))) {
		char path[300];
		AUTO(fd) int fd = -1;

		if (entry->d_name[0] == '.' ||
		    strtol(entry->d_name, NULL, 10) == m->tid)
			continue;
		(void)snprintf(path, sizeof(path), "%s/schedstat",
			       entry->d_name);
		fd = openat(dirfd(m->threads), path, O_RDONLY | O_CLOEXEC);
		sum += read_queued_ns(fd);
	}
	return sum;
}

static void forget(struct loop_meter *m)
{
	close_fd(&m->schedstat_fd);
	if (m->threads)
		(void)closedir(m->threads);
	m->threads = NULL;
	if (exact == m)
		exact = NULL;
}

void loop_meter_init(struct loop_meter *m)
{
	*m = (struct loop_meter){ .schedstat_fd = -1 };
}

void loop_meter_start(struct loop_meter *m, bool exactly)
{
	forget(m);
	m->tid = gettid();
	if (exactly) {
		m->schedstat_fd = open("/proc/thread-self/schedstat",
				       O_RDONLY | O_CLOEXEC);
		m->threads = opendir("/proc/self/task");
	}
	exact = m->schedstat_fd >= 0 ? m : NULL;
	m->on = true;
}

void loop_meter_done(struct loop_meter *m)
{
	forget(m);
}

void loop_meter_turn_begin(struct loop_meter *m)
{
	if (!m->on)
		return;
	m->turns++;
	m->longest_ns = 0;
	m->longest = NULL;
	m->child_queued_ns = 0;
	m->others_queued_ns = others_queued_ns(m);
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
	uint64_t wall, cpu, queued, slept, others, own;

	if (!m->on)
		return;
	wall = now_ns(CLOCK_MONOTONIC) - m->turn_ns;
	if (wall < SLOW_NS || !m->longest)
		return;
	cpu = now_ns(CLOCK_THREAD_CPUTIME_ID) - m->cpu_ns;
	queued = queued_ns(m) - m->queued_ns;
	slept = less(wall, cpu + queued + m->child_queued_ns);
	others = less(others_queued_ns(m), m->others_queued_ns);
	slept = less(slept, others);
	own = cpu + slept;
	if (own < SLOW_NS ||
	    own / 1000 <= m->worst.cpu_us + m->worst.blocked_us)
		return;
	m->worst = (struct loop_slow){
		.source = m->longest,
		.wall_us = wall / 1000,
		.cpu_us = cpu / 1000,
		.blocked_us = slept / 1000,
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

struct loop_child_wait loop_child_wait_begin(void)
{
	if (!exact)
		return (struct loop_child_wait){ 0 };
	return (struct loop_child_wait){
		.begin_ns = now_ns(CLOCK_MONOTONIC),
		.queued_ns = queued_ns(exact),
	};
}

void loop_child_wait_end(struct loop_child_wait wait, pid_t pid)
{
	char path[64];
	AUTO(fd) int fd = -1;
	uint64_t slept, queued;

	if (!exact || !wait.begin_ns)
		return;
	slept = less(now_ns(CLOCK_MONOTONIC) - wait.begin_ns,
		     queued_ns(exact) - wait.queued_ns);
	(void)snprintf(path, sizeof(path), "/proc/%d/schedstat", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	queued = read_queued_ns(fd);
	exact->child_queued_ns += queued < slept ? queued : slept;
}
