/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Streams of an agent session: credit in both directions, the end. They are
 * opened in agent_request.c.
 *
 * Credit is what bounds memory: the guest may have WIRE_WINDOW bytes per
 * channel on the way to an owner, and an owner may have WIRE_WINDOW bytes on
 * the way to the guest. A guest that sends over its credit, or gives us more
 * than a window, loses the stream.
 *
 * Trust: frames are guest data; the checks are in agent_stream_frame() and
 * below. A stream ends exactly once, and is never touched after a callback.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmd/agent_internal.h"

static struct agent_stream *find(const struct agent_session *s, uint32_t id)
{
	for (size_t i = 0; i < WIRE_STREAMS_MAX; i++) {
		if (s->streams[i] && s->streams[i]->id == id)
			return s->streams[i];
	}
	return NULL;
}

/* Takes st out of the session, tells its owner, frees it. */
static void end_stream(struct agent_stream *st, uint32_t status,
		       uint32_t signal, const struct err *e)
{
	struct agent_session *s = st->session;

	for (size_t i = 0; i < WIRE_STREAMS_MAX; i++) {
		if (s->streams[i] == st)
			s->streams[i] = NULL;
	}
	if (!st->closing) {
		st->closing = true;
		st->ops->done(st->ctx, status, signal, e);
	}
	free(st);
}

/* The guest broke the rules of one stream; the others go on. */
static void break_stream(struct agent_stream *st, const char *what)
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
	for (size_t i = 0; i < WIRE_STREAMS_MAX; i++) {
		if (s->streams[i])
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
		{ WIRE_CODE_BUSY, ERR_LIMIT },
		{ WIRE_CODE_NO_USER, ERR_NOT_FOUND },
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
		break_stream(st, "malformed RESULT");
		return;
	}
	if (sys == 0) {
		if (st->kind == STREAM_EXEC && !st->detached && !st->closing)
			break_stream(st, "RESULT without an exit status");
		else
			end_stream(st, 0, 0, NULL);
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
		break_stream(st, "wrong EXIT");
	else
		end_stream(st, v[0], v[1], NULL);
}

static void take_started(struct agent_stream *st, const uint8_t *payload,
			 size_t len)
{
	uint32_t pid;

	if (st->kind != STREAM_EXEC || st->started ||
	    !read_u32s(payload, len, &pid, 1)) {
		break_stream(st, "wrong STARTED");
		return;
	}
	st->started = true;
	if (st->ops->started && !st->closing)
		st->ops->started(st->ctx, pid);
}

static bool receives(const struct agent_stream *st, uint8_t channel)
{
	if (st->kind == STREAM_EXEC)
		return channel == WIRE_OUT || channel == WIRE_ERR;
	return st->kind == STREAM_PULL && channel == WIRE_OUT;
}

static void take_data(struct agent_stream *st, uint8_t channel,
		      const uint8_t *payload, size_t len)
{
	size_t i = channel - 1u;

	if (st->closing)
		return;
	if (!receives(st, channel) || st->out_eof[i]) {
		break_stream(st, "DATA on a channel that is not open");
		return;
	}
	if (len > st->out_credit[i]) {
		break_stream(st, "more DATA than the credit allows");
		return;
	}
	if (!len)
		return;
	st->out_credit[i] -= (uint32_t)len;
	st->unconsumed[i] += (uint32_t)len;
	st->ops->data(st->ctx, (enum wire_channel)channel, payload, len);
}

