/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What goes to the guest on streams: who sends next, and how much.
 *
 * All streams share one way to the guest, a queue of OUT_SOFT_BYTES and a socket.
 * Whoever finds the queue full waits in a list, and is called when its turn comes;
 * a turn is TURN_BYTES while others wait. Connections and everything else take
 * turns, however many there are of each: so a hundred busy connections do not
 * keep a command waiting, nor does a copy keep them.
 *
 * A stream without credit does not wait here: it is queued when it gets some.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "vmd/guest/agent_internal.h"

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

bool agent_flow_waits(const struct agent_session *s)
{
	return !TAILQ_EMPTY(&s->waiting[CLASS_REQUEST]) ||
	       !TAILQ_EMPTY(&s->waiting[CLASS_DIAL]);
}

static bool has_to_send(const struct agent_stream *st)
{
	return !st->closing && (st->request || st->resize_pending ||
				(st->want_write && st->in_credit));
}

void agent_flow_queue(struct agent_stream *st)
{
	if (st->queued || !has_to_send(st))
		return;
	st->queued = true;
	TAILQ_INSERT_TAIL(&st->session->waiting[st->class], st, waiting);
}

static void leave_queue(struct agent_stream *st)
{
	if (st->queued)
		TAILQ_REMOVE(&st->session->waiting[st->class], st, waiting);
	st->queued = false;
}

static void drop_request(struct agent_stream *st)
{
	if (st->session->sending == st)
		st->session->sending = NULL;
	free(st->request);
	st->request = NULL;
}

void agent_flow_forget(struct agent_stream *st)
{
	leave_queue(st);
	drop_request(st);
}

static void send_signal(struct agent_stream *st, uint32_t signal)
{
	uint8_t payload[4];
	struct wire_cursor c = wire_writer(payload, sizeof(payload));

	wire_write_u32(&c, signal);
	agent_send(st->session, WIRE_SIGNAL, 0, st->id, payload,
		   sizeof(payload));
}

/* The last piece, and what had to wait for it. */
static void end_request(struct agent_stream *st)
{
	agent_send(st->session, WIRE_EXEC, 0, st->id,
		   st->request + st->request_at,
		   st->request_len - st->request_at);
	drop_request(st);
	if (st->resize_pending)
		send_resize(st);
	if (st->signal_pending)
		send_signal(st, st->signal_pending);
	if (st->eof_pending)
		agent_send(st->session, WIRE_EOF, WIRE_IN, st->id, NULL, 0);
	st->signal_pending = 0;
	st->eof_pending = false;
}

void agent_flow_request(struct agent_stream *st)
{
	struct agent_session *s = st->session;
	size_t end = st->request_at + TURN_BYTES;

	/* The pieces of two commands are never mixed; a short one passes. */
	if (st->request_len > WIRE_PAYLOAD_MAX) {
		if (s->sending && s->sending != st) {
			agent_flow_queue(st);
			return;
		}
		s->sending = st;
	}
	while (st->request_len - st->request_at > WIRE_PAYLOAD_MAX) {
		if (buf_len(&s->out) >= OUT_SOFT_BYTES ||
		    (st->request_at >= end && agent_flow_waits(s))) {
			agent_flow_queue(st);
			return;
		}
		agent_send(s, WIRE_EXEC_PART, 0, st->id,
			   st->request + st->request_at, WIRE_PAYLOAD_MAX);
		st->request_at += WIRE_PAYLOAD_MAX;
		agent_flush(s);
	}
	end_request(st);
}

/* The one whose turn it is, taken off its list; NULL: nobody waits. */
static struct agent_stream *next_in_turn(struct agent_session *s)
{
	struct agent_stream *st = NULL;

	for (int i = 0; i < CLASS_COUNT && !st; i++) {
		s->turn = s->turn == CLASS_DIAL ? CLASS_REQUEST : CLASS_DIAL;
		st = TAILQ_FIRST(&s->waiting[s->turn]);
	}
	if (st)
		leave_queue(st);
	return st;
}

void agent_flow_room(struct agent_session *s)
{
	for (int i = 0; i < TURNS_MAX; i++) {
		struct agent_stream *st;

		if (s->dead || buf_len(&s->out) >= OUT_SOFT_BYTES)
			return;
		st = next_in_turn(s);
		if (!st)
			return;
		if (st->closing)
			continue;
		if (st->request) {
			agent_flow_request(st);
			continue;
		}
		if (st->resize_pending)
			send_resize(st);
		if (!st->want_write || !st->in_credit)
			continue;
		st->want_write = false;
		if (st->ops->writable)
			st->ops->writable(st->ctx);
	}
}

/* What may be sent now, of len bytes. */
static size_t share(const struct agent_stream *st, size_t len)
{
	size_t n = len < st->in_credit ? len : st->in_credit;

	if (st->request)
		return 0; /* nothing overtakes it */
	/* Whoever waits was here before. */
	if (n > TURN_BYTES && agent_flow_waits(st->session))
		n = TURN_BYTES;
	return n;
}

