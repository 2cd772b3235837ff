/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The daemon's end of the agent protocol (agent/wire.h): one session per
 * connection, many streams. Everything received is hostile guest data: bounded,
 * checked, and never more than one window buffered per stream direction.
 *
 * Loop thread only. Callbacks may close the stream or free the session.
 */
#ifndef VMD_AGENT_SESSION_H
#define VMD_AGENT_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent/wire.h"
#include "base/err.h"
#include "base/loop.h"

struct agent_session;
struct agent_stream;

struct agent_info {
	char release[65]; /* guest kernel release, printable ASCII only */
	char agent[65];
	uint64_t boot_ns;
};

struct agent_session_ops {
	void (*ready)(void *ctx, const struct agent_info *info);
	/* A detached command's state (tag as given to agent_session_exec). */
	void (*detached)(void *ctx, uint32_t tag, bool running, uint32_t status,
			 uint32_t signal);
	/* The connection ended or broke its protocol; every stream has already got
	 * its `done` with this error. Free the session from here or later. */
	void (*lost)(void *ctx, const struct err *e);
};

struct agent_stream_ops {
	/* An EXEC has a process; a DIAL is connected (guest_pid is 0). */
	void (*started)(void *ctx, uint32_t guest_pid);
	/* Output. Call agent_stream_consumed() when the bytes have moved on: that
	 * is the flow control. channel is WIRE_OUT or WIRE_ERR. A DIAL of UDP: one
	 * call for each datagram, len may be 0. */
	void (*data)(void *ctx, enum wire_channel channel, const void *data,
		     size_t len);
	void (*eof)(void *ctx, enum wire_channel channel);
	/* agent_stream_write() takes bytes again. */
	void (*writable)(void *ctx);
	/* The end, exactly once; the stream is freed after it returns. e is NULL on
	 * success: then status and signal are those of an EXEC (else 0). */
	void (*done)(void *ctx, uint32_t status, uint32_t signal,
		     const struct err *e);
};

/* Takes fd (non-blocking stream). Sends SYNC and HELLO at once. */
struct agent_session *agent_session_new(struct loop *loop, int fd,
					const struct agent_session_ops *ops,
					void *ctx, struct err *e);
/* Ends all streams with `done`, closes the fd. */
void agent_session_free(struct agent_session *s);
bool agent_session_ready(const struct agent_session *s);

/* Opens a stream; NULL and *e when refused (not ready, too many, too long). */
struct agent_stream *agent_session_exec(struct agent_session *s,
					const struct wire_exec *request,
					const struct agent_stream_ops *ops,
					void *ctx, struct err *e);
/* flags: enum wire_push_flags. */
struct agent_stream *agent_session_push(struct agent_session *s,
					const char *path, uint8_t flags,
					const struct agent_stream_ops *ops,
					void *ctx, struct err *e);
struct agent_stream *agent_session_pull(struct agent_session *s,
					const char *path,
					const struct agent_stream_ops *ops,
					void *ctx, struct err *e);
/* A connection to a port of the guest. */
struct agent_stream *agent_session_dial(struct agent_session *s,
					enum wire_protocol protocol,
					uint16_t port,
					const struct agent_stream_ops *ops,
					void *ctx, struct err *e);
struct agent_stream *agent_session_shutdown(struct agent_session *s,
					    enum wire_shutdown how,
					    const struct agent_stream_ops *ops,
					    void *ctx, struct err *e);
struct agent_stream *agent_session_set_time(struct agent_session *s,
					    int64_t wall_ns,
					    const struct agent_stream_ops *ops,
					    void *ctx, struct err *e);
void agent_session_reap(struct agent_session *s, uint32_t tag);

/* In `done` of a push or pull without an error: what the guest left out, as
 * printable ASCII, or "". */
const char *agent_stream_left_out(const struct agent_stream *st);

/* Bytes taken for WIRE_IN: limited by credit; 0 means wait for writable. */
size_t agent_stream_write(struct agent_stream *st, const void *data,
			  size_t len);
/* How much agent_stream_write() would take now; 0: writable() will come. */
size_t agent_stream_room(struct agent_stream *st);
/* A DIAL of UDP. false: there is no room now, the datagram is lost. */
bool agent_stream_write_datagram(struct agent_stream *st, const void *data,
				 size_t len);
void agent_stream_write_eof(struct agent_stream *st);
void agent_stream_consumed(struct agent_stream *st, enum wire_channel channel,
			   size_t len);
void agent_stream_resize(struct agent_stream *st, uint16_t rows,
			 uint16_t columns);
void agent_stream_signal(struct agent_stream *st, uint32_t signal);
/* We lost interest: no further callback, the agent ends it. */
void agent_stream_close(struct agent_stream *st);

#endif
