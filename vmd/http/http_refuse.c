/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers that do not come from the library: to what is no request, and while a body
 * is still on its way, when the library takes no answer. They are the last ones of
 * their connection.
 *
 * What the library writes while no handler has answered is its own. It is HTML and
 * cannot be replaced there, and comes with two heads when a header is at fault: it
 * is read for its status and dropped.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "vmd/http/http_internal.h"

#define CONTINUE "HTTP/1.1 100 Continue\r\n\r\n"

/* What is in c->out is the answer, and the last one. */
static bool send_own(struct http_connection *c)
{
	c->own = true;
	http_half_close(c);
	c->state = HTTP_SENDING;
	http_connection_wait(c);
	return true;
}

bool http_refuse(struct http_connection *c, const struct err *e)
{
	http_put_problem(&c->out, e);
	return send_own(c);
}

bool http_answer_early(struct http_connection *c)
{
	struct request *r = c->request;

	if (http_put_answer(&c->out, &r->answer, r->head_only) < 0) {
		c->state = HTTP_OVER;
		return false;
	}
	r->sent = true;
	return send_own(c);
}

bool http_library_spoke(struct http_connection *c, unsigned *ret_status)
{
	const size_t len = strlen(CONTINUE), at = strlen("HTTP/1.1 ");
	char text[256];
	ssize_t n;

	*ret_status = 0;
	do
		n = recv(c->half.pair, text, sizeof(text), 0);
	while (n < 0 && errno == EINTR);
	if (n >= (ssize_t)len && c->request &&
	    memcmp(text, CONTINUE, len) == 0) {
		if (!c->request->answer.status)
			(void)buf_append(&c->out, text, len);
		n -= (ssize_t)len;
		memmove(text, text + len, (size_t)n);
		if (n == 0)
			return false;
	}
	for (size_t i = at; i < at + 3 && (ssize_t)i < n; i++)
		*ret_status = *ret_status * 10 + (unsigned)(text[i] - '0');
	return n >= 0 || errno != EAGAIN;
}

bool http_refuse_as_library(struct http_connection *c, unsigned status)
{
	struct err e = c->refusal;

	if (e.kind != ERR_NONE)
		return http_refuse(c, &e);
	if (status == 505)
		(void)err_set(&e, ERR_UNSUPPORTED, "http_version", 0,
			      "that version of HTTP is not spoken here: use "
			      "HTTP/1.1");
	else if (status == 431)
		(void)err_set(&e, ERR_INVALID, "headers_too_large", 0,
			      "the head of the request is too large");
	else if (c->request)
		(void)err_set(&e, ERR_INVALID, "bad_request", 0,
			      "the request is no HTTP: its body is malformed");
	else
		(void)err_set(
			&e, ERR_INVALID, "bad_request", 0,
			"the request is no HTTP: it must begin with METHOD "
			"PATH HTTP/1.1, and with a header Host; "
			"Content-Length must be a number of bytes");
	return http_refuse(c, &e);
}
