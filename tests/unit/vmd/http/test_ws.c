/* SPDX-License-Identifier: Apache-2.0 */
/* The server's WebSocket over a socket pair: the test writes and reads the very
 * bytes of frames (RFC 6455, 5.2). */
#include "tests/unit/test.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vmd/http/ws.h"

enum {
	MESSAGES = 12000,
	MESSAGE_LEN = 8, /* their number in text */
	FRAME_LEN = 6 + MESSAGE_LEN, /* 2 head, 4 mask */
};

struct peer {
	struct loop *loop;
	struct ws *ws;
	int fd; /* of the client */
	int server_fd;
	unsigned received, pause_every;
	size_t answer_len; /* to each message; 0: none */
	bool closed, order_ok, drained;
};

static void on_message(void *ctx, bool text, const uint8_t *data, size_t len)
{
	struct peer *p = ctx;
	char want[MESSAGE_LEN + 1];

	(void)snprintf(want, sizeof(want), "%08u", p->received);
	p->order_ok = p->order_ok && !text && len == MESSAGE_LEN &&
		      memcmp(data, want, len) == 0;
	p->received++;
	if (p->answer_len) {
		static const uint8_t zeros[4096];

		assert_true(ws_send(p->ws, false, -1, zeros, p->answer_len));
	}
	if (p->pause_every && p->received % p->pause_every == 0)
		ws_pause(p->ws, true);
}

static void on_drained(void *ctx)
{
	((struct peer *)ctx)->drained = true;
}

static void on_closed(void *ctx)
{
	((struct peer *)ctx)->closed = true;
}

static const struct ws_ops ops = {
	.message = on_message,
	.drained = on_drained,
	.closed = on_closed,
};

static void finish(void *data)
{
	struct peer *p = data;

	(void)close(p->server_fd);
	p->server_fd = -1;
}