size_t agent_stream_write(struct agent_stream *st, const void *data, size_t len)
{
	struct agent_session *s = st->session;
	const uint8_t *at = data;
	size_t left;

	assert(st->takes_in && !st->closing);
	if (!agent_session_ready(s))
		return 0;
	left = share(st, len);
	while (left && buf_len(&s->out) < OUT_SOFT_BYTES) {
		size_t n = left < WIRE_DATA_MAX ? left : WIRE_DATA_MAX;

		agent_send(s, WIRE_DATA, WIRE_IN, st->id, at, n);
		st->in_credit -= (uint32_t)n;
		at += n;
		left -= n;
		agent_flush(s);
	}
	left = len - (size_t)(at - (const uint8_t *)data);
	st->want_write = left > 0;
	agent_flow_queue(st);
	agent_flush(s);
	return len - left;
}

size_t agent_stream_room(struct agent_stream *st)
{
	const struct agent_session *s = st->session;

	if (!agent_session_ready(s))
		return 0;
	if (st->in_credit && buf_len(&s->out) < OUT_SOFT_BYTES)
		return share(st, WIRE_DATA_MAX);
	st->want_write = true;
	agent_flow_queue(st);
	agent_flush(st->session);
	return 0;
}

bool agent_stream_write_datagram(struct agent_stream *st, const void *data,
				 size_t len)
{
	struct agent_session *s = st->session;
	uint8_t piece[WIRE_DATA_MAX];
	struct wire_cursor c = wire_writer(piece, 2);
	const uint8_t *at = data;
	size_t have = 2;

	assert(st->datagrams && !st->closing && len <= WIRE_DATAGRAM_MAX);
	if (!agent_session_ready(s) || st->in_credit < 2 + len ||
	    buf_len(&s->out) >= OUT_DATAGRAM_BYTES)
		return false;
	wire_write_u16(&c, (uint16_t)len);
	st->in_credit -= (uint32_t)(2 + len);
	do {
		size_t n =
			sizeof(piece) - have < len ? sizeof(piece) - have : len;

		if (n)
			memcpy(piece + have, at, n);
		agent_send(s, WIRE_DATA, WIRE_IN, st->id, piece, have + n);
		at += n;
		len -= n;
		have = 0;
	} while (len);
	agent_flush(s);
	return true;
}

/* Length and bytes of the first datagram in the pieces, if it is whole. */
static bool whole(const struct buf *pieces, size_t *ret_len)
{
	struct wire_cursor c = wire_reader(buf_head(pieces), 2);

	if (buf_len(pieces) < 2)
		return false;
	*ret_len = wire_read_u16(&c);
	return buf_len(pieces) >= 2 + *ret_len;
}

bool agent_flow_datagrams(struct agent_stream *st, const uint8_t *payload,
			  size_t len)
{
	struct agent_session *s = st->session;
	size_t n;

	/* Within the limit: the credit is never more than the window. */
	if (buf_append(&st->pieces, payload, len) < 0) {
		agent_stream_break(st, "no memory for its datagram");
		return false;
	}
	while (whole(&st->pieces, &n)) {
		agent_stream_consumed(st, WIRE_OUT, 2);
		buf_consume(&st->pieces, 2);
		st->ops->data(st->ctx, WIRE_OUT, buf_head(&st->pieces), n);
		/* The owner may have closed it or the session, which frees st. */
		if (s->dead || st->closing)
			return false;
		buf_consume(&st->pieces, n);
	}
	if (!buf_len(&st->pieces))
		buf_done(&st->pieces);
	return true;
}

void agent_stream_write_eof(struct agent_stream *st)
{
	if (!st->takes_in)
		return;
	st->takes_in = false;
	st->want_write = false;
	st->eof_pending = st->request != NULL;
	if (!st->request)
		agent_send(st->session, WIRE_EOF, WIRE_IN, st->id, NULL, 0);
	agent_flush(st->session);
}

/* A connection that moves much: see WIRE_GROWN_MAX. Any agent takes more credit. */
static void grow(struct agent_stream *st)
{
	struct agent_session *s = st->session;

	if (st->kind != STREAM_DIAL || st->datagrams || st->grown ||
	    s->grown >= WIRE_GROWN_MAX)
		return;
	s->grown++;
	st->grown = true;
	st->to_give[0] += WIRE_WINDOW - st->out_window;
	st->out_window = WIRE_WINDOW;
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
	if (st->to_give[i] < st->out_window / CREDIT_PARTS || st->out_eof[i])
		return;
	grow(st);
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
	if (!st->request && buf_len(&st->session->out) < OUT_SOFT_BYTES)
		send_resize(st);
	else
		agent_flow_queue(st);
	agent_flush(st->session);
}

void agent_stream_signal(struct agent_stream *st, uint32_t signal)
{
	if (st->request) {
		st->signal_pending = signal;
		return;
	}
	/* A guest that does not read does not handle signals either. */
	if (buf_len(&st->session->out) >= OUT_OPEN_BYTES)
		return;
	send_signal(st, signal);
	agent_flush(st->session);
}

void agent_stream_close(struct agent_stream *st)
{
	if (st->closing)
		return;
	if (st->request && st->request_at == 0) {
		agent_stream_discard(st); /* the agent knows nothing of it */
		return;
	}
	st->closing = true;
	drop_request(st);
	agent_send(st->session, WIRE_CLOSE, 0, st->id, NULL, 0);
	agent_flush(st->session);
}
