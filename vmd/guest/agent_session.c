/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connection to a guest's agent: handshake, frames in, frames out.
 *
 * Before HELLO_ACK the byte stream may hold the rest of an earlier session,
 * chosen by the guest: so the answer is searched for byte by byte with our
 * nonce, and nothing is parsed as a frame. After it the stream must be framed
 * without a gap; one skipped byte ends the session.
 *
 * Trust: everything read is hostile. A guest can end its own session and
 * nothing more. Memory is bounded by OUT_HARD_BYTES, one read buffer and one
 * frame; bytes delivered to stream owners are bounded by credit.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "vmd/guest/agent_internal.h"

/* Header, version and nonce: enough to know our HELLO_ACK. */
enum {
	ACK_KNOWN_LEN = WIRE_HEADER_LEN + 2 + WIRE_NONCE_LEN
};

void agent_copy_text(char *out, size_t size, struct wire_str raw_text)
{
	size_t n = raw_text.len < size - 1 ? raw_text.len : size - 1;

	for (size_t i = 0; i < n; i++) {
		char c = raw_text.ptr[i];

		out[i] = text_printable(c) ? c : '?';
	}
	out[n] = '\0';
}

void agent_busy_end(struct agent_session *s)
{
	assert(s->busy > 0);
	s->busy--;
	if (s->busy || !s->freed)
		return;
	buf_done(&s->out);
	free(s);
}

/* The session is over: streams first, then the owner. Last act of a caller. */
static void fail_now(struct agent_session *s, const struct err *e)
{
	if (s->dead)
		return;
	if (&s->failure != e)
		s->failure = *e;
	s->dead = true;
	s->busy++;
	loop_timer_disarm(&s->fail_timer);
	loop_remove(&s->source);
	agent_stream_end_all(s, &s->failure);
	if (!s->freed)
		s->ops->lost(s->ctx, &s->failure);
	agent_busy_end(s);
}

static void on_fail_timer(struct loop_timer *timer)
{
	struct agent_session *s = timer->data;

	fail_now(s, &s->failure);
}

/* From inside a call of the owner: the callbacks come from the loop. */
static void fail_later(struct agent_session *s)
{
	loop_timer_arm_soon(&s->fail_timer);
}

bool agent_failing(const struct agent_session *s)
{
	return s->dead || s->failure.kind != ERR_NONE;
}

void agent_send(struct agent_session *s, enum wire_type type, uint8_t channel,
		uint32_t stream, const void *payload, size_t len)
{
	struct wire_header h = {
		.type = (uint8_t)type,
		.channel = channel,
		.stream = stream,
		.length = (uint32_t)len,
	};
	uint8_t *at;

	if (agent_failing(s))
		return;
	assert(len <= WIRE_PAYLOAD_MAX);
	at = buf_reserve(&s->out, WIRE_HEADER_LEN + len);
	if (!at) {
		(void)err_set(&s->failure, ERR_PROTOCOL, "agent_not_reading", 0,
			      "the guest's agent has stopped reading: more "
			      "than %d bytes wait for it",
			      OUT_HARD_BYTES);
		fail_later(s);
		return;
	}
	wire_put_header(at, &h);
	if (len)
		memcpy(at + WIRE_HEADER_LEN, payload, len);
	buf_commit(&s->out, WIRE_HEADER_LEN + len);
}

void agent_flush(struct agent_session *s)
{
	bool left;

	while (!agent_failing(s) && buf_len(&s->out)) {
		ssize_t n = send(s->fd, buf_head(&s->out), buf_len(&s->out),
				 MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0) {
			(void)err_set(&s->failure, ERR_UNAVAILABLE,
				      "agent_lost", errno,
				      "the connection to the guest's agent "
				      "broke: %s",
				      strerror(errno));
			fail_later(s);
			return;
		}
		buf_consume(&s->out, (size_t)n);
	}
	left = !agent_failing(s) && (buf_len(&s->out) || agent_flow_waits(s));
	if (!s->dead && left != s->wants_out &&
	    loop_modify(&s->source, EPOLLIN | (left ? EPOLLOUT : 0u)) == 0)
		s->wants_out = left;
}

