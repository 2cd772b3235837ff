/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/test.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "api/client/client.h"
#include "api/client/ws.h"
#include "base/cleanup.h"
#include "base/sock.h"

/* A server that reads one request and answers with a text in which "%A" is the
 * right Sec-WebSocket-Accept; then it sends frames. */
struct server {
	int fd;
	const char *answer;
	const void *frames;
	size_t frames_len;
};

struct received {
	unsigned texts, binaries;
	size_t bytes;
	char last[64];
};

static void read_request(int fd, char *out, size_t room)
{
	struct pollfd p = { fd, POLLIN, 0 };
	size_t len = 0;

	out[0] = '\0';
	while (!strstr(out, "\r\n\r\n") && len + 1 < room &&
	       poll(&p, 1, 5000) > 0) {
		ssize_t n = read(fd, out + len, room - 1 - len);

		if (n <= 0)
			break;
		len += (size_t)n;
		out[len] = '\0';
	}
}

static void *server_main(void *ctx)
{
	struct server *s = ctx;
	char request[4096], accept[API_WS_ACCEPT_LEN + 1], key[64] = "";
	const char *at, *mark;

	read_request(s->fd, request, sizeof(request));
	at = strstr(request, "Sec-WebSocket-Key: ");
	if (at)
		(void)sscanf(at, "Sec-WebSocket-Key: %63s", key);
	api_ws_accept_value(key, accept);
	mark = strstr(s->answer, "%A");
	if (mark)
		(void)dprintf(s->fd, "%.*s%s%s", (int)(mark - s->answer),
			      s->answer, accept, mark + 2);
	else
		(void)dprintf(s->fd, "%s", s->answer);
	if (s->frames_len > 0)
		(void)!write(s->fd, s->frames, s->frames_len);
	(void)shutdown(s->fd, SHUT_WR);
	return NULL;
}

static void on_message(void *ctx, bool text, const uint8_t *data, size_t len)
{
	struct received *r = ctx;

	r->texts += text;
	r->binaries += !text;
	r->bytes += len;
	(void)snprintf(r->last, sizeof(r->last), "%.*s",
		       (int)(len < 60 ? len : 60), (const char *)data);
}

/* Opens against the server and handles frames until the end. 0 when it was
 * opened; *e has the error of opening, or of the end. */
static int talk(const char *answer, const void *frames, size_t len,
		struct received *got, struct err *e)
{
	struct server s = { .answer = answer,
			    .frames = frames,
			    .frames_len = len };
	struct api_ws *ws = NULL;
	pthread_t thread;
	int fds[2], rc;

	assert_int_equal(sock_pair(fds), 0);
	s.fd = fds[1];
	assert_int_equal(pthread_create(&thread, NULL, server_main, &s), 0);
	rc = api_ws_open_fd(fds[0], "/x", 5000, on_message, got, &ws, e);
	if (rc == 0) {
		struct pollfd p = { api_ws_fd(ws), POLLIN, 0 };

		while (api_ws_handle(ws, e) == 0)
			assert_true(poll(&p, 1, 5000) > 0);
		api_ws_free(ws);
	}
	(void)pthread_join(thread, NULL);
	(void)close(fds[1]);
	return rc;
}

#define GOOD                                                         \
	"HTTP/1.1 101 Switching Protocols\r\nupgrade: WebSocket\r\n" \
	"Connection: keep-alive, Upgrade\r\nSec-WebSocket-Accept: %A\r\n\r\n"

