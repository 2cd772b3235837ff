/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Streams of an agent session: what comes on them, and their end. They are opened
 * in agent_request.c, agent_flow.c sends.
 *
 * Credit is what bounds memory: the guest may have a window of bytes per channel
 * on the way to an owner, and an owner may have a window of bytes on the way to
 * the guest. A guest that sends over its credit, or gives us more than a window,
 * loses the stream.
 *
 * Trust: frames are guest data; the checks are in agent_stream_frame() and
 * below. A stream ends exactly once, and is never touched after a callback.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmd/guest/agent_internal.h"

static struct agent_stream *find(const struct agent_session *s, uint32_t id)
{
	struct agent_stream *st = s->streams[id % STREAM_BUCKETS];

	while (st && st->id != id)
		st = st->next;
	return st;
}

static void take_out(struct agent_stream *st)
{
	struct agent_session *s = st->session;
	struct agent_stream **at = &s->streams[st->id % STREAM_BUCKETS];

	while (*at != st)
		at = &(*at)->next;
	*at = st->next;
	s->count[st->class]--;
	s->grown -= st->grown;
	agent_flow_forget(st);
}

void agent_stream_discard(struct agent_stream *st)
{
	take_out(st);
	free(st);
}

/* Takes st out of the session, tells its owner, frees it. */
static void end_stream(struct agent_stream *st, uint32_t status,
		       uint32_t signal, const struct err *e)
{
	take_out(st);
	if (!st->closing) {
		st->closing = true;
		st->ops->done(st->ctx, status, signal, e);
	}
	buf_done(&st->pieces);
	free(st);
}

void agent_stream_break(struct agent_stream *st, const char *what)
{
	struct err e = ERR_INIT;

	(void)err_set(&e, ERR_PROTOCOL, "agent_protocol", 0,
		      "the guest's agent broke its protocol on this stream: "
		      "%s",
		      what);
	agent_send(st->session, WIRE_CLOSE, 0, st->id, NULL, 0);
	end_stream(st, 0, 0, &e);
}

void agent_stream_end_all(struct agent_session *s, const struct err *e)
{
	for (size_t i = 0; i < STREAM_BUCKETS; i++) {
		while (s->streams[i])
			end_stream(s->streams[i], 0, 0, e);
	}
}

static enum err_kind kind_of_result(uint32_t sys, const char *code)
{
	static const struct {
		const char *code;
		enum err_kind kind;
	} known[] = {
		{ WIRE_CODE_NOT_FOUND, ERR_NOT_FOUND },
		{ WIRE_CODE_NOT_EXEC, ERR_PERMISSION },
		{ WIRE_CODE_BAD_REQUEST, ERR_INVALID },
		{ WIRE_CODE_BAD_ARCHIVE, ERR_INVALID },
		{ WIRE_CODE_SPECIAL, ERR_CONFLICT },
		{ WIRE_CODE_BUSY, ERR_LIMIT },
		{ WIRE_CODE_NO_USER, ERR_NOT_FOUND },
		{ WIRE_CODE_REFUSED, ERR_UNAVAILABLE },
		{ WIRE_CODE_RESET, ERR_UNAVAILABLE },
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (!strcmp(code, known[i].code))
			return known[i].kind;
	}
	switch (sys) {
	case ENOENT:
		return ERR_NOT_FOUND;
	case EACCES:
	case EPERM:
	case EROFS:
		return ERR_PERMISSION;
	case ENOSPC:
	case EDQUOT:
		return ERR_NO_SPACE;
	case EEXIST:
	case ENOTDIR:
	case EISDIR:
		return ERR_CONFLICT;
	case EINVAL:
	case ENAMETOOLONG:
		return ERR_INVALID;
	default:
		return ERR_INTERNAL;
	}
}

static bool code_ok(const char *code)
{
	return code[0] && strspn(code, "abcdefghijklmnopqrstuvwxyz"
				       "0123456789_") == strlen(code);
}

static void take_result(struct agent_stream *st, const uint8_t *payload,
			size_t len)
{
	struct wire_str raw_code, raw_msg;
	char code[48], msg[512];
	struct err e = ERR_INIT;
	uint32_t sys;

	if (!wire_decode_result(payload, len, &sys, &raw_code, &raw_msg)) {
		agent_stream_break(st, "malformed RESULT");
		return;
	}
	if (sys == 0) {
		if (st->kind == STREAM_EXEC && !st->detached && !st->closing)
			agent_stream_break(st, "RESULT without an exit status");
		else {
			agent_copy_text(st->left_out, sizeof(st->left_out),
					raw_msg);
			end_stream(st, 0, 0, NULL);
		}
		return;
	}
	agent_copy_text(code, sizeof(code), raw_code);
	agent_copy_text(msg, sizeof(msg), raw_msg);
	if (!code_ok(code))
		(void)strcpy(code, "agent_error");
	(void)err_set(&e, kind_of_result(sys, code), code,
		      sys < 4096 ? (int)sys : EIO, "guest: %s", msg);
	end_stream(st, 0, 0, &e);
}

