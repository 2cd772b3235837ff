/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The daemon's connection to a guest's serial port: a unix socket in the run
 * directory on which the engine's process listens. The process itself keeps
 * console.log, so that nothing is lost while no daemon runs.
 *
 * Output is guest data, passed on as it is. Loop thread only; the link may be
 * closed from its callback, its owner must then stay valid until it returns.
 */
#ifndef VMD_CONSOLE_LINK_H
#define VMD_CONSOLE_LINK_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/loop.h"

enum {
	CONSOLE_LOG_STEP = 256 * 1024, /* look at the log after this much */
	CONSOLE_LOG_KEEP = 1024 * 1024, /* of its end stays on the disk */
};

typedef void console_data_fn(void *ctx, const void *data, size_t len);

struct console_link {
	struct loop *loop;
	struct loop_source source;
	struct loop_timer retry;
	int dirfd; /* borrowed */
	int fd;
	int log_fd; /* -1: the other side bounds the log */
	uint64_t since_punch;
	unsigned int tries;
	console_data_fn *fn;
	void *ctx;
};

/* Closed and empty; needed before anything else. */
void console_link_init(struct console_link *c);
/*
 * Connects to serial.sock in dirfd, and again whenever that fails or breaks.
 * With bound_log the head of console.log is freed (holes) as it grows.
 */
void console_link_open(struct console_link *c, struct loop *loop, int dirfd,
		       bool bound_log, console_data_fn *fn, void *ctx);
/* Bytes taken, 0 when full or not connected. */
ssize_t console_link_write(struct console_link *c, const void *data,
			   size_t len);
/* Delivers what has arrived (the last words of a guest that is gone). */
void console_link_drain(struct console_link *c);
void console_link_close(struct console_link *c);

/* Frees all blocks of a log but the last CONSOLE_LOG_KEEP bytes. */
void console_log_punch(int log_fd);

#endif
