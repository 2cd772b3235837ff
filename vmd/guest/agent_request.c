/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening streams: one request frame each, refused here when the session is not
 * ready, has too many of them or has stopped reading.
 */
#include <errno.h>
#include <stdlib.h>

#include "vmd/guest/agent_internal.h"

/* How many of its class may be open when one more of this kind is wanted. */
static unsigned int most(enum stream_kind kind)
{
	if (kind == STREAM_DIAL)
		return WIRE_DIALS_MAX;
	return kind == STREAM_PLAIN ? WIRE_STREAMS_MAX
				    : WIRE_STREAMS_MAX - STREAMS_RESERVED;
}

/* A stream whose request is not sent yet. */
static struct agent_stream *new_stream(struct agent_session *s,
				       enum stream_kind kind,
				       const struct agent_stream_ops *ops,
				       void *ctx, struct err *e)
{
	enum stream_class class =
		kind == STREAM_DIAL ? CLASS_DIAL : CLASS_REQUEST;
	struct agent_stream *st;

	if (!agent_session_ready(s)) {
		(void)err_set(e, ERR_UNAVAILABLE, "guest_not_ready", 0,
			      "the guest's agent is not connected");
		return NULL;
	}
	if (s->count[class] >= most(kind) || s->next_id == UINT32_MAX) {
		(void)err_set(e, ERR_LIMIT, WIRE_CODE_BUSY, 0,
			      "the VM has %u %s open: wait for one to end",
			      most(kind),
			      class == CLASS_DIAL ? "connections"
						  : "commands and transfers");
		return NULL;
	}
	if (buf_len(&s->out) >= OUT_OPEN_BYTES) {
		(void)err_set(e, ERR_UNAVAILABLE, "agent_not_reading", 0,
			      "the guest's agent does not take requests now: "
			      "try again");
		return NULL;
	}
	st = calloc(1, sizeof(*st));
	if (!st) {
		(void)err_sys(e, ENOMEM, "agent stream");
		return NULL;
	}
	st->session = s;
	st->id = s->next_id++;
	st->kind = kind;
	st->class = class;
	st->ops = ops;
	st->ctx = ctx;
	st->window = st->out_window = st->in_credit = WIRE_WINDOW;
	st->out_credit[0] = st->out_credit[1] = WIRE_WINDOW;
	st->takes_in = kind == STREAM_PUSH;
	st->next = s->streams[st->id % STREAM_BUCKETS];
	s->streams[st->id % STREAM_BUCKETS] = st;
	s->count[class]++;
	return st;
}

/* The first frame of a stream is its request, in payload (may be scratch). */
static struct agent_stream *
open_stream(struct agent_session *s, enum stream_kind kind, enum wire_type type,
	    const uint8_t *payload, size_t len,
	    const struct agent_stream_ops *ops, void *ctx, struct err *e)
{
	struct agent_stream *st = new_stream(s, kind, ops, ctx, e);

	if (!st)
		return NULL;
	agent_send(s, type, 0, st->id, payload, len);
	agent_flush(s);
	return st;
}

static int check_exec(const struct agent_session *s, size_t len, struct err *e)
{
	if (len > WIRE_EXEC_MAX)
		return err_set(e, ERR_INVALID, "argument_list_too_long", E2BIG,
			       "the command and its environment have over %d "
			       "bytes",
			       WIRE_ARGS_BYTES_MAX);
	if (len > WIRE_PAYLOAD_MAX && agent_session_ready(s) && s->version < 2)
		return err_set(
			e, ERR_UNSUPPORTED, "agent_version", 0,
			"the guest's agent is of an older version and "
			"takes commands of at most %d bytes: rebuild the "
			"image",
			WIRE_PAYLOAD_MAX);
	return 0;
}