/* Up to two u32 of a small payload; false: wrong length. */
static bool read_u32s(const uint8_t *payload, size_t len, uint32_t *ret,
		      size_t count)
{
	struct wire_cursor c = wire_reader(payload, len);

	for (size_t i = 0; i < count; i++)
		ret[i] = wire_read_u32(&c);
	return wire_cursor_done(&c);
}

static void take_exit(struct agent_stream *st, const uint8_t *payload,
		      size_t len)
{
	uint32_t v[2];

	if (st->kind != STREAM_EXEC || (!st->started && !st->closing) ||
	    !read_u32s(payload, len, v, 2) || v[0] > 255 ||
	    v[1] > GUEST_SIGNAL_MAX)
		agent_stream_break(st, "wrong EXIT");
	else
		end_stream(st, v[0], v[1], NULL);
}

static void take_started(struct agent_stream *st, const uint8_t *payload,
			 size_t len)
{
	uint32_t pid;

	if (st->kind != STREAM_EXEC || st->started ||
	    !read_u32s(payload, len, &pid, 1)) {
		agent_stream_break(st, "wrong STARTED");
		return;
	}
	st->started = true;
	if (st->ops->started && !st->closing)
		st->ops->started(st->ctx, pid);
}

static void take_connected(struct agent_stream *st, size_t len)
{
	if (st->kind != STREAM_DIAL || st->started || len) {
		agent_stream_break(st, "wrong CONNECTED");
		return;
	}
	st->started = true;
	if (st->ops->started && !st->closing)
		st->ops->started(st->ctx, 0);
}

static bool receives(const struct agent_stream *st, uint8_t channel)
{
	if (st->kind == STREAM_EXEC)
		return channel == WIRE_OUT || channel == WIRE_ERR;
	return (st->kind == STREAM_PULL || st->kind == STREAM_DIAL) &&
	       channel == WIRE_OUT;
}

static void take_data(struct agent_stream *st, uint8_t channel,
		      const uint8_t *payload, size_t len)
{
	size_t i = channel - 1u;

	if (st->closing)
		return;
	if (!receives(st, channel) || st->out_eof[i]) {
		agent_stream_break(st, "DATA on a channel that is not open");
		return;
	}
	if (len > st->out_credit[i]) {
		agent_stream_break(st, "more DATA than the credit allows");
		return;
	}
	if (!len)
		return;
	st->out_credit[i] -= (uint32_t)len;
	st->unconsumed[i] += (uint32_t)len;
	if (st->datagrams)
		(void)agent_flow_datagrams(st, payload, len);
	else
		st->ops->data(st->ctx, (enum wire_channel)channel, payload,
			      len);
}

static void take_eof(struct agent_stream *st, uint8_t channel, size_t len)
{
	if (st->closing)
		return;
	if (len || !receives(st, channel) || st->datagrams ||
	    st->out_eof[channel - 1]) {
		agent_stream_break(st, "wrong EOF");
		return;
	}
	st->out_eof[channel - 1] = true;
	if (st->ops->eof)
		st->ops->eof(st->ctx, (enum wire_channel)channel);
}

static void take_window(struct agent_stream *st, uint8_t channel,
			const uint8_t *payload, size_t len)
{
	uint32_t add;

	if (st->closing)
		return;
	/* After our EOF the credit of the last bytes still comes back. */
	if (channel != WIRE_IN || !read_u32s(payload, len, &add, 1) ||
	    (st->kind != STREAM_EXEC && st->kind != STREAM_PUSH &&
	     st->kind != STREAM_DIAL) ||
	    add > st->window - st->in_credit) {
		agent_stream_break(st, "wrong WINDOW");
		return;
	}
	st->in_credit += add;
	agent_flow_queue(st);
}

const char *agent_stream_left_out(const struct agent_stream *st)
{
	return st->left_out;
}

bool agent_stream_frame(struct agent_session *s, const struct wire_header *h,
			const uint8_t *payload, struct err *e)
{
	struct agent_stream *st = find(s, h->stream);

	if (!h->stream || h->stream >= s->next_id) {
		(void)err_set(e, ERR_PROTOCOL, "agent_protocol", 0,
			      "the guest's agent broke its protocol: frame "
			      "%u for stream %u, which was never opened",
			      h->type, h->stream);
		return false;
	}
	switch (h->type) {
	case WIRE_STARTED:
		if (st)
			take_started(st, payload, h->length);
		return true;
	case WIRE_CONNECTED:
		if (st)
			take_connected(st, h->length);
		return true;
	case WIRE_EXIT:
		if (st)
			take_exit(st, payload, h->length);
		return true;
	case WIRE_RESULT:
		if (st)
			take_result(st, payload, h->length);
		return true;
	case WIRE_DATA:
		if (st)
			take_data(st, h->channel, payload, h->length);
		return true;
	case WIRE_EOF:
		if (st)
			take_eof(st, h->channel, h->length);
		return true;
	case WIRE_WINDOW_ADD:
		if (st)
			take_window(st, h->channel, payload, h->length);
		return true;
	default:
		(void)err_set(e, ERR_PROTOCOL, "agent_protocol", 0,
			      "the guest's agent broke its protocol: unknown "
			      "frame type %u",
			      h->type);
		return false;
	}
}
