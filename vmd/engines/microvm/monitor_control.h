/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Client of a vmd-monitor's control socket: one JSON object per line each way.
 * It connects as soon as the monitor listens, watches the status, and can ask for
 * a shutdown or to go on. Loop thread only.
 */
#ifndef VMD_MONITOR_CONTROL_H
#define VMD_MONITOR_CONTROL_H

#include <stddef.h>

#include "base/err.h"
#include "base/loop.h"

enum {
	MONITOR_LINE_MAX = 4096
};

/* state: "running", "paused", ... as the monitor says, with the reason why it
 * paused by itself, or NULL; it may close us. */
typedef void monitor_state_fn(void *ctx, const char *state, const char *reason);

struct monitor_control {
	struct loop *loop;
	struct loop_source source;
	struct loop_timer retry;
	int dirfd; /* borrowed */
	int fd;
	unsigned int tries;
	size_t used;
	char line[MONITOR_LINE_MAX];
	monitor_state_fn *fn;
	void *ctx;
};

void monitor_control_init(struct monitor_control *c);
void monitor_control_open(struct monitor_control *c, struct loop *loop,
			  int dirfd, monitor_state_fn *fn, void *ctx);
int monitor_control_shutdown(struct monitor_control *c, struct err *e);
/* Goes on after a pause; the status follows. */
void monitor_control_resume(struct monitor_control *c);
void monitor_control_close(struct monitor_control *c);

#endif