static bool protocol_error(struct err *e, const char *what)
{
	(void)err_set(e, ERR_PROTOCOL, "agent_protocol", 0,
		      "the guest's agent broke its protocol: %s", what);
	return false;
}

static bool take_hello_ack(struct agent_session *s, const uint8_t *payload,
			   size_t len, struct err *e)
{
	struct agent_info info = { .boot_ns = 0 };
	struct wire_hello_ack ack;

	if (!wire_decode_hello_ack(payload, len, &ack) ||
	    memcmp(ack.nonce, s->nonce, WIRE_NONCE_LEN) != 0)
		return protocol_error(e, "malformed HELLO_ACK");
	if (s->ready)
		return protocol_error(e, "second HELLO_ACK");
	if (ack.version < WIRE_VERSION_MIN || ack.version > WIRE_VERSION) {
		(void)err_set(e, ERR_UNSUPPORTED, "agent_version", 0,
			      "the guest's agent speaks protocol version %u, "
			      "this vmd %d to %d: rebuild the image",
			      ack.version, WIRE_VERSION_MIN, WIRE_VERSION);
		return false;
	}
	s->version = ack.version;
	agent_copy_text(info.release, sizeof(info.release), ack.release);
	agent_copy_text(info.agent, sizeof(info.agent), ack.agent);
	info.boot_ns = ack.boot_ns;
	s->ready = true;
	s->ops->ready(s->ctx, &info);
	return true;
}

static bool take_detached(struct agent_session *s, const uint8_t *payload,
			  size_t len, struct err *e)
{
	struct wire_cursor c = wire_reader(payload, len);
	uint32_t tag, status, sig;
	uint8_t running;

	tag = wire_read_u32(&c);
	running = wire_read_u8(&c);
	status = wire_read_u32(&c);
	sig = wire_read_u32(&c);
	if (!wire_cursor_done(&c) || running > 1 || status > 255 ||
	    sig > GUEST_SIGNAL_MAX)
		return protocol_error(e, "malformed DETACHED");
	s->ops->detached(s->ctx, tag, running, status, sig);
	return true;
}

static void on_frame(void *ctx, const struct wire_header *h,
		     const uint8_t *payload)
{
	struct agent_session *s = ctx;
	struct err e = ERR_INIT;
	bool ok;

	if (agent_failing(s))
		return;
	if (s->parser.resync)
		ok = protocol_error(&e, "bytes outside a frame");
	else if (h->type == WIRE_HELLO_ACK)
		ok = take_hello_ack(s, payload, h->length, &e);
	else if (!s->ready)
		ok = protocol_error(&e, "frame before HELLO_ACK");
	else if (h->type == WIRE_DETACHED && h->stream == 0)
		ok = take_detached(s, payload, h->length, &e);
	else
		ok = agent_stream_frame(s, h, payload, &e);
	if (!ok)
		fail_now(s, &e);
}

/* Where our HELLO_ACK begins in the early bytes, or early: not there yet. */
static size_t find_ack(const struct agent_session *s, size_t len)
{
	size_t i = 0;

	for (; i + ACK_KNOWN_LEN <= len; i++) {
		struct wire_header h;

		if (wire_get_header(s->in + i, &h) &&
		    h.type == WIRE_HELLO_ACK &&
		    memcmp(s->in + i + WIRE_HEADER_LEN + 2, s->nonce,
			   WIRE_NONCE_LEN) == 0)
			break;
	}
	return i;
}

static void take_early(struct agent_session *s, size_t len)
{
	size_t at = find_ack(s, len);

	s->stale += at;
	if (at + ACK_KNOWN_LEN <= len) {
		s->early = 0;
		s->framed = true;
		wire_parser_reset(&s->parser);
		wire_parser_feed(&s->parser, s->in + at, len - at, on_frame, s);
		return;
	}
	if (s->stale > STALE_MAX_BYTES) {
		struct err e = ERR_INIT;

		(void)protocol_error(&e, "no answer to HELLO in 8 MiB");
		fail_now(s, &e);
		return;
	}
	s->early = len - at;
	memmove(s->in, s->in + at, s->early);
}

