/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A listening socket in the loop. When a connection cannot be accepted (out of
 * descriptors or memory) it would stay readable and keep the loop spinning: the
 * listener then looks away for a moment, and whoever connects waits that long.
 */
#ifndef BASE_LISTENER_H
#define BASE_LISTENER_H

#include "base/loop.h"

enum {
	LISTENER_PAUSE_MS = 100
};

/* One connection: fd is owned by the receiver, non-blocking, close-on-exec. May
 * close the listener. */
typedef void listener_fn(void *ctx, int fd);

struct listener {
	int fd; /* owned; -1: closed */
	struct loop_source source;
	struct loop_timer again;
	bool paused;
	listener_fn *fn;
	void *ctx;
};

void listener_init(struct listener *l);
/* Takes fd, also on failure. 0 or -errno. l must not move from here on. */
int listener_open(struct listener *l, struct loop *loop, int fd,
		  listener_fn *fn, void *ctx);
/* Stops accepting; who connects waits in the kernel's queue. And goes on. */
void listener_pause(struct listener *l, bool paused);
/* Harmless on one that is not open. */
void listener_close(struct listener *l);

#endif