static void peer_start(struct peer *p, const void *extra, size_t len)
{
	int fds[2];

	*p = (struct peer){ .order_ok = true };
	p->loop = loop_new(NULL);
	assert_non_null(p->loop);
	assert_int_equal(
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	p->fd = fds[0];
	p->server_fd = fds[1];
	p->ws = ws_new(p->loop, fds[1], extra, len, finish, p);
	assert_non_null(p->ws);
	ws_start(p->ws, &ops, p);
}

static void peer_done(struct peer *p)
{
	if (!p->closed)
		ws_free(p->ws);
	assert_int_equal(p->server_fd, -1);
	(void)close(p->fd);
	loop_free(p->loop);
}

/* Frames of the client with the numbers from `first`, masked. */
static uint8_t *make_frames(unsigned first, unsigned count)
{
	static const uint8_t mask[4] = { 0x12, 0x34, 0x56, 0x78 };
	uint8_t *frames = malloc((size_t)count * FRAME_LEN), *at = frames;

	assert_non_null(frames);
	for (unsigned i = 0; i < count; i++, at += FRAME_LEN) {
		char text[MESSAGE_LEN + 1];

		(void)snprintf(text, sizeof(text), "%08u", first + i);
		at[0] = 0x82;
		at[1] = 0x80 | MESSAGE_LEN;
		memcpy(at + 2, mask, sizeof(mask));
		for (size_t k = 0; k < MESSAGE_LEN; k++)
			at[6 + k] = (uint8_t)text[k] ^ mask[k % 4];
	}
	return frames;
}

/* Turns of the loop until none has anything to do. */
static void settle(struct peer *p)
{
	while (loop_run_once(p->loop, 0) > 0)
		;
}

static void test_ws_messages_read_at_once_survive_pauses(void **state)
{
	uint8_t *frames = make_frames(0, MESSAGES);
	size_t len = (size_t)MESSAGES * FRAME_LEN, sent = 0;
	struct peer p;

	(void)state;
	peer_start(&p, NULL, 0);
	p.pause_every = 7;
	while (p.received < MESSAGES) {
		unsigned before = p.received;
		ssize_t n = send(p.fd, frames + sent, len - sent, 0);

		if (n > 0)
			sent += (size_t)n;
		settle(&p);
		/* A pause holds but for what wslay has: it takes 4 KiB. */
		assert_true(p.received - before <= 7 + 4096 / FRAME_LEN);
		assert_true(p.received > before);
		ws_pause(p.ws, false);
	}
	assert_true(p.order_ok);
	free(frames);
	peer_done(&p);
}

static void test_ws_bytes_behind_the_request_come_first(void **state)
{
	uint8_t *frames = make_frames(0, MESSAGES);
	size_t extra = 100 * FRAME_LEN + 3; /* ends within a frame */
	struct peer p;

	(void)state;
	peer_start(&p, frames, extra);
	settle(&p);
	assert_int_equal(p.received, 100);
	assert_int_equal(send(p.fd, frames + extra, 50 * FRAME_LEN, 0),
			 50 * FRAME_LEN);
	settle(&p);
	assert_int_equal(p.received, 150);
	assert_true(p.order_ok);
	free(frames);
	peer_done(&p);
}

static void test_ws_bytes_after_the_close_frame_do_not_spin(void **state)
{
	static const uint8_t frames[] = { 0x88, 0x80, 1, 2, 3, 4, /* close */
					  0x82, 0x80, 1, 2, 3, 4 };
	unsigned turns = 0;
	struct peer p;

	(void)state;
	peer_start(&p, NULL, 0);
	assert_int_equal(send(p.fd, frames, sizeof(frames), 0), sizeof(frames));
	while (loop_run_once(p.loop, 0) > 0)
		assert_true(++turns < 100);
	assert_true(p.closed);
	assert_int_equal(p.received, 0);
	peer_done(&p);
}

static void read_and_keep(struct peer *p, uint8_t *keep, size_t *ret_bytes)
{
	uint8_t got[1500];
	ssize_t n;

	while ((n = recv(p->fd, got, sizeof(got), 0)) > 0)
		for (ssize_t i = 0; i < n; i++)
			keep[(*ret_bytes)++] = got[i];
	assert_true(n < 0 && errno == EAGAIN);
}

/* Reading stops at WS_QUEUE_HIGH and goes on, without any event of the socket:
 * everything has been read from it long ago. */
static void test_ws_answers_that_wait_stop_and_resume_reading(void **state)
{
	enum {
		COUNT = 1000
	};
	uint8_t *frames = make_frames(0, COUNT);
	static uint8_t got[COUNT * (4 + 4096)];
	size_t have = 0;
	struct peer p;

	(void)state;
	peer_start(&p, NULL, 0);
	p.answer_len = 4096;
	assert_int_equal(send(p.fd, frames, (size_t)COUNT * FRAME_LEN, 0),
			 (ssize_t)COUNT * FRAME_LEN);
	settle(&p);
	assert_true(p.received < COUNT);
	while (have < sizeof(got)) {
		size_t before = have;

		settle(&p);
		read_and_keep(&p, got, &have);
		assert_true(have > before);
	}
	assert_int_equal(p.received, COUNT);
	assert_true(p.order_ok);
	free(frames);
	peer_done(&p);
}

static void test_ws_send_over_a_full_socket_keeps_frames_whole(void **state)
{
	enum {
		COUNT = 60,
		LEN = 5000,
		HEAD = 4,
		TOTAL = HEAD + 1 + LEN
	};
	static uint8_t data[LEN], got[COUNT * TOTAL];
	int small = 4096;
	size_t have = 0;
	struct peer p;

	(void)state;
	peer_start(&p, NULL, 0);
	assert_int_equal(setsockopt(p.server_fd, SOL_SOCKET, SO_SNDBUF, &small,
				    sizeof(small)),
			 0);
	for (unsigned i = 0; i < COUNT; i++) {
		memset(data, (int)i, sizeof(data));
		assert_true(ws_send(p.ws, false, 1, data, LEN));
	}
	while (have < sizeof(got)) {
		size_t before = have;

		settle(&p);
		read_and_keep(&p, got, &have);
		assert_true(have > before);
	}
	settle(&p);
	assert_true(p.drained);
	assert_int_equal(ws_queued(p.ws), 0);
	for (unsigned i = 0; i < COUNT; i++) {
		const uint8_t *f = got + (size_t)i * TOTAL;

		assert_int_equal(f[0], 0x82);
		assert_int_equal(f[1], 126);
		assert_int_equal(f[2] << 8 | f[3], LEN + 1);
		assert_int_equal(f[4], 1);
		for (size_t k = 0; k < LEN; k++)
			assert_int_equal(f[HEAD + 1 + k], i);
	}
	peer_done(&p);
}

/* The frames that wslay would end without a word. */
static void test_bad_control_frames_are_answered_by_1002(void **state)
{
	static const struct {
		uint8_t bytes[16];
		size_t len;
	} cases[] = {
		{ { 0x89, 0xfe, 0, 126, 0, 0, 0, 0 }, 8 }, /* long ping */
		{ { 0x8a, 0xff, 0, 0, 0, 0, 0, 1, 0, 0 }, 10 }, /* pong */
		{ { 0x88, 0xfe, 1, 0, 0, 0, 0, 0 }, 8 }, /* close */
		{ { 0x09, 0x81, 0, 0, 0, 0, 'p' }, 7 }, /* in fragments */
		{ { 0x82, 0xfe, 0, 5, 0, 0, 0, 0, 'h' }, 9 }, /* 5 in 2 bytes */
		{ { 0x82, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff }, 10 },
		{ { 0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0 }, 10 },
	};

	(void)state;
	for (size_t i = 0; i < 2 * sizeof(cases) / sizeof(cases[0]); i++) {
		size_t k = i / 2;
		uint8_t *frames = make_frames(0, 1), got[64];
		struct peer p;

		/* At once, or a byte at a time, behind a good message. */
		peer_start(&p, frames, FRAME_LEN);
		for (size_t at = 0; at < cases[k].len; at++) {
			size_t n = i % 2 ? 1 : cases[k].len;

			(void)!send(p.fd, cases[k].bytes + at, n, MSG_NOSIGNAL);
			settle(&p);
			at += n - 1;
		}
		assert_int_equal(p.received, 1);
		assert_int_equal(recv(p.fd, got, sizeof(got), 0), 4);
		assert_memory_equal(got, "\x88\x02\x03\xea", 4);
		assert_true(p.closed);
		peer_done(&p);
		free(frames);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ws_messages_read_at_once_survive_pauses),
		cmocka_unit_test(test_ws_bytes_behind_the_request_come_first),
		cmocka_unit_test(
			test_ws_bytes_after_the_close_frame_do_not_spin),
		cmocka_unit_test(
			test_ws_answers_that_wait_stop_and_resume_reading),
		cmocka_unit_test(
			test_ws_send_over_a_full_socket_keeps_frames_whole),
		cmocka_unit_test(test_bad_control_frames_are_answered_by_1002),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
