/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The session: HELLO, the table of streams and the meaning of each frame. See
 * agent/wire.h. A frame that is malformed ends its stream with bad_request; a
 * frame for a stream that is not open is dropped, since it may have crossed
 * our RESULT on the way.
 */
#include <errno.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "agent/agent.h"

void session_result(struct agent *a, uint32_t id, uint32_t sys,
		    const char *code, const char *msg)
{
	uint8_t payload[OUTQ_REPLY_MAX];
	char text[200];
	struct wire_cursor c = wire_writer(payload, sizeof(payload));

	(void)strncpy(text, msg, sizeof(text) - 1);
	text[sizeof(text) - 1] = 0;
	wire_write_u32(&c, sys);
	wire_write_str(&c, wire_str(code));
	wire_write_str(&c, wire_str(text));
	outq_frame(&a->out, WIRE_RESULT, 0, id, payload,
		   (size_t)(c.at - payload));
}

struct stream *stream_find(struct agent *a, uint32_t id)
{
	if (a->found && a->found->kind != STREAM_FREE && a->found->id == id)
		return a->found;
	for (struct stream *st = a->by_id[id % STREAM_BUCKETS]; st;
	     st = st->next)
		if (st->id == id)
			return a->found = st;
	return NULL;
}

static void forget_id(struct agent *a, const struct stream *st)
{
	struct stream **at = &a->by_id[st->id % STREAM_BUCKETS];

	while (*at != st)
		at = &(*at)->next;
	*at = st->next;
}

/* A slot of its kind for a stream, or NULL. */
static struct stream *stream_new(struct agent *a, uint32_t id, bool dial)
{
	struct stream *slots = a->streams + (dial ? WIRE_STREAMS_MAX : 0);
	size_t count = dial ? WIRE_DIALS_MAX : WIRE_STREAMS_MAX;
	struct stream *st = NULL;

	for (size_t i = 0; i < count && !st; i++) {
		size_t at = a->next_slot[dial]++ % count;

		if (slots[at].kind == STREAM_FREE)
			st = &slots[at];
	}
	if (!st)
		return NULL;
	*st = (struct stream){ .kind = STREAM_EXEC,
			       .id = id,
			       .next = a->by_id[id % STREAM_BUCKETS] };
	a->by_id[id % STREAM_BUCKETS] = st;
	return st;
}

void stream_free(struct agent *a, struct stream *st)
{
	if (a->parts.stream && a->parts.stream == st->id)
		exec_parts_drop(a);
	if (st->command)
		command_abandon(st->command);
	a->grown -= st->grown;
	tar_reader_free(st->reader);
	tar_writer_free(st->writer);
	dial_free(a, st->dial);
	forget_id(a, st);
	memset(st, 0, sizeof(*st));
}

void stream_fail(struct agent *a, struct stream *st, const struct failure *f)
{
	session_result(a, st->id, f->sys ? f->sys : EPROTO, f->code, f->msg);
	stream_free(a, st);
}

void stream_done(struct agent *a, struct stream *st)
{
	session_result(a, st->id, 0, "", "");
	stream_free(a, st);
}

/* It moves much: with one small window on the way it would wait for credit most of
 * the time where a turn is slow. */
static void grow(struct agent *a, struct stream *st)
{
	if (a->version < 3 || st->grown || !st->dial || st->dial->udp ||
	    a->grown >= WIRE_GROWN_MAX)
		return;
	a->grown++;
	st->grown = true;
	st->in_passed += WIRE_WINDOW - st->window;
	st->window = WIRE_WINDOW;
}

void stream_passed(struct agent *a, struct stream *st, size_t len)
{
	uint8_t payload[4];
	struct wire_cursor c = wire_writer(payload, sizeof(payload));

	st->in_passed += (uint32_t)len;
	if (st->in_passed < st->window / 4)
		return;
	grow(a, st);
	wire_write_u32(&c, st->in_passed);
	st->in_credit += st->in_passed;
	st->in_passed = 0;
	outq_frame(&a->out, WIRE_WINDOW_ADD, WIRE_IN, st->id, payload,
		   sizeof(payload));
}

static void protocol_error(struct agent *a, struct stream *st, const char *what)
{
	struct failure f;

	failure_set(&f, 0, WIRE_CODE_BAD_REQUEST, "%s", what);
	stream_fail(a, st, &f);
}

void detached_report(struct agent *a, const struct detached *d)
{
	uint8_t payload[13];
	struct wire_cursor c = wire_writer(payload, sizeof(payload));

	if (!a->session)
		return;
	wire_write_u32(&c, d->tag);
	wire_write_u8(&c, d->running);
	wire_write_u32(&c, d->status);
	wire_write_u32(&c, d->signal);
	outq_frame(&a->out, WIRE_DETACHED, 0, 0, payload, sizeof(payload));
}

void session_end(struct agent *a)
{
	for (size_t i = 0; i < STREAM_SLOTS; i++)
		if (a->streams[i].kind != STREAM_FREE)
			stream_free(a, &a->streams[i]);
	outq_drop_unsent(&a->out);
	a->session = false;
}

