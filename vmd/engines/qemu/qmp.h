/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client of the QEMU machine protocol: one connection, commands with a
 * deadline each, events as they come.
 *
 * The peer is a QEMU that a guest may have taken over, so lines, depth and
 * the number of open commands are bounded, and a reply nobody asked for ends
 * the connection. A peer that misses one deadline counts as hung.
 *
 * Loop thread only. Callbacks may free the client.
 * Source: docs/interop/qmp-spec of QEMU.
 */
#ifndef VMD_QMP_H
#define VMD_QMP_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/loop.h"

struct qmp;

enum {
	QMP_LINE_MAX = 1024 * 1024,
	QMP_COMMANDS_MAX = 16
};

struct qmp_ops {
	/* Greeting seen and capabilities agreed: commands may be sent. */
	void (*ready)(void *ctx);
	/* data may be NULL. Both are valid during the call only. */
	void (*event)(void *ctx, const char *name, const json_t *data);
	/* The connection ended, timed out or broke the protocol; nothing
	 * follows, replies that are still owed included. */
	void (*closed)(void *ctx, const struct err *e);
};

/* ret is the "return" member, NULL when e says why the command failed. */
typedef void qmp_reply_fn(void *ctx, const json_t *ret, const struct err *e);

/* Takes fd (non-blocking, connected). timeout_ms is for the greeting and for
 * each command. NULL and *e: no memory, fd closed. */
struct qmp *qmp_new(struct loop *loop, int fd, uint64_t timeout_ms,
		    const struct qmp_ops *ops, void *ctx, struct err *e);
void qmp_free(struct qmp *q);

/*
 * Sends a command; args (stolen) may be NULL, fn may be NULL. 0, or a negative
 * errno when the connection is gone or too many commands are open.
 */
int qmp_execute(struct qmp *q, const char *command, json_t *args,
		qmp_reply_fn *fn, struct err *e);

/* Handles what the peer has sent up to now (before judging its death). */
void qmp_drain(struct qmp *q);

#endif
