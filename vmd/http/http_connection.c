/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection: bytes in, bytes out, one request after the other. advance()
 * does the next step and says whether there may be another one; only pump(), from
 * the loop, calls it, and only pump() frees, so that nothing vanishes under a
 * caller.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "vmd/http/http_internal.h"

enum {
	READ_BYTES = 65536, /* with one call */
	STREAM_BYTES = 32768, /* of a stream, at once */
	CHUNK_HEAD = 10, /* "00008000\r\n" */
	LINGER_READS = 16, /* in one turn */
	STEPS = 32, /* in one turn: then others have theirs */
};

void http_connection_free(struct http_connection *c)
{
	loop_remove(&c->source);
	loop_timer_disarm(&c->slow);
	loop_timer_disarm(&c->go);
	LIST_REMOVE(c, link);
	if (c->request) {
		c->request->dead = true;
		http_request_free(c->request);
	}
	http_share_give(&c->http->shares, c->member);
	http_head_done(&c->head);
	buf_done(&c->in);
	buf_done(&c->out);
	close_fd(&c->fd);
	free(c);
}

void http_connection_go(struct http_connection *c)
{
	if (!c->http->closing && !loop_timer_armed(&c->go))
		loop_timer_arm_soon(&c->go);
}

static void client_must_act(struct http_connection *c)
{
	loop_timer_arm(&c->slow, c->http->daemon->config->slow_ms);
}

/* 1: more bytes are in c->in; 0: none now; -1: the client has gone. */
static int fill(struct http_connection *c)
{
	uint8_t *at = buf_reserve(&c->in, READ_BYTES);
	ssize_t n;

	if (!at)
		return -1;
	do
		n = recv(c->fd, at, READ_BYTES, 0);
	while (n < 0 && errno == EINTR);
	if (n > 0)
		buf_commit(&c->in, (size_t)n);
	if (n > 0)
		return 1;
	return n < 0 && errno == EAGAIN ? 0 : -1;
}

static bool over(struct http_connection *c)
{
	c->state = HTTP_OVER;
	return false;
}

/* After fill(): whether there is a next step. */
static bool filled(struct http_connection *c, int rc)
{
	return rc < 0 ? over(c) : rc > 0;
}

/* What is no request gets its answer without one. */
static bool refuse_malformed(struct http_connection *c, const struct err *e)
{
	c->last = true;
	http_put_problem(&c->out, e);
	c->state = HTTP_SENDING;
	client_must_act(c);
	return true;
}

