/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libmicrohttpd: it reads requests, writes answers and keeps the state of both.
 *
 * It has no thread, no listening socket and no timer. All it waits for are bytes
 * in socket pairs, and the other end of each is held by a front
 * (http_connection.c), which calls http_mhd_run() whenever it wrote or read there:
 * so its epoll descriptor is nobody's event. Its callbacks only note what
 * happened; the front acts on it afterwards, so that nothing vanishes under the
 * library.
 *
 * Source: libmicrohttpd 0.9.75 (Debian 12).
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/sock.h"
#include "vmd/http/http_internal.h"

enum {
	POOL_BYTES = 45056, /* for each: a head, its index, an answer's head */
	STREAM_BYTES = 32768, /* of a stream, at once, without chunks */
	RUNS = 64, /* in one turn: then others have theirs */
	CLOSING_RUNS = 8,
	MORE_MAX = 64, /* of those that it has not let go of yet */
};

static struct http_connection *front_of(struct MHD_Connection *mhd)
{
	return MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT)
		->socket_context;
}

static void suspend(struct http_connection *c)
{
	c->half.suspended = true;
	MHD_suspend_connection(c->half.mhd);
}

/* Before the library takes the target apart. */
static void *on_target(void *cls, const char *target,
		       struct MHD_Connection *mhd)
{
	struct http_connection *c = front_of(mhd);

	(void)cls;
	/* A second request out of one: nothing of it is done. */
	if (c->request)
		c->half.closing = true;
	free(c->half.target);
	c->half.target = strdup(target);
	return NULL;
}

/* The path stays as it came: the route table decodes it, once. */
static size_t keep_raw(void *cls, struct MHD_Connection *mhd, char *text)
{
	(void)cls;
	(void)mhd;
	return strlen(text);
}

static enum MHD_Result on_head(struct http_connection *c, const char *method,
			       const char *version)
{
	struct http_half *half = &c->half;

	/* Else a part of this head would be read as another request. */
	if (!http_gate_over(&c->gate) ||
	    MHD_get_connection_info(half->mhd,
				    MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE)
			    ->header_size != c->gate.total)
		return MHD_NO;
	if (half->target &&
	    http_head_take(&c->head, half->mhd, method, half->target, version,
			   &c->refusal) == 0 &&
	    http_request_new(c) == 0)
		return MHD_YES;
	if (c->refusal.kind == ERR_NONE)
		(void)err_sys(&c->refusal, ENOMEM, "reading a request");
	return MHD_NO; /* the front answers */
}

static void on_body(struct http_connection *c, const char *data, size_t *len)
{
	struct request *r = c->request;

	while (*len) {
		size_t n = *len;

		if (!r->answer.status)
			n = http_request_take(r, data, *len);
		if (n == 0 && !r->answer.status) {
			suspend(c);
			return;
		}
		data += n;
		*len -= n;
		if (n && r->route && r->route->body == API_BODY_TAR)
			http_connection_wait(c); /* it may take its time */
	}
}

static enum MHD_Result on_whole(struct http_connection *c)
{
	struct request *r = c->request;

	if ((c->head.chunked || c->head.length) &&
	    (c->state != HTTP_BODY || !http_gate_over(&c->gate)))
		return MHD_NO; /* as in on_head() */
	c->half.whole = true;
	if (!r->answer.status)
		http_request_dispatch(r);
	if (r->answer.status && !http_request_held(r))
		return http_half_answer(c) < 0 ? MHD_NO : MHD_YES;
	loop_timer_disarm(&c->slow);
	suspend(c);
	return MHD_YES;
}

/* Called for a request's head, for each part of its body, and when it is whole. */
static enum MHD_Result on_access(void *cls, struct MHD_Connection *mhd,
				 const char *url, const char *method,
				 const char *version, const char *data,
				 size_t *len, void **context)
{
	struct http_connection *c = front_of(mhd);

	(void)cls;
	(void)url;
	(void)context;
	if (c->half.closing)
		return MHD_NO;
	if (!c->request)
		return on_head(c, method, version);
	if (*len == 0)
		return on_whole(c);
	on_body(c, data, len);
	return MHD_YES;
}

static ssize_t on_read(void *cls, uint64_t pos, char *buf, size_t max)
{
	struct http_connection *c = cls;
	struct http_answer *a;
	ssize_t n;

	(void)pos;
	if (c->half.closing) /* the request may be gone */
		return MHD_CONTENT_READER_END_WITH_ERROR;
	a = &c->request->answer;
	n = a->read(a->data, buf, max);
	if (n > 0)
		return n;
	if (n == HTTP_STREAM_LATER) {
		suspend(c);
		return 0;
	}
	if (n != HTTP_STREAM_END) /* no end of chunks: the client sees that */
		return MHD_CONTENT_READER_END_WITH_ERROR;
	if (a->trailer_name)
		(void)MHD_add_response_footer(c->half.response, a->trailer_name,
					      a->trailer);
	return MHD_CONTENT_READER_END_OF_STREAM;
}

static void on_upgrade(void *cls, struct MHD_Connection *mhd, void *context,
		       const char *extra, size_t extra_len, MHD_socket fd,
		       struct MHD_UpgradeResponseHandle *upgrade)
{
	struct http_connection *c = cls;

	(void)mhd;
	(void)context;
	(void)extra; /* the front holds what follows a request */
	(void)extra_len;
	(void)fd;
	c->half.upgrade = upgrade;
	c->half.complete = true;
}