static void test_accept_value_of_the_rfc(void **state)
{
	char out[API_WS_ACCEPT_LEN + 1];

	(void)state;
	api_ws_accept_value("dGhlIHNhbXBsZSBub25jZQ==", out);
	assert_string_equal(out, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

static void test_messages_arrive_behind_the_handshake(void **state)
{
	static const uint8_t frames[] = { 0x81, 2,    'h', 'i', 0x02, 1, 'a',
					  0x80, 2,    'b', 'c', 0x89, 0, 0x82,
					  0,	0x88, 2,   3,	0xe8 };
	struct received got = { .texts = 0 };
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(talk(GOOD, frames, sizeof(frames), &got, &e), 0);
	assert_int_equal(got.texts, 1);
	assert_int_equal(got.binaries, 2);
	assert_int_equal(got.bytes, 5);
	assert_string_equal(e.code, "connection_closed");
}

static void test_handshake_refusals(void **state)
{
	static const char *const answers[] = {
		"",
		"HTTP/1.1 101 X\r\n\r\n",
		"HTTP/1.0 101 X\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
		"Sec-WebSocket-Accept: %A\r\n\r\n",
		"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
		"Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n",
		"HTTP/1.1 101 X\r\nUpgrade: h2c\r\nConnection: upgrade\r\n"
		"Sec-WebSocket-Accept: %A\r\n\r\n",
		"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: close\r\n"
		"Sec-WebSocket-Accept: %A\r\n\r\n",
		"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
		"Sec-WebSocket-Extensions: permessage-deflate\r\n"
		"Sec-WebSocket-Accept: %A\r\n\r\n",
		"HTTP/1.1 101 X\nUpgrade: websocket\n\r\n\r\n",
		"HTTP/1.1 101 X\r\nno colon\r\n\r\n",
		"HTTP/1.1 1x1 X\r\n\r\n",
		"HTTP/1.1 404 X\r\nContent-Length: 12a\r\n\r\n",
		"HTTP/1.1 404 X\r\nContent-Length: 99999999999\r\n\r\n",
		"SSH-2.0-OpenSSH\r\n\r\n",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
		struct received got = { .texts = 0 };
		struct err e = ERR_INIT;

		assert_true(talk(answers[i], NULL, 0, &got, &e) < 0);
		assert_string_equal(e.code, "bad_handshake");
	}
}

static void test_refusal_carries_its_problem(void **state)
{
	static const char body[] = "{\"status\":409,\"code\":\"wrong_state\","
				   "\"kind\":\"conflict\",\"detail\":\"VM x is "
				   "stopped\"}";
	char answer[512];
	struct received got = { .texts = 0 };
	struct err e = ERR_INIT;

	(void)state;
	(void)snprintf(answer, sizeof(answer),
		       "HTTP/1.1 409 Conflict\r\nContent-Length: %zu\r\n\r\n%s",
		       sizeof(body) - 1, body);
	assert_true(talk(answer, NULL, 0, &got, &e) < 0);
	assert_int_equal(e.kind, ERR_CONFLICT);
	assert_string_equal(e.code, "wrong_state");
	assert_string_equal(e.msg, "VM x is stopped");
	assert_true(talk("HTTP/1.1 500 X\r\nContent-Length: 900\r\n\r\n{", NULL,
			 0, &got, &e) < 0);
	assert_string_equal(e.code, "bad_problem");
}

static void test_frames_that_break_the_rules(void **state)
{
	static const struct {
		uint8_t bytes[16];
		size_t len;
	} frames[] = {
		{ { 0xff, 0 }, 2 }, /* reserved opcode, RSV */
		{ { 0xc1, 1, 'a' }, 3 }, /* RSV1 without extension */
		{ { 0x81, 0x81, 1, 2, 3, 4, 0 }, 7 }, /* masked by a server */
		{ { 0x89, 0x7e, 0, 200 }, 4 }, /* long control frame */
		{ { 0x09, 0 }, 2 }, /* fragmented control */
		{ { 0x80, 1, 'a' }, 3 }, /* continues nothing */
		{ { 0x81, 2, 0xff, 0xfe }, 4 }, /* text that is no UTF-8 */
		{ { 0x82, 0x7f, 0, 0, 1, 0, 0, 0, 0, 0, 'x', 'x' }, 12 },
		{ { 0x82, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
		    'x', 'x' },
		  12 },
		{ { 0x82, 100, 'a' }, 3 }, /* cut off */
	};

	(void)state;
	for (size_t i = 0; i < sizeof(frames) / sizeof(frames[0]); i++) {
		struct received got = { .texts = 0 };
		struct err e = ERR_INIT;

		assert_int_equal(talk(GOOD, frames[i].bytes, frames[i].len,
				      &got, &e),
				 0);
		assert_true(e.code[0]);
		assert_int_equal(got.texts + got.binaries, 0);
	}
}

static void test_handshake_has_a_time_limit(void **state)
{
	struct api_ws *ws = NULL;
	struct err e = ERR_INIT;
	int fds[2];

	(void)state;
	assert_int_equal(sock_pair(fds), 0);
	assert_true(api_ws_open_fd(fds[0], "/x", 50, on_message, NULL, &ws,
				   &e) < 0);
	assert_string_equal(e.code, "handshake_timeout");
	(void)close(fds[1]);
}

static void test_send_queue_is_bounded(void **state)
{
	AUTO(free) char *big = calloc(1, 300000);
	struct api_ws *ws = NULL;
	struct err e = ERR_INIT;
	int fds[2], sent = 0;

	(void)state;
	assert_int_equal(sock_pair(fds), 0);
	assert_int_equal(api_ws_attach(fds[0], on_message, NULL, &ws, &e), 0);
	while (sent < 100 && api_ws_send(ws, false, big, 300000) == 0)
		sent++;
	assert_in_range(sent, 1, API_WS_QUEUE_MAX / 300000 + 1);
	assert_true(api_ws_events(ws) & POLLOUT);
	api_ws_pause(ws, true);
	assert_false(api_ws_events(ws) & POLLIN);
	api_ws_free(ws);
	(void)close(fds[1]);
}

static void test_connect_errors_say_what_to_do(void **state)
{
	struct api_ws *ws = NULL;
	struct err e = ERR_INIT;

	(void)state;
	assert_true(api_ws_open("/nonexistent/s", "/x", 100, on_message, NULL,
				&ws, &e) < 0);
	assert_string_equal(e.code, "daemon_not_running");
	assert_non_null(strstr(e.msg, "/nonexistent/s"));
	assert_non_null(strstr(e.msg, "start it"));
	(void)api_connect_error("/", EACCES, &e);
	assert_string_equal(e.code, "socket_permission");
	assert_non_null(strstr(e.msg, "group"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_accept_value_of_the_rfc),
		cmocka_unit_test(test_messages_arrive_behind_the_handshake),
		cmocka_unit_test(test_handshake_refusals),
		cmocka_unit_test(test_refusal_carries_its_problem),
		cmocka_unit_test(test_frames_that_break_the_rules),
		cmocka_unit_test(test_handshake_has_a_time_limit),
		cmocka_unit_test(test_send_queue_is_bounded),
		cmocka_unit_test(test_connect_errors_say_what_to_do),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
