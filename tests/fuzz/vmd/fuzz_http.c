/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What clients send to the API, in two pieces, to the real server on its socket:
 * the front, libmicrohttpd and the handlers of a daemon. What comes back is our
 * answers and nothing else, and nothing stays behind.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "rig.h"
#include "vmd/http/http_gate.h"

enum {
	TURNS = 400, /* of the loop, for one request */
	ANSWER_MAX = 1 << 20
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct rig *rig;

static void end(void)
{
	void *state = rig;

	(void)rig_teardown(&state);
}

static void start(void)
{
	void *state = NULL;

	if (rig)
		return;
	(void)rig_setup(&state);
	rig = state;
	(void)atexit(end);
}

/* What passes in pieces of `step` bytes: bytes and whether it ended; -1. */
static int64_t passed(bool body, const uint8_t *data, size_t size, size_t step)
{
	struct http_gate gate;
	size_t at = 0;

	if (body)
		http_gate_body(&gate, true, 0);
	else
		http_gate_head(&gate);
	while (at < size && !http_gate_over(&gate)) {
		size_t have = size - at < step ? size - at : step;
		int64_t n = http_gate_pass(&gate, data + at, have, NULL);

		if (n < 0)
			return -1;
		if ((size_t)n > have ||
		    ((size_t)n < have && !http_gate_over(&gate)))
			abort();
		at += (size_t)n;
	}
	return (int64_t)at * 2 + http_gate_over(&gate);
}

/* 1: something came; 0: not now; -1: the server closed. */
static int take(int fd, struct buf *in)
{
	uint8_t *at = buf_reserve(in, 65536);
	ssize_t n = at ? recv(fd, at, 65536, MSG_DONTWAIT) : 0;

	if (n > 0)
		buf_commit(in, (size_t)n);
	return n > 0 ? 1 : n < 0 ? 0 : -1;
}

static void ask(const uint8_t *data, size_t size, struct buf *in)
{
	size_t half = size / 2, at = 0;
	int fd = rig_connect(rig), rc = 0;

	for (int i = 0; i < TURNS && rc >= 0; i++) {
		size_t to = i < 4 ? half : size;
		ssize_t n = 0;

		if (at < to)
			n = send(fd, data + at, to - at,
				 MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n > 0)
			at += (size_t)n;
		if (i == 8)
			(void)shutdown(fd, SHUT_WR);
		(void)loop_run_once(rig->loop, 0);
		rc = take(fd, in);
	}
	close(fd);
	for (int i = 0; http_connections(rig->http) > 0; i++) {
		if (i == TURNS)
			abort();
		(void)loop_run_once(rig->loop, 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf in = BUF_INIT(ANSWER_MAX);
	const char *text;

	start();
	if (passed(false, data, size, 1) != passed(false, data, size, 4096) ||
	    passed(true, data, size, 1) != passed(true, data, size, 4096))
		abort();
	ask(data, size, &in);
	text = (const char *)buf_head(&in);
	/* The library's own answers are HTML. */
	if (buf_len(&in) &&
	    (buf_len(&in) < 12 || memcmp(text, "HTTP/1.1 ", 9) != 0 ||
	     memmem(text, buf_len(&in), "<html", 5)))
		abort();
	buf_done(&in);
	return 0;
}