static void read_some(struct agent_session *s)
{
	struct err e = ERR_INIT;
	ssize_t n;

	n = recv(s->fd, s->in + s->early, sizeof(s->in) - s->early,
		 MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		int sys = n < 0 ? errno : 0;

		(void)err_set(&e, ERR_UNAVAILABLE, "agent_lost", sys,
			      "the guest's agent closed the connection%s%s",
			      sys ? ": " : "", sys ? strerror(sys) : "");
		fail_now(s, &e);
		return;
	}
	if (!s->framed) {
		take_early(s, s->early + (size_t)n);
		return;
	}
	wire_parser_feed(&s->parser, s->in, (size_t)n, on_frame, s);
	if (!agent_failing(s) && s->parser.resync) {
		(void)protocol_error(&e, "bytes outside a frame");
		fail_now(s, &e);
	}
}

static void on_io(struct loop_source *source, uint32_t events)
{
	struct agent_session *s = source->data;

	s->busy++;
	if (!agent_failing(s) && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
		read_some(s);
	if (!agent_failing(s)) {
		agent_flush(s);
		agent_flow_room(s);
		agent_flush(s);
	}
	agent_busy_end(s);
}

static int queue_hello(struct agent_session *s, struct err *e)
{
	static const uint8_t zeros[WIRE_SYNC_LEN];
	uint8_t hello[2 + WIRE_NONCE_LEN];
	struct wire_cursor c = wire_writer(hello, sizeof(hello));

	if (getrandom(s->nonce, sizeof(s->nonce), 0) !=
	    (ssize_t)sizeof(s->nonce))
		return err_sys(e, errno, "no random bytes for a nonce");
	wire_write_u16(&c, WIRE_VERSION);
	wire_write_bytes(&c, s->nonce, sizeof(s->nonce));
	if (buf_append(&s->out, zeros, sizeof(zeros)))
		return err_sys(e, ENOMEM, "agent session");
	agent_send(s, WIRE_HELLO, 0, 0, hello, sizeof(hello));
	return 0;
}

struct agent_session *agent_session_new(struct loop *loop, int fd,
					const struct agent_session_ops *ops,
					void *ctx, struct err *e)
{
	struct agent_session *s = calloc(1, sizeof(*s));
	const int room = OUT_SOCKET_BYTES;
	int rc;

	if (!s) {
		(void)err_sys(e, ENOMEM, "agent session");
		(void)close(fd);
		return NULL;
	}
	s->loop = loop;
	s->fd = fd;
	s->ops = ops;
	s->ctx = ctx;
	s->next_id = 1;
	s->out.limit = OUT_HARD_BYTES;
	s->source.fd = -1;
	/* What lies in the socket cannot be overtaken. */
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	TAILQ_INIT(&s->waiting[CLASS_REQUEST]);
	TAILQ_INIT(&s->waiting[CLASS_DIAL]);
	wire_parser_reset(&s->parser);
	loop_timer_init(loop, &s->fail_timer, on_fail_timer, s);
	rc = loop_add(loop, &s->source, fd, EPOLLIN, on_io, s);
	if (rc)
		(void)err_sys(e, -rc, "cannot watch the agent's connection");
	else
		rc = queue_hello(s, e);
	if (rc) {
		agent_session_free(s);
		return NULL;
	}
	agent_flush(s);
	return s;
}

void agent_session_free(struct agent_session *s)
{
	if (!s || s->freed)
		return;
	s->busy++;
	s->freed = true;
	s->dead = true;
	loop_timer_disarm(&s->fail_timer);
	loop_remove(&s->source);
	if (s->failure.kind == ERR_NONE)
		(void)err_set(&s->failure, ERR_CANCELLED, "agent_lost", 0,
			      "the connection to the guest's agent was "
			      "closed");
	agent_stream_end_all(s, &s->failure);
	close_fd(&s->fd);
	agent_busy_end(s);
}

bool agent_session_ready(const struct agent_session *s)
{
	return s && s->ready && !agent_failing(s);
}

void agent_session_reap(struct agent_session *s, uint32_t tag)
{
	uint8_t payload[4];
	struct wire_cursor c = wire_writer(payload, sizeof(payload));

	if (!agent_session_ready(s))
		return;
	wire_write_u32(&c, tag);
	agent_send(s, WIRE_REAP, 0, 0, payload, sizeof(payload));
	agent_flush(s);
}
