/* SPDX-License-Identifier: Apache-2.0 */
/* A deliberately simple WebSocket client, able to misbehave. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "rig.h"

struct wsc *wsc_open(struct rig *r, const char *path)
{
	struct wsc *c = calloc(1, sizeof(*c));
	uint64_t end = clock_mono_ms() + 5000;
	char out[512];
	char *body;
	int len;

	assert_non_null(c);
	c->fd = rig_connect(r);
	len = snprintf(out, sizeof(out),
		       "GET %s HTTP/1.1\r\nHost: vmd\r\nUpgrade: websocket\r\n"
		       "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
		       "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
		       path);
	assert_int_equal(send(c->fd, out, (size_t)len, 0), len);
	for (;;) {
		ssize_t n;

		(void)loop_run_once(r->loop, 5);
		n = recv(c->fd, c->in + c->len, sizeof(c->in) - c->len - 1, 0);
		if (n > 0)
			c->len += (size_t)n;
		body = memmem(c->in, c->len, "\r\n\r\n", 4);
		if (body || n == 0 || clock_mono_ms() > end)
			break;
	}
	assert_non_null(body);
	assert_int_equal(sscanf((char *)c->in, "HTTP/1.1 %d", &c->status), 1);
	if (c->status == 101) /* the example of RFC 6455, 1.3 */
		assert_non_null(memmem(c->in, c->len,
				       "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", 28));
	body += 4;
	c->len -= (size_t)(body - (char *)c->in);
	memmove(c->in, body, c->len);
	return c;
}

void wsc_send(struct wsc *c, int opcode, const void *data, size_t len,
	      bool masked)
{
	static uint8_t frame[600000];
	size_t at = 0;

	frame[at++] = (uint8_t)(0x80 | opcode);
	if (len < 126) {
		frame[at++] = (uint8_t)((masked ? 0x80 : 0) | len);
	} else if (len < 65536) {
		frame[at++] = (masked ? 0x80 : 0) | 126;
		frame[at++] = (uint8_t)(len >> 8);
		frame[at++] = (uint8_t)len;
	} else {
		frame[at++] = (masked ? 0x80 : 0) | 127;
		for (int i = 7; i >= 0; i--)
			frame[at++] = (uint8_t)((uint64_t)len >> (8 * i));
	}
	if (masked) {
		memset(frame + at, 0, 4); /* a mask of zeros is a mask */
		at += 4;
	}
	memcpy(frame + at, data, len);
	at += len;
	for (size_t sent = 0; sent < at;) {
		ssize_t n = send(c->fd, frame + sent, at - sent, MSG_NOSIGNAL);

		if (n <= 0)
			break; /* full or closed: the test looks at the rest */
		sent += (size_t)n;
	}
}

void wsc_text(struct wsc *c, const char *text)
{
	wsc_send(c, 1, text, strlen(text), true);
}

static void take(struct wsc *c, int opcode, const uint8_t *data, size_t len)
{
	size_t room;

	if (opcode == 8) {
		c->close_code = len >= 2 ? data[0] << 8 | data[1] : 1005;
		wsc_send(c, 8, data, len, true);
	} else if (opcode == 1) {
		(void)strncat(c->text, (const char *)data, len);
		(void)strcat(c->text, "\n");
	} else if (opcode == 2) {
		c->messages++;
		c->empty_messages += len == 0;
		if (len && data[0] == 1)
			c->out_bytes += len - 1;
		room = sizeof(c->data) - c->data_len;
		if (len > room)
			len = room;
		memcpy(c->data + c->data_len, data, len);
		c->data_len += len;
	}
}

void wsc_poll(struct wsc *c)
{
	ssize_t n;

	if (c->stalled || c->eof)
		return;
	n = recv(c->fd, c->in + c->len, sizeof(c->in) - c->len, 0);
	if (n == 0 || (n < 0 && errno != EAGAIN))
		c->eof = true;
	if (n > 0)
		c->len += (size_t)n;
	for (;;) {
		size_t head = 2, len;

		if (c->len < 2)
			return;
		len = c->in[1] & 127;
		if (len == 126)
			head = 4;
		else if (len == 127)
			head = 10;
		if (c->len < head)
			return;
		if (head > 2) {
			len = 0;
			for (size_t i = 2; i < head; i++)
				len = len << 8 | c->in[i];
		}
		if (c->len < head + len)
			return;
		take(c, c->in[0] & 15, c->in + head, len);
		c->len -= head + len;
		memmove(c->in, c->in + head + len, c->len);
	}
}

void wsc_free(struct wsc *c)
{
	if (c->fd >= 0)
		close(c->fd);
	free(c);
}

void wsc_until(struct rig *r, struct wsc *c, const char *text)
{
	uint64_t end = clock_mono_ms() + 10000;

	while (!strstr(c->text, text) && !c->eof) {
		if (clock_mono_ms() > end)
			fail_msg("no '%s' in 10 s, but: %s", text, c->text);
		(void)loop_run_once(r->loop, 5);
		wsc_poll(c);
	}
	if (!strstr(c->text, text))
		fail_msg("no '%s' before the end, but: %s", text, c->text);
}

void wsc_until_closed(struct rig *r, struct wsc *c)
{
	uint64_t end = clock_mono_ms() + 10000;

	while (!c->eof) {
		if (clock_mono_ms() > end)
			fail_msg("not closed in 10 s: %s", c->text);
		(void)loop_run_once(r->loop, 5);
		wsc_poll(c);
	}
}
