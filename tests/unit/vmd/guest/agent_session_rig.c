/* SPDX-License-Identifier: Apache-2.0 */
/* See agent_session_rig.h. */
#include "agent_session_rig.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/sock.h"

static void on_ready(void *ctx, const struct agent_info *info)
{
	struct session_rig *f = ctx;

	f->ready++;
	f->info = *info;
}

static void on_detached(void *ctx, uint32_t tag, bool running, uint32_t status,
			uint32_t signal)
{
	struct session_rig *f = ctx;

	(void)running;
	(void)signal;
	f->detached++;
	f->tag = tag;
	f->detached_status = status;
}

static void on_lost(void *ctx, const struct err *e)
{
	struct session_rig *f = ctx;

	f->lost_count++;
	f->lost = *e;
	if (f->free_in_lost) {
		agent_session_free(f->session);
		f->session = NULL;
	}
}

static const struct agent_session_ops session_ops = { on_ready, on_detached,
						      on_lost };

static void on_started(void *ctx, uint32_t pid)
{
	struct session_rig *f = ctx;

	assert_true(pid == 77 || pid == 0); /* of an EXEC, of a DIAL */
	f->started++;
}

static void on_data(void *ctx, enum wire_channel channel, const void *data,
		    size_t len)
{
	struct session_rig *f = ctx;

	f->data_calls++;
	f->data_bytes += len;
	memcpy(f->data, data, len < sizeof(f->data) ? len : sizeof(f->data));
	if (!f->hold)
		agent_stream_consumed(f->stream, channel, len);
}

static void on_writable(void *ctx)
{
	((struct session_rig *)ctx)->writable++;
}

static void on_done(void *ctx, uint32_t status, uint32_t signal,
		    const struct err *e)
{
	struct session_rig *f = ctx;

	f->done++;
	f->status = status;
	f->signal = signal;
	f->stream = NULL;
	if (e)
		f->done_err = *e;
}

const struct agent_stream_ops session_stream_ops = {
	.started = on_started,
	.data = on_data,
	.writable = on_writable,
	.done = on_done,
};

static void agent_frame(void *ctx, const struct wire_header *h,
			const uint8_t *payload)
{
	struct session_rig *f = ctx;

	f->frames++;
	f->last = *h;
	memcpy(f->payload, payload, h->length);
	if (h->type == WIRE_HELLO)
		memcpy(f->nonce, payload + 2, WIRE_NONCE_LEN);
	if (h->type == WIRE_CLOSE)
		f->closes++;
	if (h->type == WIRE_DATA)
		f->in_bytes += h->length;
	if (h->type == WIRE_SIGNAL)
		f->signals++;
	if (h->type == WIRE_DIAL) {
		f->dials++;
		f->before_dial = f->in_bytes;
	}
	if (h->type == WIRE_EOF)
		f->in_eof = true;
	if (h->type == WIRE_WINDOW_ADD) {
		struct wire_cursor c = wire_reader(payload, h->length);

		f->credit_given += wire_read_u32(&c);
	}
}

void agent_read(struct session_rig *f)
{
	static uint8_t in[65536];
	ssize_t n;

	while ((n = recv(f->fd, in, sizeof(in), MSG_DONTWAIT)) > 0)
		wire_parser_feed(&f->parser, in, (size_t)n, agent_frame, f);
}

void agent_raw(struct session_rig *f, const void *data, size_t len)
{
	const uint8_t *at = data;

	while (len) {
		ssize_t n = send(f->fd, at, len, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n > 0) {
			at += n;
			len -= (size_t)n;
			continue;
		}
		if (f->lost_count)
			return;
		(void)loop_run_once(f->loop, 1);
	}
}

void agent_say(struct session_rig *f, uint8_t type, uint8_t channel,
	       uint32_t stream, const void *payload, size_t len)
{
	uint8_t head[WIRE_HEADER_LEN];
	struct wire_header h = { type, channel, stream, (uint32_t)len };

	wire_put_header(head, &h);
	agent_raw(f, head, sizeof(head));
	if (len)
		agent_raw(f, payload, len);
}

void agent_u32s(struct session_rig *f, uint8_t type, uint8_t channel,
		uint32_t stream, uint32_t a, uint32_t b, size_t count)
{
	uint8_t p[8];
	struct wire_cursor c = wire_writer(p, sizeof(p));

	wire_write_u32(&c, a);
	wire_write_u32(&c, b);
	agent_say(f, type, channel, stream, p, count * 4);
}

void agent_ack(struct session_rig *f, uint16_t version)
{
	uint8_t p[WIRE_PAYLOAD_MAX];
	struct wire_hello_ack ack = { .version = version,
				      .boot_ns = 5,
				      .release = wire_str("6.1.0\x1b[31m"),
				      .agent = wire_str("0.1") };

	memcpy(ack.nonce, f->nonce, WIRE_NONCE_LEN);
	agent_say(f, WIRE_HELLO_ACK, 0, 0, p, wire_encode_hello_ack(&ack, p));
}

int session_setup(void **state)
{
	struct session_rig *f = calloc(1, sizeof(*f));
	int fds[2];

	assert_non_null(f);
	f->loop = loop_new(NULL);
	assert_int_equal(sock_pair(fds), 0);
	f->fd = fds[1];
	wire_parser_reset(&f->parser);
	f->session = agent_session_new(f->loop, fds[0], &session_ops, f, NULL);
	assert_non_null(f->session);
	*state = f;
	RUN_UNTIL(f, f->frames == 1);
	assert_int_equal(f->last.type, WIRE_HELLO);
	return 0;
}

int session_setup_ready(void **state)
{
	struct session_rig *f;

	(void)session_setup(state);
	f = *state;
	agent_ack(f, WIRE_VERSION);
	RUN_UNTIL(f, f->ready);
	return 0;
}

int session_teardown(void **state)
{
	struct session_rig *f = *state;

	agent_session_free(f->session);
	close_fd(&f->fd);
	loop_free(f->loop);
	free(f);
	return 0;
}

uint32_t session_exec(struct session_rig *f, uint32_t flags)
{
	const struct wire_str program = wire_str("true");
	struct wire_exec request = { .flags = flags };
	unsigned int seen = f->frames;
	uint8_t items[16];
	struct wire_cursor c = wire_writer(items, sizeof(items));

	request.argv = wire_write_list(&c, &program, 1);
	f->stream = agent_session_exec(f->session, &request,
				       &session_stream_ops, f, NULL);
	assert_non_null(f->stream);
	RUN_UNTIL(f, f->frames > seen);
	assert_int_equal(f->last.type, WIRE_EXEC);
	return f->last.stream;
}
