/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The front of one connection: bytes from the client to the library and back, one
 * request after the other. advance() does the next step and says whether there may
 * be another one; only pump(), from the loop, calls it, and only pump() frees, so
 * that nothing vanishes under a caller.
 *
 * A request's bytes pass as the gate lets them; those behind it wait here until it
 * is answered. Answers that do not come from the library: http_refuse.c.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "vmd/http/http_internal.h"

enum {
	READ_BYTES = 65536, /* of the client, with one call */
	ANSWER_BYTES = 32768, /* of the library */
	WAIT_PARTS = 64, /* of the time that a client has: when it is renewed */
	BLANK_LINES_MAX = 4, /* before a request: some clients send one */
	LINGER_READS = 16, /* in one turn */
	STEPS = 32, /* in one turn: then others have theirs */
};

void http_connection_free(struct http_connection *c)
{
	loop_remove(&c->source);
	loop_timer_disarm(&c->slow);
	loop_timer_disarm(&c->go);
	LIST_REMOVE(c, link);
	if (c->request)
		c->request->dead = true;
	http_half_close(c);
	if (c->request)
		http_request_free(c->request);
	http_share_give(&c->http->shares, c->member);
	http_head_done(&c->head);
	buf_done(&c->in);
	buf_done(&c->out);
	close_fd(&c->fd);
	c->dead = true;
	if (!c->half.mhd)
		free(c);
}

void http_connection_go(struct http_connection *c)
{
	if (c->busy)
		c->again = true;
	else if (!c->http->closing && !loop_timer_armed(&c->go))
		loop_timer_arm_soon(&c->go);
}

void http_connection_wait(struct http_connection *c)
{
	uint64_t ms = c->http->daemon->config->slow_ms;

	/* Several steps of one turn arm it: the loop need not hear of each. */
	if (!loop_timer_armed(&c->slow) ||
	    c->slow.deadline_ms < clock_mono_ms() + ms - ms / WAIT_PARTS)
		loop_timer_arm(&c->slow, ms);
}

/* Up to max bytes more into b: how many; 0: none now; -1: there will be none. */
static ssize_t fill(struct buf *b, int fd, size_t max)
{
	uint8_t *at = buf_reserve(b, max);
	ssize_t n;

	if (!at)
		return -1;
	do
		n = recv(fd, at, max, 0);
	while (n < 0 && errno == EINTR);
	if (n > 0) {
		buf_commit(b, (size_t)n);
		return n;
	}
	return n < 0 && errno == EAGAIN ? 0 : -1;
}

static bool over(struct http_connection *c)
{
	c->state = HTTP_OVER;
	return false;
}

/* Bytes of the client are needed: whether there is a next step. */
static bool more(struct http_connection *c)
{
	ssize_t n = fill(&c->in, c->fd, READ_BYTES);

	return n < 0 ? over(c) : n > 0;
}

/* Lets the library have what the gate lets pass: 1 something did, 0 nothing is
 * there, negative: *e. */
static int pass_on(struct http_connection *c, struct err *e)
{
	struct http_gate gate = c->gate;
	int64_t n = http_gate_pass(&gate, buf_head(&c->in), buf_len(&c->in), e);
	ssize_t sent;

	if (n <= 0)
		return (int)n;
	do
		sent = send(c->half.pair, buf_head(&c->in), (size_t)n,
			    MSG_NOSIGNAL);
	while (sent < 0 && errno == EINTR);
	if (sent < 0)
		sent = errno == EAGAIN ? 0 : n; /* it closed: it says why */
	if (sent == n)
		c->gate = gate;
	else
		(void)http_gate_pass(&c->gate, buf_head(&c->in), (size_t)sent,
				     NULL);
	buf_consume(&c->in, (size_t)sent);
	http_mhd_run(c->http);
	return 1;
}

static bool skip_blank_lines(struct http_connection *c)
{
	const char *text = (const char *)buf_head(&c->in);

	if (c->gate.total > 0 || c->blank_lines == BLANK_LINES_MAX ||
	    buf_len(&c->in) < 2 || memcmp(text, "\r\n", 2) != 0)
		return false;
	buf_consume(&c->in, 2);
	c->blank_lines++;
	return true;
}

static bool read_head(struct http_connection *c)
{
	struct err e = ERR_INIT;
	unsigned status;
	int rc;

	if (skip_blank_lines(c))
		return true;
	/* Half a blank line is none yet. */
	if (buf_len(&c->in) == 0 ||
	    (c->gate.total == 0 && buf_len(&c->in) == 1 &&
	     buf_head(&c->in)[0] == '\r'))
		return more(c);
	if (c->gate.total == 0 && !c->half.mhd && http_half_open(c) < 0)
		return over(c);
	rc = pass_on(c, &e);
	if (rc < 0)
		return http_refuse(c, &e);
	if (!http_gate_over(&c->gate) && c->half.mhd)
		return more(c);
	if (!c->request) { /* it closed, or answered on its own */
		(void)http_library_spoke(c, &status);
		return http_refuse_as_library(c, status);
	}
	http_gate_body(&c->gate, c->head.chunked, c->head.length);
	c->state = HTTP_BODY;
	return true;
}

