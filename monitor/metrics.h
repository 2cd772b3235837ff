/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The metrics file: one line of JSON every minute and one at the end, with
 * "utc_timestamp_ms" and the numbers of stats.h, which count from the start.
 *
 * Lock: the machine lock, but for _new and _free. System calls after creation:
 * write, timerfd_settime.
 */
#ifndef MONITOR_METRICS_H
#define MONITOR_METRICS_H

#include "base/err.h"
#include "monitor/machine/machine.h"

struct metrics;

/* Loop thread. Code config_invalid when path cannot be written to. m must
 * outlive it. */
int metrics_new(struct machine *m, const char *path, struct metrics **ret,
		struct err *e);
/* Writes the last line. NULL is fine. */
void metrics_free(struct metrics *metrics);

#endif