static void on_hello(struct agent *a, const uint8_t *payload, size_t len)
{
	struct wire_cursor c = wire_reader(payload, len);
	struct wire_hello_ack ack = { .version = WIRE_VERSION,
				      .boot_ns = a->ready_ns,
				      .agent = wire_str(VMD_VERSION) };
	struct utsname u;
	uint8_t out[512];
	struct wire_cursor w = wire_writer(out, sizeof(out));
	uint16_t theirs = wire_read_u16(&c);

	/* An older host gets its own; it never uses what is newer. */
	if (theirs >= WIRE_VERSION_MIN && theirs < WIRE_VERSION)
		ack.version = theirs;
	wire_read_bytes(&c, ack.nonce, sizeof(ack.nonce));
	if (!wire_cursor_done(&c))
		return;
	session_end(a);
	(void)uname(&u);
	ack.release = wire_str(u.release);
	/* As wire_encode_hello_ack(), which wants room for any payload. */
	wire_write_u16(&w, ack.version);
	wire_write_bytes(&w, ack.nonce, sizeof(ack.nonce));
	wire_write_u64(&w, ack.boot_ns);
	wire_write_str(&w, ack.release);
	wire_write_str(&w, ack.agent);
	a->session = true;
	a->version = ack.version;
	outq_frame(&a->out, WIRE_HELLO_ACK, 0, 0, out, (size_t)(w.at - out));
	for (size_t i = 0; i < DETACHED_MAX; i++)
		if (a->detached[i].used)
			detached_report(a, &a->detached[i]);
	say_debug("session opened");
}

static void on_time(struct agent *a, struct stream *st, const uint8_t *payload,
		    size_t len)
{
	struct wire_cursor c = wire_reader(payload, len);
	int64_t ns = (int64_t)wire_read_u64(&c);
	struct timespec ts = { .tv_sec = ns / 1000000000,
			       .tv_nsec = ns % 1000000000 };
	struct failure f;

	if (!wire_cursor_done(&c) || ns < 0) {
		protocol_error(a, st, "malformed time");
		return;
	}
	if (a->role != ROLE_PLAIN && clock_settime(CLOCK_REALTIME, &ts) < 0) {
		failure_set(&f, errno, WIRE_CODE_IO, "cannot set the clock");
		stream_fail(a, st, &f);
		return;
	}
	stream_done(a, st);
}

static void on_net(struct agent *a, struct stream *st, const uint8_t *payload,
		   size_t len)
{
	struct wire_net n;
	struct failure f;

	if (!wire_decode_net(payload, len, &n)) {
		protocol_error(a, st, "malformed network request");
		return;
	}
	if (a->role == ROLE_PLAIN) {
		failure_set(&f, EPERM, WIRE_CODE_IO,
			    "this agent leaves the network alone");
		stream_fail(a, st, &f);
		return;
	}
	if (net_setup(&n, 0, &f))
		stream_done(a, st);
	else
		stream_fail(a, st, &f);
}

static void on_shutdown(struct agent *a, struct stream *st,
			const uint8_t *payload, size_t len)
{
	if (len != 1 || payload[0] > WIRE_REBOOT) {
		protocol_error(a, st, "malformed shutdown request");
		return;
	}
	stream_done(a, st);
	power_begin(a, (enum wire_shutdown)payload[0]);
}

/* Opens the stream of a request. Requests that end at once use a slot too. */
static void on_open(struct agent *a, const struct wire_header *h,
		    const uint8_t *payload)
{
	struct stream *st = stream_find(a, h->stream);

	if (h->stream == 0)
		return;
	if (st && st->id == a->parts.stream && h->type == WIRE_EXEC) {
		exec_open(a, st, payload, h->length);
		return;
	}
	if (st && st->id == a->parts.stream && h->type == WIRE_EXEC_PART) {
		exec_part(a, st, payload, h->length);
		return;
	}
	if (st) {
		protocol_error(a, st, "stream id opened twice");
		return;
	}
	st = stream_new(a, h->stream, h->type == WIRE_DIAL);
	if (!st) {
		session_result(a, h->stream, EBUSY, WIRE_CODE_BUSY,
			       h->type == WIRE_DIAL
				       ? "the guest has 512 connections open"
				       : "the guest has 64 streams open");
		return;
	}
	st->out_credit[WIRE_OUT] = st->out_credit[WIRE_ERR] = WIRE_WINDOW;
	st->in_credit = st->window = WIRE_WINDOW;
	switch (h->type) {
	case WIRE_EXEC:
		exec_open(a, st, payload, h->length);
		break;
	case WIRE_EXEC_PART:
		exec_part(a, st, payload, h->length);
		break;
	case WIRE_PUSH:
		push_open(a, st, payload, h->length);
		break;
	case WIRE_PULL:
		pull_open(a, st, payload, h->length);
		break;
	case WIRE_DIAL:
		dial_open(a, st, payload, h->length);
		break;
	case WIRE_TIME:
		on_time(a, st, payload, h->length);
		break;
	case WIRE_NET:
		on_net(a, st, payload, h->length);
		break;
	case WIRE_SHUTDOWN:
		on_shutdown(a, st, payload, h->length);
		break;
	default:
		stream_done(a, st); /* STATUS: alive is the answer */
		break;
	}
}

