/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host side of a serial port or console: standard input and output, or a
 * listening unix socket with one client at a time (a new one replaces the old),
 * and a log file that all output is appended to.
 *
 * Output never blocks and never fails: without a taker it goes to the log only,
 * a slow client loses what does not fit into 64 KiB. Bytes are gathered for a
 * line or a few milliseconds, because each guest byte would be a system call.
 *
 * The log is bounded: every 256 KiB its head is given back to the file system
 * (a hole), so that at most 1 MiB of blocks stay. Its length keeps growing,
 * and offsets stay true. Where the file system knows no holes it starts anew
 * instead, for a guest must not fill the disk.
 *
 * Lock: the machine lock. System calls after creation: accept4, read, recv,
 * send, write, fallocate, ftruncate, poll, close, epoll_ctl, timerfd_settime.
 */
#ifndef MONITOR_BACKEND_H
#define MONITOR_BACKEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <termios.h>

#include "base/buf.h"
#include "base/listener.h"
#include "monitor/config/config.h"

enum {
	BACKEND_GATHER = 4096,
	BACKEND_CLIENT_MAX = 64 * 1024,
};

struct backend {
	struct loop *loop;
	/* Input for the guest: returns how many bytes were taken. */
	size_t (*input)(void *ctx, const uint8_t *data, size_t len);
	void *ctx;
	int in_fd, out_fd; /* the client or stdio; -1: nobody */
	bool is_socket;
	int log_fd;
	uint64_t log_len, log_punched;
	struct listener listener;
	struct loop_source in, out;
	struct loop_timer flush;
	uint8_t gather[BACKEND_GATHER];
	size_t gathered;
	uint8_t held[256]; /* input the guest had no room for */
	size_t held_len;
	bool input_off; /* not watched, because something is held */
	struct buf pending; /* for the client */
	bool raw_tty;
	struct termios saved_tty;
};

/* Code serial_failed when a socket or file cannot be opened. */
int backend_open(struct backend *b, const struct config_backend *config,
		 struct loop *loop,
		 size_t (*input)(void *ctx, const uint8_t *data, size_t len),
		 void *ctx, struct err *e);
void backend_close(struct backend *b);

void backend_output(struct backend *b, const void *data, size_t len);
/* Writes what was gathered; for the end of the process. */
void backend_flush(struct backend *b);
/* The guest has room for input again. */
void backend_input_ready(struct backend *b);

#endif