static void take_eof(struct agent_stream *st, uint8_t channel, size_t len)
{
	if (st->closing)
		return;
	if (len || !receives(st, channel) || st->out_eof[channel - 1]) {
		break_stream(st, "wrong EOF");
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
	    (st->kind != STREAM_EXEC && st->kind != STREAM_PUSH) ||
	    add > WIRE_WINDOW - st->in_credit) {
		break_stream(st, "wrong WINDOW");
		return;
	}
	st->in_credit += add;
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

static void send_resize(struct agent_stream *st)
{
	uint8_t payload[4];
	struct wire_cursor c = wire_writer(payload, sizeof(payload));

	st->resize_pending = false;
	wire_write_u16(&c, st->rows);
	wire_write_u16(&c, st->columns);
	agent_send(st->session, WIRE_RESIZE, 0, st->id, payload,
		   sizeof(payload));
}

void agent_stream_room(struct agent_session *s)
{
	for (size_t i = 0; i < WIRE_STREAMS_MAX; i++) {
		struct agent_stream *st = s->streams[i];

		if (s->dead || buf_len(&s->out) >= OUT_SOFT_BYTES)
			return;
		if (!st || st->closing)
			continue;
		if (st->resize_pending)
			send_resize(st);
		if (st->want_write && st->in_credit) {
			st->want_write = false;
			if (st->ops->writable)
				st->ops->writable(st->ctx);
		}
	}
}

size_t agent_stream_write(struct agent_stream *st, const void *data, size_t len)
{
	struct agent_session *s = st->session;
	const uint8_t *at = data;
	size_t left = len;

	assert(st->takes_in && !st->closing);
	if (!agent_session_ready(s))
		return 0;
	while (left && st->in_credit && buf_len(&s->out) < OUT_SOFT_BYTES) {
		size_t n = left < WIRE_DATA_MAX ? left : WIRE_DATA_MAX;

		if (n > st->in_credit)
			n = st->in_credit;
		agent_send(s, WIRE_DATA, WIRE_IN, st->id, at, n);
		st->in_credit -= (uint32_t)n;
		at += n;
		left -= n;
		agent_flush(s);
	}
	st->want_write = left > 0;
	return len - left;
}

void agent_stream_write_eof(struct agent_stream *st)
{
	if (!st->takes_in)
		return;
	st->takes_in = false;
	st->want_write = false;
	agent_send(st->session, WIRE_EOF, WIRE_IN, st->id, NULL, 0);
	agent_flush(st->session);
}

void agent_stream_consumed(struct agent_stream *st, enum wire_channel channel,
			   size_t len)
{
	size_t i = (size_t)channel - 1u;
	uint8_t payload[4];
	struct wire_cursor c = wire_writer(payload, sizeof(payload));

	assert(channel == WIRE_OUT || channel == WIRE_ERR);
	assert(len <= st->unconsumed[i]);
	st->unconsumed[i] -= (uint32_t)len;
	st->to_give[i] += (uint32_t)len;
	if (st->to_give[i] < CREDIT_STEP || st->out_eof[i])
		return;
	wire_write_u32(&c, st->to_give[i]);
	st->out_credit[i] += st->to_give[i];
	st->to_give[i] = 0;
	agent_send(st->session, WIRE_WINDOW_ADD, (uint8_t)channel, st->id,
		   payload, sizeof(payload));
	agent_flush(st->session);
}

void agent_stream_resize(struct agent_stream *st, uint16_t rows,
			 uint16_t columns)
{
	st->rows = rows;
	st->columns = columns;
	st->resize_pending = true;
	if (buf_len(&st->session->out) < OUT_SOFT_BYTES)
		send_resize(st);
	agent_flush(st->session);
}

void agent_stream_signal(struct agent_stream *st, uint32_t signal)
{
	uint8_t payload[4];
	struct wire_cursor c = wire_writer(payload, sizeof(payload));

	/* A guest that does not read does not handle signals either. */
	if (buf_len(&st->session->out) >= OUT_SOFT_BYTES)
		return;
	wire_write_u32(&c, signal);
	agent_send(st->session, WIRE_SIGNAL, 0, st->id, payload,
		   sizeof(payload));
	agent_flush(st->session);
}

void agent_stream_close(struct agent_stream *st)
{
	if (st->closing)
		return;
	st->closing = true;
	agent_send(st->session, WIRE_CLOSE, 0, st->id, NULL, 0);
	agent_flush(st->session);
}