static void on_data(struct agent *a, struct stream *st,
		    const struct wire_header *h, const uint8_t *payload)
{
	if (h->channel != WIRE_IN) {
		protocol_error(a, st, "data on a channel of the guest");
		return;
	}
	if (h->length > st->in_credit) {
		protocol_error(a, st, "more data than the credit given");
		return;
	}
	st->in_credit -= h->length;
	if (st->kind == STREAM_PUSH)
		push_input(a, st, payload, h->length);
	else if (st->dial)
		dial_input(a, st->dial, payload, h->length);
	else if (st->command)
		command_input(a, st->command, payload, h->length);
}

static void on_eof(struct agent *a, struct stream *st,
		   const struct wire_header *h)
{
	if (h->channel != WIRE_IN || h->length)
		protocol_error(a, st, "malformed end of data");
	else if (st->kind == STREAM_PUSH)
		push_eof(a, st);
	else if (st->dial)
		dial_input_eof(a, st->dial);
	else if (st->command)
		command_input_eof(st->command);
}

static void on_window(struct agent *a, struct stream *st,
		      const struct wire_header *h, const uint8_t *payload)
{
	struct wire_cursor c = wire_reader(payload, h->length);
	uint32_t add = wire_read_u32(&c);

	if (!wire_cursor_done(&c) ||
	    (h->channel != WIRE_OUT && h->channel != WIRE_ERR) ||
	    add > INT32_MAX - st->out_credit[h->channel])
		protocol_error(a, st, "malformed credit");
	else
		st->out_credit[h->channel] += add;
}

static void on_signal(struct agent *a, struct stream *st,
		      const uint8_t *payload, size_t len)
{
	struct wire_cursor c = wire_reader(payload, len);
	uint32_t sig = wire_read_u32(&c);

	if (!wire_cursor_done(&c) || sig == 0 || sig > 64 || !st->command)
		protocol_error(a, st, "malformed signal");
	else if (!st->command->exited)
		(void)kill(-st->command->pid, (int)sig);
}

static void on_resize(struct agent *a, struct stream *st,
		      const uint8_t *payload, size_t len)
{
	struct wire_cursor c = wire_reader(payload, len);
	uint16_t rows = wire_read_u16(&c), columns = wire_read_u16(&c);

	if (!wire_cursor_done(&c) || !st->command || !st->command->tty)
		protocol_error(a, st, "malformed resize, or no terminal");
	else
		command_resize(st->command, rows, columns);
}

static void on_close(struct agent *a, struct stream *st)
{
	struct failure f;

	if (st->command) {
		command_end(st->command);
		return;
	}
	failure_set(&f, ECANCELED, "cancelled", "closed by the host");
	stream_fail(a, st, &f);
}

static void on_reap(struct agent *a, const uint8_t *payload, size_t len)
{
	struct wire_cursor c = wire_reader(payload, len);
	uint32_t tag = wire_read_u32(&c);

	if (!wire_cursor_done(&c))
		return;
	for (size_t i = 0; i < DETACHED_MAX; i++) {
		struct detached *d = &a->detached[i];

		if (!d->used || d->tag != tag)
			continue;
		d->forget = true;
		d->used = d->running;
	}
}

static void take_frame(struct agent *a, const struct wire_header *h,
		       const uint8_t *payload)
{
	struct stream *st;

	switch (h->type) {
	case WIRE_EXEC:
	case WIRE_EXEC_PART:
	case WIRE_PUSH:
	case WIRE_PULL:
	case WIRE_DIAL:
	case WIRE_TIME:
	case WIRE_NET:
	case WIRE_SHUTDOWN:
	case WIRE_STATUS:
		on_open(a, h, payload);
		return;
	case WIRE_REAP:
		on_reap(a, payload, h->length);
		return;
	default:
		break;
	}
	st = stream_find(a, h->stream);
	if (!st)
		return;
	switch (h->type) {
	case WIRE_DATA:
		on_data(a, st, h, payload);
		break;
	case WIRE_EOF:
		on_eof(a, st, h);
		break;
	case WIRE_WINDOW_ADD:
		on_window(a, st, h, payload);
		break;
	case WIRE_SIGNAL:
		on_signal(a, st, payload, h->length);
		break;
	case WIRE_RESIZE:
		on_resize(a, st, payload, h->length);
		break;
	case WIRE_CLOSE:
		on_close(a, st);
		break;
	default:
		protocol_error(a, st, "unknown or misdirected frame type");
		break;
	}
}

void session_frame(void *ctx, const struct wire_header *h,
		   const uint8_t *payload)
{
	struct agent *a = ctx;

	if (h->type == WIRE_HELLO)
		on_hello(a, payload, h->length);
	else if (a->session)
		take_frame(a, h, payload);
	/* The reply to the next one needs room. */
	if (outq_len(&a->out) > OUTQ_INPUT_LEVEL)
		wire_parser_stop(&a->parser);
}