struct agent_stream *agent_session_exec(struct agent_session *s,
					const struct wire_exec *request,
					const struct agent_stream_ops *ops,
					void *ctx, struct err *e)
{
	size_t len = wire_exec_len(request);
	struct agent_stream *st;

	if (check_exec(s, len, e) < 0)
		return NULL;
	st = new_stream(s, STREAM_EXEC, ops, ctx, e);
	if (!st)
		return NULL;
	st->request = malloc(len);
	if (!st->request) {
		(void)err_sys(e, ENOMEM, "command of %zu bytes", len);
		agent_stream_discard(st);
		return NULL;
	}
	st->request_len = wire_encode_exec(request, st->request, len);
	st->detached = request->flags & WIRE_EXEC_DETACHED;
	st->takes_in = request->flags & WIRE_EXEC_STDIN;
	agent_flow_request(st);
	agent_flush(s);
	return st;
}

static struct agent_stream *
open_path(struct agent_session *s, enum stream_kind kind, enum wire_type type,
	  const char *path, uint8_t flags, const struct agent_stream_ops *ops,
	  void *ctx, struct err *e)
{
	struct wire_cursor c = wire_writer(s->scratch, sizeof(s->scratch));

	wire_write_str(&c, wire_str(path));
	if (flags)
		wire_write_u8(&c, flags);
	if (!wire_cursor_ok(&c)) {
		(void)err_set(e, ERR_INVALID, "request_too_large", 0,
			      "the path is over %d bytes", WIRE_PAYLOAD_MAX);
		return NULL;
	}
	return open_stream(s, kind, type, s->scratch,
			   (size_t)(c.at - s->scratch), ops, ctx, e);
}

struct agent_stream *agent_session_push(struct agent_session *s,
					const char *path, uint8_t flags,
					const struct agent_stream_ops *ops,
					void *ctx, struct err *e)
{
	if (flags && agent_session_ready(s) && s->version < 2) {
		(void)err_set(e, ERR_UNSUPPORTED, "agent_version", 0,
			      "the guest's agent is of an older version and "
			      "does not know this way of copying: rebuild the "
			      "image");
		return NULL;
	}
	return open_path(s, STREAM_PUSH, WIRE_PUSH, path, flags, ops, ctx, e);
}

struct agent_stream *agent_session_pull(struct agent_session *s,
					const char *path,
					const struct agent_stream_ops *ops,
					void *ctx, struct err *e)
{
	return open_path(s, STREAM_PULL, WIRE_PULL, path, 0, ops, ctx, e);
}

struct agent_stream *agent_session_dial(struct agent_session *s,
					enum wire_protocol protocol,
					uint16_t port,
					const struct agent_stream_ops *ops,
					void *ctx, struct err *e)
{
	struct wire_dial request = { .protocol = (uint8_t)protocol,
				     .port = port };
	struct agent_stream *st =
		open_stream(s, STREAM_DIAL, WIRE_DIAL, s->scratch,
			    wire_encode_dial(&request, s->scratch), ops, ctx,
			    e);

	if (!st)
		return NULL;
	st->datagrams = protocol == WIRE_UDP;
	st->pieces.limit = WIRE_DIAL_UDP_WINDOW;
	st->in_credit = wire_dial_window(request.protocol);
	st->window = st->out_window = st->out_credit[0] = st->in_credit;
	if (s->version >= 3 && !st->datagrams)
		st->window = WIRE_WINDOW;
	st->out_credit[1] = 0;
	st->takes_in = true;
	return st;
}

struct agent_stream *agent_session_shutdown(struct agent_session *s,
					    enum wire_shutdown how,
					    const struct agent_stream_ops *ops,
					    void *ctx, struct err *e)
{
	uint8_t payload = (uint8_t)how;

	return open_stream(s, STREAM_PLAIN, WIRE_SHUTDOWN, &payload, 1, ops,
			   ctx, e);
}

struct agent_stream *agent_session_set_time(struct agent_session *s,
					    int64_t wall_ns,
					    const struct agent_stream_ops *ops,
					    void *ctx, struct err *e)
{
	uint8_t payload[8];
	struct wire_cursor c = wire_writer(payload, sizeof(payload));

	wire_write_u64(&c, (uint64_t)wall_ns);
	return open_stream(s, STREAM_PLAIN, WIRE_TIME, payload, sizeof(payload),
			   ops, ctx, e);
}
