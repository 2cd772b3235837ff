/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection between our standard streams and a guest: a command (exec, run)
 * or the console. One thread, one poll() over socket, streams and signals;
 * nothing is read from the socket while our output cannot be written.
 */
#ifndef VMCTL_SESSION_H
#define VMCTL_SESSION_H

#include <jansson.h>
#include <stdbool.h>

#include "base/err.h"
#include "vmctl/ctx.h"

struct session_spec {
	const char *path; /* of the WebSocket, percent-encoded */
	const json_t *request; /* first message; NULL: the console */
	bool input; /* forward standard input */
	bool tty; /* raw mode while the command runs */
};

struct session_end {
	int status; /* exit status for our caller */
	bool by_user; /* a second Ctrl-C, a signal: not the command's end */
};

/* Blocks SIGINT, SIGTERM, SIGHUP and SIGWINCH from here on, so that none is lost
 * between the making of a VM and the session. */
void session_signals_block(void);
/* One that ends us is waiting. For api_client_set_interrupt(). */
bool session_signal_waits(void *unused);

/* Runs until the command ends. 0 and *ret, or negative with *e set. */
int session_run(struct ctx *ctx, const struct session_spec *spec,
		struct session_end *ret, struct err *e);

#endif
