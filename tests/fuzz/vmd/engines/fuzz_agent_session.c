/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes that a hostile guest may send to vmd/guest/agent_session.c after an honest
 * handshake (the nonce cannot be guessed, so the target plays it).
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/sock.h"
#include "vmd/guest/agent_session.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
	STREAMS = 6
};

struct owner {
	struct agent_session *session;
	struct agent_stream *streams[STREAMS];
	size_t held; /* bytes not yet consumed */
	bool lost;
	uint8_t nonce[WIRE_NONCE_LEN];
};

struct slot {
	struct owner *owner;
	size_t i;
};

static void on_ready(void *ctx, const struct agent_info *info)
{
	(void)ctx;
	if (strlen(info->release) > 64 || strlen(info->agent) > 64)
		abort();
}

static void on_detached(void *ctx, uint32_t tag, bool running, uint32_t status,
			uint32_t signal)
{
	struct owner *o = ctx;

	(void)running;
	if (status > 255 || signal > 64)
		abort();
	agent_session_reap(o->session, tag);
}

static void on_lost(void *ctx, const struct err *e)
{
	struct owner *o = ctx;

	if (o->lost || e->kind == ERR_NONE)
		abort();
	o->lost = true;
	for (size_t i = 0; i < STREAMS; i++) {
		if (o->streams[i])
			abort(); /* streams end first */
	}
}

static void on_data(void *ctx, enum wire_channel channel, const void *data,
		    size_t len)
{
	struct slot *s = ctx;

	(void)data;
	if (channel != WIRE_OUT && channel != WIRE_ERR)
		abort();
	s->owner->held += len;
	if (s->owner->held > 8 * (size_t)WIRE_WINDOW)
		abort(); /* more than the windows of all streams */
	/* An owner may end its stream whenever it is called. */
	if (len == 3) {
		s->owner->held -= len;
		agent_stream_close(s->owner->streams[s->i]);
		s->owner->streams[s->i] = NULL;
		return;
	}
	/* Every second stream is slow: it keeps what it gets. */
	if (s->i % 2 == 0) {
		s->owner->held -= len;
		agent_stream_consumed(s->owner->streams[s->i], channel, len);
	}
}

static void on_done(void *ctx, uint32_t status, uint32_t signal,
		    const struct err *e)
{
	struct slot *s = ctx;

	if (!s->owner->streams[s->i] || status > 255 || signal > 64)
		abort(); /* ended twice, or nonsense passed on */
	if (e && (!e->code[0] || strpbrk(e->msg, "\033\n")))
		abort();
	s->owner->streams[s->i] = NULL;
}

static const struct agent_session_ops session_ops = { on_ready, on_detached,
						      on_lost };
static const struct agent_stream_ops stream_ops = { .data = on_data,
						    .done = on_done };

static void take_hello(void *ctx, const struct wire_header *h,
		       const uint8_t *payload)
{
	struct owner *o = ctx;

	if (h->type == WIRE_HELLO && h->length == 2 + WIRE_NONCE_LEN)
		memcpy(o->nonce, payload + 2, WIRE_NONCE_LEN);
}

static void handshake(struct owner *o, int peer)
{
	static uint8_t in[65536], payload[WIRE_PAYLOAD_MAX];
	static struct wire_parser parser;
	uint8_t head[WIRE_HEADER_LEN];
	struct wire_hello_ack ack = { .version = WIRE_VERSION,
				      .release = wire_str("6.1"),
				      .agent = wire_str("0") };
	struct wire_header h = { .type = WIRE_HELLO_ACK };
	ssize_t n;

	wire_parser_reset(&parser);
	while ((n = recv(peer, in, sizeof(in), MSG_DONTWAIT)) > 0)
		wire_parser_feed(&parser, in, (size_t)n, take_hello, o);
	memcpy(ack.nonce, o->nonce, WIRE_NONCE_LEN);
	h.length = (uint32_t)wire_encode_hello_ack(&ack, payload);
	wire_put_header(head, &h);
	(void)send(peer, head, sizeof(head), MSG_NOSIGNAL);
	(void)send(peer, payload, h.length, MSG_NOSIGNAL);
}

static void open_streams(struct owner *o, struct slot slots[STREAMS])
{
	/* The first is longer than the queue: it stays partly sent. */
	static char long_text[1 << 20];
	static uint8_t items[sizeof(long_text) + 64];
	struct wire_cursor c = wire_writer(items, sizeof(items));
	const struct wire_str argv[] = { wire_str("x"),
					 { long_text, sizeof(long_text) } };
	struct wire_exec request = { .flags = WIRE_EXEC_STDIN };
	struct agent_session *s = o->session;

	memset(long_text, 'x', sizeof(long_text));
	request.argv = wire_write_list(&c, argv, 2);
	o->streams[0] =
		agent_session_exec(s, &request, &stream_ops, &slots[0], NULL);
	c = wire_writer(items, sizeof(items));
	request.argv = wire_write_list(&c, argv, 1);
	o->streams[1] =
		agent_session_exec(s, &request, &stream_ops, &slots[1], NULL);
	o->streams[2] =
		agent_session_pull(s, "/", &stream_ops, &slots[2], NULL);
	o->streams[3] =
		agent_session_push(s, "/", 0, &stream_ops, &slots[3], NULL);
	o->streams[4] = agent_session_dial(s, WIRE_UDP, 53, &stream_ops,
					   &slots[4], NULL);
	o->streams[5] = agent_session_dial(s, WIRE_TCP, 80, &stream_ops,
					   &slots[5], NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct loop *loop;
	struct owner o = { .session = NULL };
	struct slot slots[STREAMS];
	AUTO(fd) int peer = -1;
	int fds[2];

	for (size_t i = 0; i < STREAMS; i++)
		slots[i] = (struct slot){ &o, i };
	if (!loop)
		loop = loop_new(NULL);
	if (!loop || sock_pair(fds) < 0)
		return 0;
	peer = fds[1];
	o.session = agent_session_new(loop, fds[0], &session_ops, &o, NULL);
	if (!o.session)
		return 0;
	handshake(&o, peer);
	for (int i = 0; i < 4 && !agent_session_ready(o.session); i++)
		(void)loop_run_once(loop, 0);
	if (!agent_session_ready(o.session))
		abort();
	open_streams(&o, slots);
	if (size)
		(void)send(peer, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);
	for (int i = 0; i < 4; i++)
		(void)loop_run_once(loop, 0);
	agent_session_free(o.session);
	return 0;
}
