/* SPDX-License-Identifier: Apache-2.0 */
#include "fake_agent.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "fake_engine.h"
#include "tests/must.h"

enum {
	STREAMS = 600
};

struct stream {
	uint32_t id;
	uint64_t flood; /* bytes left to print */
	uint32_t credit;
	bool cat, hang, pull;
	/* A connection: what its service does, and what it has to send. */
	uint16_t port;
	bool eof;
	struct buf echo;
};

struct fake_agent {
	uint8_t parts[WIRE_EXEC_MAX];
	size_t parts_len;
	struct loop *loop;
	int fd;
	struct loop_source source;
	struct buf out;
	struct wire_parser parser;
	struct stream streams[STREAMS];
	void (*shutdown)(void *data);
	void *data;
};

uint64_t fake_stdin_bytes;
unsigned fake_dials;
bool fake_agents_still;
unsigned fake_detached;

static void flush(struct fake_agent *a)
{
	while (buf_len(&a->out)) {
		ssize_t n = send(a->fd, buf_head(&a->out), buf_len(&a->out),
				 MSG_NOSIGNAL);

		if (n <= 0)
			break;
		buf_consume(&a->out, (size_t)n);
	}
	(void)loop_modify(&a->source,
			  buf_len(&a->out) ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

static void put(struct fake_agent *a, enum wire_type type, uint8_t channel,
		uint32_t stream, const void *payload, size_t len)
{
	uint8_t header[WIRE_HEADER_LEN];

	wire_put_header(header, &(struct wire_header){
					.type = (uint8_t)type,
					.channel = channel,
					.stream = stream,
					.length = (uint32_t)len,
				});
	(void)buf_append(&a->out, header, sizeof(header));
	(void)buf_append(&a->out, payload, len);
}

static void put_exit(struct fake_agent *a, struct stream *s, uint32_t status,
		     uint32_t sig)
{
	uint8_t payload[8];
	struct wire_cursor c = { payload, payload + sizeof(payload), false };

	wire_write_u32(&c, status);
	wire_write_u32(&c, sig);
	put(a, WIRE_EXIT, 0, s->id, payload, sizeof(payload));
	*s = (struct stream){ 0 };
}

static void put_result(struct fake_agent *a, uint32_t stream, uint32_t sys,
		       const char *code)
{
	uint8_t payload[512];
	size_t len = wire_encode_result(sys, code, code, payload);

	put(a, WIRE_RESULT, 0, stream, payload, len);
}

static struct stream *find(struct fake_agent *a, uint32_t id)
{
	for (size_t i = 0; i < STREAMS; i++)
		if (a->streams[i].id == id)
			return &a->streams[i];
	return NULL;
}

static void pour(struct fake_agent *a, struct stream *s)
{
	static const uint8_t zeros[WIRE_PAYLOAD_MAX];

	while (s->flood && s->credit && buf_len(&a->out) < 262144) {
		size_t n = s->flood < sizeof(zeros) ? (size_t)s->flood
						    : sizeof(zeros);

		if (n > s->credit)
			n = s->credit;
		put(a, WIRE_DATA, WIRE_OUT, s->id, zeros, n);
		s->flood -= n;
		s->credit -= (uint32_t)n;
	}
	if (s->flood)
		return;
	if (s->pull) {
		put_result(a, s->id, 0, "");
		*s = (struct stream){ 0 };
	} else {
		put_exit(a, s, 0, 0);
	}
}

static bool is(struct wire_str s, const char *text)
{
	return s.len == strlen(text) && memcmp(s.ptr, text, s.len) == 0;
}

static uint64_t number(struct wire_str s)
{
	uint64_t v = 0;

	for (uint32_t i = 0; i < s.len; i++)
		v = v * 10 + (uint64_t)(s.ptr[i] - '0');
	return v;
}

/* A piece of a command; it lies behind the earlier ones. */
static void keep_part(struct fake_agent *a, const uint8_t *payload, size_t len)
{
	must(len <= sizeof(a->parts) - a->parts_len);
	memcpy(a->parts + a->parts_len, payload, len);
	a->parts_len += len;
}

char fake_exec[1024];

static void note_text(struct wire_str s)
{
	size_t used = strlen(fake_exec);

	(void)snprintf(fake_exec + used, sizeof(fake_exec) - used, " %.*s",
		       (int)s.len, s.ptr);
}

static void note(const struct wire_exec *m)
{
	struct wire_list argv = m->argv, envp = m->envp;
	struct wire_str s;

	(void)snprintf(fake_exec, sizeof(fake_exec), "%u %ux%u",
		       m->flags & ~(unsigned)WIRE_EXEC_DETACHED, m->columns,
		       m->rows);
	note_text(m->cwd);
	note_text(m->user);
	while (wire_list_next(&argv, &s) || wire_list_next(&envp, &s))
		note_text(s);
}

static void on_exec(struct fake_agent *a, uint32_t id, const uint8_t *payload,
		    size_t len)
{
	struct stream *s = find(a, 0);
	struct wire_str arg[2] = { { "", 0 }, { "", 0 } };
	struct wire_exec m;
	uint8_t pid[4] = { 42 };

	keep_part(a, payload, len);
	must(wire_decode_exec(a->parts, a->parts_len, &m) && s);
	a->parts_len = 0;
	note(&m);
	(void)wire_list_next(&m.argv, &arg[0]);
	(void)wire_list_next(&m.argv, &arg[1]);
	if (m.flags & WIRE_EXEC_DETACHED) {
		if (is(arg[0], "nonsense")) {
			put_result(a, id, ENOENT, WIRE_CODE_NOT_FOUND);
			return;
		}
		if (is(arg[0], "mute"))
			return; /* it never says that it started */
		fake_detached++;
		put(a, WIRE_STARTED, 0, id, pid, 4);
		put_result(a, id, 0, "");
		return;
	}
	if (is(arg[0], "nonsense")) {
		put_result(a, id, ENOENT, WIRE_CODE_NOT_FOUND);
		return;
	}
	*s = (struct stream){ .id = id, .credit = WIRE_WINDOW };
	put(a, WIRE_STARTED, 0, id, pid, 4);
	if (is(arg[0], "exit")) {
		put_exit(a, s, (uint32_t)number(arg[1]), 0);
	} else if (is(arg[0], "echo")) {
		put(a, WIRE_DATA, WIRE_OUT, id, arg[1].ptr, arg[1].len);
		put(a, WIRE_DATA, WIRE_ERR, id, "err", 3);
		put_exit(a, s, 0, 0);
	} else if (is(arg[0], "length")) {
		char text[16];
		int n = snprintf(text, sizeof(text), "%u", arg[1].len);

		put(a, WIRE_DATA, WIRE_OUT, id, text, (size_t)n);
		put_exit(a, s, 0, 0);
	} else if (is(arg[0], "flood")) {
		s->flood = number(arg[1]);
		pour(a, s);
	} else if (is(arg[0], "cat")) {
		s->cat = true;
	} else if (is(arg[0], "hang")) {
		s->hang = true;
	} else {
		put_exit(a, s, 0, 0);
	}
}

static void give_credit(struct fake_agent *a, uint32_t stream, size_t len)
{
	uint8_t payload[4];
	struct wire_cursor c = { payload, payload + 4, false };

	wire_write_u32(&c, (uint32_t)len);
	put(a, WIRE_WINDOW_ADD, WIRE_IN, stream, payload, 4);
}

/* ---- connections: see fake_agent.h for the services ---- */

static void end_dial(struct fake_agent *a, struct stream *s, uint32_t sys,
		     const char *code)
{
	put_result(a, s->id, sys, code);
	buf_done(&s->echo);
	*s = (struct stream){ 0 };
	fake_dials--;
}

static void pump_dial(struct fake_agent *a, struct stream *s)
{
	static const uint8_t zeros[WIRE_DATA_MAX];

	while (s->credit && (buf_len(&s->echo) || s->port == FAKE_FLOOD) &&
	       buf_len(&a->out) < 262144) {
		size_t n;

		if (s->port == FAKE_FLOOD)
			(void)buf_append(&s->echo, zeros, sizeof(zeros));
		n = buf_len(&s->echo);
		n = n > s->credit ? s->credit : n;
		n = n > WIRE_DATA_MAX ? WIRE_DATA_MAX : n;
		put(a, WIRE_DATA, WIRE_OUT, s->id, buf_head(&s->echo), n);
		buf_consume(&s->echo, n);
		s->credit -= (uint32_t)n;
	}
	if (!s->eof || buf_len(&s->echo))
		return;
	put(a, WIRE_EOF, WIRE_OUT, s->id, NULL, 0);
	end_dial(a, s, 0, "");
}

static void on_dial(struct fake_agent *a, uint32_t id, const uint8_t *payload,
		    size_t len)
{
	struct stream *s = find(a, 0);
	struct wire_dial m;

	must(wire_decode_dial(payload, len, &m) && s);
	fake_dials++;
	*s = (struct stream){ .id = id,
			      .credit = wire_dial_window(m.protocol),
			      .port = m.port,
			      .echo = BUF_INIT(8 << 20) };
	if (m.port == FAKE_REFUSES) {
		end_dial(a, s, 111, WIRE_CODE_REFUSED);
		return;
	}
	put(a, WIRE_CONNECTED, 0, id, NULL, 0);
	if (m.port == FAKE_GREETS)
		(void)buf_append(&s->echo, "220 ready\r\n", 11);
	if (m.port == FAKE_ENDS)
		put(a, WIRE_EOF, WIRE_OUT, id, NULL, 0);
	if (m.port == FAKE_CHEATS)
		put(a, WIRE_DATA, WIRE_ERR, id, "no such channel", 15);
	pump_dial(a, s);
}

static void dial_data(struct fake_agent *a, struct stream *s,
		      const uint8_t *data, size_t len)
{
	switch (s->port) {
	case FAKE_HOLDS:
	case FAKE_ENDS:
	case FAKE_FLOOD:
		return;
	case FAKE_RESETS:
		end_dial(a, s, 104, WIRE_CODE_RESET);
		return;
	default:
		break;
	}
	(void)buf_append(&s->echo, data, len);
	give_credit(a, s->id, len);
	pump_dial(a, s);
}

static void forget_streams(struct fake_agent *a)
{
	for (size_t i = 0; i < STREAMS; i++) {
		fake_dials -= a->streams[i].port != 0;
		buf_done(&a->streams[i].echo);
		a->streams[i] = (struct stream){ 0 };
	}
}

static void on_hello(struct fake_agent *a, const uint8_t *payload, size_t len)
{
	struct wire_hello_ack ack = { .version = WIRE_VERSION,
				      .release = wire_str("6.1.0-fake"),
				      .agent = wire_str("0.1.0") };
	uint8_t out[512];

	must(len == 2 + WIRE_NONCE_LEN);
	forget_streams(a);
	memcpy(ack.nonce, payload + 2, WIRE_NONCE_LEN);
	put(a, WIRE_HELLO_ACK, 0, 0, out, wire_encode_hello_ack(&ack, out));
}

static void on_frame(void *ctx, const struct wire_header *h,
		     const uint8_t *payload)
{
	struct fake_agent *a = ctx;
	struct stream *s = h->stream ? find(a, h->stream) : NULL;
	struct wire_cursor c = { (uint8_t *)(uintptr_t)payload,
				 (uint8_t *)(uintptr_t)payload + h->length,
				 false };

	switch (h->type) {
	case WIRE_HELLO:
		on_hello(a, payload, h->length);
		break;
	case WIRE_EXEC_PART:
		keep_part(a, payload, h->length);
		break;
	case WIRE_EXEC:
		on_exec(a, h->stream, payload, h->length);
		break;
	case WIRE_DIAL:
		on_dial(a, h->stream, payload, h->length);
		break;
	case WIRE_DATA:
		if (s && s->port) {
			dial_data(a, s, payload, h->length);
			break;
		}
		fake_stdin_bytes += h->length;
		if (s && s->cat && !s->pull)
			put(a, WIRE_DATA, WIRE_OUT, s->id, payload, h->length);
		give_credit(a, h->stream, h->length);
		break;
	case WIRE_EOF:
		if (s && s->port) {
			s->eof = true;
			pump_dial(a, s);
			break;
		}
		if (s && s->pull) { /* end of a push */
			put_result(a, s->id, 0, "");
			*s = (struct stream){ 0 };
		} else if (s && s->cat) {
			put_exit(a, s, 0, 0);
		}
		break;
	case WIRE_WINDOW_ADD:
		if (s) {
			s->credit += wire_read_u32(&c);
			if (s->port)
				pump_dial(a, s);
			else if (s->flood)
				pour(a, s);
		}
		break;
	case WIRE_PUSH:
		s = find(a, 0);
		if (!s)
			break;
		*s = (struct stream){ .id = h->stream,
				      .pull = true,
				      .cat = true };
		break;
	case WIRE_PULL:
		if (memmem(payload, h->length, "missing", 7)) {
			put_result(a, h->stream, ENOENT, "path_not_found");
			break;
		}
		s = find(a, 0);
		if (!s)
			break;
		*s = (struct stream){ .id = h->stream,
				      .credit = WIRE_WINDOW,
				      .flood = 3000000,
				      .pull = true };
		pour(a, s);
		break;
	case WIRE_SIGNAL:
	case WIRE_CLOSE:
		if (s && s->port)
			end_dial(a, s, 125, "cancelled");
		else if (s)
			put_exit(a, s, 0,
				 h->type == WIRE_SIGNAL ? wire_read_u32(&c)
							: 1);
		break;
	case WIRE_SHUTDOWN:
		put_result(a, h->stream, 0, "");
		flush(a);
		a->shutdown(a->data);
		return;
	case WIRE_TIME:
		put_result(a, h->stream, 0, "");
		break;
	default:
		break;
	}
}

static void on_socket(struct loop_source *source, uint32_t events)
{
	struct fake_agent *a = source->data;
	static uint8_t in[65536];
	ssize_t n;

	(void)events;
	if (fake_agents_still)
		return;
	n = read(a->fd, in, sizeof(in));
	if (n == 0 || (n < 0 && errno != EAGAIN)) {
		loop_remove(&a->source);
		return;
	}
	if (n > 0)
		wire_parser_feed(&a->parser, in, (size_t)n, on_frame, a);
	if (!loop_source_active(&a->source))
		return;
	for (size_t i = 0; i < STREAMS; i++)
		if (a->streams[i].flood)
			pour(a, &a->streams[i]);
		else if (a->streams[i].port)
			pump_dial(a, &a->streams[i]);
	flush(a);
}

struct fake_agent *fake_agent_new(struct loop *loop, int fd,
				  void (*shutdown)(void *data), void *data)
{
	struct fake_agent *a = calloc(1, sizeof(*a));

	must(a);
	a->loop = loop;
	a->fd = fd;
	a->out = (struct buf)BUF_INIT(8 << 20);
	a->shutdown = shutdown;
	a->data = data;
	must(loop_add(loop, &a->source, fd, EPOLLIN, on_socket, a) == 0);
	return a;
}

void fake_agent_free(struct fake_agent *a)
{
	if (!a)
		return;
	loop_remove(&a->source);
	close_fd(&a->fd);
	forget_streams(a);
	buf_done(&a->out);
	free(a);
}

void fake_agent_detached(struct fake_agent *a, uint32_t tag, uint32_t status)
{
	uint8_t payload[13];
	struct wire_cursor c = { payload, payload + sizeof(payload), false };

	wire_write_u32(&c, tag);
	wire_write_u8(&c, 0);
	wire_write_u32(&c, status);
	wire_write_u32(&c, 0);
	put(a, WIRE_DETACHED, 0, 0, payload, sizeof(payload));
	flush(a);
}