/* Writes what is in c->out: 1 all of it, 0 not yet, -1 the client has gone. */
static int flush(struct http_connection *c)
{
	while (buf_len(&c->out) > 0) {
		ssize_t n = send(c->fd, buf_head(&c->out), buf_len(&c->out),
				 MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? 0 : -1;
		buf_consume(&c->out, (size_t)n);
		c->moved = true;
	}
	return 1;
}

/* Refused before its body came: nobody wants that. When it is here already the
 * connection can go on without it. */
static bool body_is_here(const struct http_connection *c)
{
	return !c->head.chunked && c->gate.left <= buf_len(&c->in);
}

static bool read_body(struct http_connection *c)
{
	struct err e = ERR_INIT;
	unsigned status;
	int rc;

	if (c->half.whole) {
		c->state = c->half.queued ? HTTP_SENDING : HTTP_WAITING;
		return true;
	}
	if (c->request->answer.status && !body_is_here(c))
		return http_answer_early(c);
	if (c->half.suspended)
		return false;
	if (http_library_spoke(c, &status))
		return http_refuse_as_library(c, status);
	if (flush(c) < 0)
		return over(c);
	if (http_gate_over(&c->gate)) {
		/* It has not looked at all of it yet, or awaits more. */
		if (!c->http->unfinished)
			return http_refuse_as_library(c, 400);
		http_mhd_run(c->http);
		return true;
	}
	rc = pass_on(c, &e);
	if (rc < 0) {
		request_fail(c->request, &e);
		return http_answer_early(c);
	}
	return rc > 0 || more(c);
}

static bool begin_answer(struct http_connection *c)
{
	struct request *r = c->request;

	if (!r->answer.status || http_request_held(r))
		return false;
	if (http_half_answer(c) < 0)
		return over(c);
	http_half_resume(c);
	http_mhd_run(c->http);
	c->state = HTTP_SENDING;
	return true;
}

static void await_request(struct http_connection *c)
{
	/* The newest first: it was just used. */
	LIST_REMOVE(c, link);
	LIST_INSERT_HEAD(&c->http->connections, c, link);
	http_half_reset(c);
	http_gate_head(&c->gate);
	c->blank_lines = 0;
	c->state = HTTP_HEAD;
	buf_trim(&c->in);
}

/* Everything was sent: what follows on this connection? */
static bool end_answer(struct http_connection *c)
{
	struct request *r = c->request;

	if (r && http_is_upgrade(r)) {
		http_half_close(c);
		loop_remove(&c->source);
		http_upgrade(r, take_fd(&c->fd), buf_head(&c->in),
			     buf_len(&c->in));
		return over(c);
	}
	if (!c->half.mhd) /* it refers to the request's text until then */
		http_half_close(c);
	if (r) {
		c->request = NULL;
		http_request_free(r);
	}
	http_head_done(&c->head);
	http_connection_wait(c);
	buf_trim(&c->out);
	if (c->half.mhd) {
		await_request(c);
		return true;
	}
	/* Without an end of the body more of it may come. */
	if (!c->own || shutdown(c->fd, SHUT_WR) < 0)
		return over(c);
	buf_consume(&c->in, buf_len(&c->in));
	c->state = HTTP_LINGERING;
	return true;
}

/* The next part of the answer into c->out. */
static bool read_answer(struct http_connection *c)
{
	bool complete = c->half.complete;
	ssize_t n = 0;

	if (!c->half.ended) {
		n = fill(&c->out, c->half.pair, ANSWER_BYTES);
		c->half.ended = n < 0 || (complete && n < ANSWER_BYTES);
	}
	if (n > 0) {
		http_connection_wait(c);
		/* It has room to write more. */
		if (!c->half.complete && !c->half.suspended)
			http_mhd_run(c->http);
		return true;
	}
	if (complete)
		return end_answer(c);
	if (c->half.ended) /* in the middle: the client shall see that */
		return over(c);
	if (c->half.suspended)
		loop_timer_disarm(&c->slow); /* it is our turn */
	else
		http_mhd_run(c->http);
	return !c->half.suspended;
}

static bool send_answer(struct http_connection *c)
{
	int rc;

	c->moved = false;
	rc = flush(c);
	if (rc < 0)
		return over(c);
	if (rc == 0) {
		if (c->moved) /* the client is alive */
			http_connection_wait(c);
		return false;
	}
	return c->own ? end_answer(c) : read_answer(c);
}

/* A client that still sends would miss the answer if the socket were closed. */
static bool linger(struct http_connection *c)
{
	uint8_t waste[4096];
	ssize_t n = 0;

	for (int i = 0; i < LINGER_READS; i++) {
		n = recv(c->fd, waste, sizeof(waste), 0);
		if (n <= 0)
			break;
	}
	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		return over(c);
	return false;
}

static bool advance(struct http_connection *c)
{
	switch (c->state) {
	case HTTP_HEAD:
		return read_head(c);
	case HTTP_BODY:
		return read_body(c);
	case HTTP_WAITING:
		return begin_answer(c);
	case HTTP_SENDING:
		return send_answer(c);
	case HTTP_LINGERING:
		return linger(c);
	case HTTP_OVER:
		break;
	}
	return false;
}

/* EPOLLHUP and EPOLLERR come unasked: the client has gone. One that only ended
 * its sending still waits for the answer. */
static void update(struct http_connection *c)
{
	uint32_t events = 0;

	if (c->state == HTTP_HEAD || c->state == HTTP_LINGERING ||
	    (c->state == HTTP_BODY && !c->half.suspended))
		events |= EPOLLIN;
	if (buf_len(&c->out) > 0 ||
	    (c->state == HTTP_SENDING && !c->half.suspended))
		events |= EPOLLOUT;
	if (events != c->source.events)
		(void)loop_modify(&c->source, events);
	if (c->state == HTTP_BODY && c->half.suspended)
		loop_timer_disarm(&c->slow);
}

static void pump(struct http_connection *c)
{
	int steps = 0;

	c->busy = true;
	while (steps < STEPS && advance(c))
		steps++;
	c->busy = false;
	if (c->state == HTTP_OVER) {
		http_connection_free(c);
		return;
	}
	if (steps == STEPS || c->again)
		http_connection_go(c);
	c->again = false;
	update(c);
}

static void on_socket(struct loop_source *source, uint32_t events)
{
	struct http_connection *c = source->data;

	/* What a client sent before it went is not worth doing. */
	if (events & (EPOLLHUP | EPOLLERR))
		c->state = HTTP_OVER;
	pump(c);
}

static void on_go(struct loop_timer *timer)
{
	struct http_connection *c = timer->data;

	/* One that has the whole request waits for the answer, and would ask the
	 * handler again. */
	if (c->half.suspended && ((c->state == HTTP_BODY && !c->half.whole) ||
				  c->state == HTTP_SENDING)) {
		if (c->state == HTTP_BODY)
			http_connection_wait(c);
		http_half_resume(c);
		http_mhd_run(c->http);
	}
	pump(c);
}

static void on_slow(struct loop_timer *timer)
{
	struct http_connection *c = timer->data;
	struct err e = ERR_INIT;

	if ((c->state == HTTP_HEAD && buf_len(&c->in) == 0 &&
	     c->gate.total == 0) ||
	    c->state == HTTP_SENDING || c->state == HTTP_LINGERING) {
		c->state = HTTP_OVER;
	} else {
		(void)err_set(
			&e, ERR_TIMEOUT, "request_timeout", 0,
			"the request did not come whole in %llu s",
			(unsigned long long)c->http->daemon->config->slow_ms /
				1000);
		if (c->state == HTTP_BODY)
			request_fail(c->request, &e);
		else
			(void)http_refuse(c, &e);
	}
	pump(c);
}

void http_connection_new(struct http *h, int fd, uid_t uid,
			 struct http_member *member)
{
	struct http_connection *c = calloc(1, sizeof(*c));

	if (!c) {
		close_fd(&fd);
		http_share_give(&h->shares, member);
		return;
	}
	*c = (struct http_connection){
		.http = h,
		.member = member,
		.uid = uid,
		.fd = fd,
		.source = LOOP_SOURCE_INIT,
		.in = BUF_INIT(HTTP_HEAD_MAX + 2 * READ_BYTES),
		.out = BUF_INIT(HTTP_HEAD_MAX + 2 * READ_BYTES),
		.half.pair = -1,
	};
	loop_timer_init(h->daemon->loop, &c->slow, on_slow, c);
	loop_timer_init(h->daemon->loop, &c->go, on_go, c);
	LIST_INSERT_HEAD(&h->connections, c, link);
	http_gate_head(&c->gate);
	http_connection_wait(c);
	if (loop_add(h->daemon->loop, &c->source, fd, EPOLLIN, on_socket, c) <
	    0)
		http_connection_free(c);
}