static struct MHD_Response *response_new(struct http_connection *c)
{
	struct http_answer *a = &c->request->answer;
	struct MHD_Response *response;

	if (http_is_upgrade(c->request))
		return MHD_create_response_for_upgrade(on_upgrade, c);
	if (!a->read)
		return MHD_create_response_from_buffer(
			a->len, a->text ? a->text : (char *)(uintptr_t) "",
			MHD_RESPMEM_PERSISTENT);
	response = MHD_create_response_from_callback(
		MHD_SIZE_UNKNOWN, STREAM_BYTES, on_read, c, NULL);
	/* To a HEAD the library would send the end of the chunks. */
	if (response && c->request->head_only)
		(void)MHD_set_response_options(
			response, MHD_RF_HTTP_1_0_COMPATIBLE_STRICT,
			MHD_RO_END);
	return response;
}

int http_half_answer(struct http_connection *c)
{
	struct request *r = c->request;
	struct MHD_Response *response;
	const char *name, *value;
	size_t at = 0;

	http_answer_condition(r);
	response = response_new(c);
	if (!response)
		return -ENOMEM;
	while (http_answer_header(&r->answer, &at, &name, &value))
		if (MHD_add_response_header(response, name, value) != MHD_YES)
			log_error("http: the header %s is not sent", name);
	if (MHD_queue_response(c->half.mhd, r->answer.status, response) !=
	    MHD_YES) {
		MHD_destroy_response(response);
		return -ENOMEM;
	}
	c->half.response = response;
	c->half.queued = true;
	r->sent = true;
	http_connection_wait(c);
	return 0;
}

static void on_completed(void *cls, struct MHD_Connection *mhd, void **context,
			 enum MHD_RequestTerminationCode why)
{
	struct http_connection *c = front_of(mhd);

	(void)cls;
	(void)context;
	if (c->half.queued && why == MHD_REQUEST_TERMINATED_COMPLETED_OK)
		c->half.complete = true;
}

static void on_connection(void *cls, struct MHD_Connection *mhd, void **context,
			  enum MHD_ConnectionNotificationCode why)
{
	struct http *h = cls;
	struct http_connection *c;

	if (why == MHD_CONNECTION_NOTIFY_STARTED) {
		*context = h->opening;
		h->opening->half.mhd = mhd;
		return;
	}
	c = *context;
	c->half.mhd = NULL;
	if (c->dead)
		free(c);
}

int http_mhd_start(struct http *h, struct err *e)
{
	h->mhd = MHD_start_daemon(
		MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET |
			MHD_ALLOW_SUSPEND_RESUME | MHD_ALLOW_UPGRADE,
		0, NULL, NULL, on_access, h, MHD_OPTION_URI_LOG_CALLBACK,
		on_target, h, MHD_OPTION_NOTIFY_COMPLETED, on_completed, h,
		MHD_OPTION_NOTIFY_CONNECTION, on_connection, h,
		MHD_OPTION_UNESCAPE_CALLBACK, keep_raw, NULL,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)POOL_BYTES,
		MHD_OPTION_CONNECTION_LIMIT, (unsigned)h->shares.max + MORE_MAX,
		MHD_OPTION_CONNECTION_TIMEOUT, 0u, MHD_OPTION_END);
	return h->mhd ? 0
		      : err_set(e, ERR_INTERNAL, "http_failed", 0,
				"the HTTP server cannot be started");
}

void http_mhd_stop(struct http *h)
{
	if (h->mhd)
		MHD_stop_daemon(h->mhd);
}

void http_mhd_run(struct http *h)
{
	MHD_UNSIGNED_LONG_LONG ms;

	assert(!h->running);
	h->running = h->unfinished = true;
	for (int i = 0; i < RUNS && h->unfinished; i++) {
		(void)MHD_run(h->mhd);
		h->unfinished =
			MHD_get_timeout(h->mhd, &ms) == MHD_YES && ms == 0;
	}
	h->running = false;
}

int http_half_open(struct http_connection *c)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	enum MHD_Result ok;
	int fds[2];
	int rc = sock_pair(fds);

	if (rc < 0)
		return rc;
	c->half = (struct http_half){ .pair = fds[0] };
	c->http->opening = c;
	/* It closes its end also when it fails. */
	ok = MHD_add_connection(c->http->mhd, fds[1], (struct sockaddr *)&addr,
				sizeof(sa_family_t));
	c->http->opening = NULL;
	if (ok == MHD_YES)
		return 0;
	close_fd(&c->half.pair);
	return -ENOMEM;
}

void http_half_reset(struct http_connection *c)
{
	struct http_half *half = &c->half;

	if (half->response)
		MHD_destroy_response(half->response);
	free(half->target);
	*half = (struct http_half){ .mhd = half->mhd, .pair = half->pair };
}

void http_half_resume(struct http_connection *c)
{
	c->half.suspended = false;
	if (c->half.mhd)
		MHD_resume_connection(c->half.mhd);
}

void http_half_close(struct http_connection *c)
{
	struct http_half *half = &c->half;

	half->closing = true;
	if (half->upgrade)
		(void)MHD_upgrade_action(half->upgrade,
					 MHD_UPGRADE_ACTION_CLOSE);
	else if (half->suspended)
		http_half_resume(c);
	close_fd(&half->pair);
	for (int i = 0; half->mhd && i < CLOSING_RUNS; i++)
		http_mhd_run(c->http);
	if (half->response)
		MHD_destroy_response(half->response);
	free(half->target);
	*half = (struct http_half){ .mhd = half->mhd,
				    .pair = -1,
				    .closing = true };
}