static bool read_head(struct http_connection *c)
{
	struct err e = ERR_INIT;
	size_t used = 0;
	int rc = http_head_parse(&c->head, buf_head(&c->in), buf_len(&c->in),
				 &used, &e);

	if (rc < 0)
		return refuse_malformed(c, &e);
	if (rc == 0)
		return filled(c, fill(c));
	buf_consume(&c->in, used);
	c->last = c->head.close;
	c->stalled = false;
	http_body_begin(&c->body, &c->head);
	c->state = HTTP_BODY;
	if (http_request_new(c) < 0)
		return over(c);
	/* A tar may take its time; other bodies have what is left of it. */
	if (c->head.expects && !c->request->answer.status &&
	    !http_body_over(&c->body))
		(void)buf_printf(&c->out, "HTTP/1.1 100 Continue\r\n\r\n");
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
static bool skip_body(struct http_connection *c)
{
	c->state = HTTP_WAITING;
	if (c->body.chunked || c->body.left > buf_len(&c->in)) {
		c->last = true;
	} else {
		buf_consume(&c->in, (size_t)c->body.left);
		http_body_took(&c->body, (size_t)c->body.left);
	}
	return true;
}

static bool read_body(struct http_connection *c)
{
	struct request *r = c->request;
	struct err e = ERR_INIT;
	size_t len, taken;
	int64_t skip;

	if (flush(c) < 0)
		return over(c);
	if (http_body_over(&c->body)) {
		loop_timer_disarm(&c->slow);
		c->state = HTTP_WAITING;
		if (!r->answer.status)
			http_request_dispatch(r);
		return true;
	}
	if (r->answer.status)
		return skip_body(c);
	if (c->stalled)
		return false;
	skip = http_body_next(&c->body, buf_head(&c->in), buf_len(&c->in), &len,
			      &e);
	if (skip < 0) {
		request_fail(r, &e);
		return true;
	}
	buf_consume(&c->in, (size_t)skip);
	if (len == 0)
		return http_body_over(&c->body) || filled(c, fill(c));
	taken = http_request_take(r, (const char *)buf_head(&c->in), len);
	if (taken == 0) {
		c->stalled = !r->answer.status;
		return !c->stalled;
	}
	buf_consume(&c->in, taken);
	http_body_took(&c->body, taken);
	if (r->route->body == API_BODY_TAR)
		client_must_act(c); /* it did */
	return true;
}

static bool begin_answer(struct http_connection *c)
{
	struct request *r = c->request;

	if (!r->answer.status || http_request_held(r))
		return false;
	http_answer_condition(r);
	/* A stream without a known length ends with the connection for those
	 * who know no chunks. */
	c->chunked = r->answer.read && !c->head.old && !r->head_only;
	c->text_sent = 0;
	c->stream_over = !r->answer.read || r->head_only;
	if (http_put_head(&c->out, &r->answer, c->head.old, c->last) < 0)
		return over(c);
	r->sent = true;
	c->stalled = false;
	c->state = HTTP_SENDING;
	client_must_act(c);
	return true;
}

/* The next part of a stream into c->out: 1, 0 when there is none yet, -1. */
static int fill_stream(struct http_connection *c)
{
	struct http_answer *a = &c->request->answer;
	size_t head = c->chunked ? CHUNK_HEAD : 0;
	uint8_t *at = buf_reserve(&c->out, head + STREAM_BYTES + 2);
	char size[CHUNK_HEAD + 1];
	ssize_t n;

	if (!at)
		return -1;
	n = a->read(a->data, (char *)at + head, STREAM_BYTES);
	if (n == HTTP_STREAM_LATER)
		return 0;
	if (n == HTTP_STREAM_END) {
		c->stream_over = true;
		if (!c->chunked)
			return 1;
		return buf_printf(&c->out, "0\r\n%s\r\n", a->trailer) < 0 ? -1
									  : 1;
	}
	if (n < 0)
		return -1; /* no end of chunks: the client sees that */
	if (c->chunked) {
		(void)snprintf(size, sizeof(size), "%08x\r\n", (unsigned)n);
		for (size_t i = 0; i < head; i++) /* without its NUL */
			at[i] = (uint8_t)size[i];
		at[head + (size_t)n] = '\r';
		at[head + (size_t)n + 1] = '\n';
	}
	buf_commit(&c->out, head + (size_t)n + (c->chunked ? 2 : 0));
	return 1;
}

static int send_text(struct http_connection *c)
{
	struct http_answer *a = &c->request->answer;

	while (c->text_sent < a->len) {
		ssize_t n = send(c->fd, a->text + c->text_sent,
				 a->len - c->text_sent, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? 0 : -1;
		c->text_sent += (size_t)n;
		c->moved = true;
	}
	return 1;
}

/* Everything was sent: what follows on this connection? */
static bool end_answer(struct http_connection *c)
{
	struct request *r = c->request;

	if (r && http_is_upgrade(r)) {
		loop_remove(&c->source);
		http_upgrade(r, take_fd(&c->fd), buf_head(&c->in),
			     buf_len(&c->in));
		return over(c);
	}
	if (r) {
		c->request = NULL;
		http_request_free(r);
	}
	http_head_done(&c->head);
	client_must_act(c);
	buf_trim(&c->out);
	if (!c->last) {
		/* The newest first: it was just used. */
		LIST_REMOVE(c, link);
		LIST_INSERT_HEAD(&c->http->connections, c, link);
		c->state = HTTP_HEAD;
		buf_trim(&c->in);
		return true;
	}
	/* Without an end of the body more of it may come. */
	if ((r && http_body_over(&c->body)) || shutdown(c->fd, SHUT_WR) < 0)
		return over(c);
	buf_consume(&c->in, buf_len(&c->in));
	c->state = HTTP_LINGERING;
	return true;
}

static bool send_answer(struct http_connection *c)
{
	struct request *r = c->request;
	int rc;

	c->moved = false;
	rc = flush(c);
	if (rc > 0 && r && r->answer.text && !r->head_only)
		rc = send_text(c);
	if (rc < 0)
		return over(c);
	if (rc == 0) {
		if (c->moved) /* the client is alive */
			client_must_act(c);
		return false;
	}
	if (!r || c->stream_over)
		return end_answer(c);
	if (c->stalled)
		return false;
	rc = fill_stream(c);
	if (rc < 0)
		return over(c);
	c->stalled = rc == 0;
	if (c->stalled)
		loop_timer_disarm(&c->slow); /* it is our turn */
	else
		client_must_act(c);
	return !c->stalled;
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
	    (c->state == HTTP_BODY && !c->stalled))
		events |= EPOLLIN;
	if (buf_len(&c->out) > 0 || (c->state == HTTP_SENDING && !c->stalled))
		events |= EPOLLOUT;
	if (events != c->source.events)
		(void)loop_modify(&c->source, events);
	if (c->stalled)
		loop_timer_disarm(&c->slow);
}

static void pump(struct http_connection *c)
{
	int steps = 0;

	while (steps < STEPS && advance(c))
		steps++;
	if (steps == STEPS)
		http_connection_go(c);
	if (c->state == HTTP_OVER)
		http_connection_free(c);
	else
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

	if (c->stalled && c->state == HTTP_BODY)
		client_must_act(c);
	c->stalled = false;
	pump(c);
}

static void on_slow(struct loop_timer *timer)
{
	struct http_connection *c = timer->data;
	struct err e = ERR_INIT;

	if ((c->state == HTTP_HEAD && buf_len(&c->in) == 0) ||
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
			(void)refuse_malformed(c, &e);
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
	};
	loop_timer_init(h->daemon->loop, &c->slow, on_slow, c);
	loop_timer_init(h->daemon->loop, &c->go, on_go, c);
	LIST_INSERT_HEAD(&h->connections, c, link);
	client_must_act(c);
	if (loop_add(h->daemon->loop, &c->source, fd, EPOLLIN, on_socket, c) <
	    0)
		http_connection_free(c);
}
