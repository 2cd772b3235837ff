/* SPDX-License-Identifier: Apache-2.0 */
/* Answers: now, later, or as a WebSocket. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "api/problem.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "vmd/http_internal.h"
#include "vmd/operation.h"

static void stop_waiting(struct request *r)
{
	watch_remove(&r->watch);
	loop_timer_disarm(&r->timer);
	loop_remove(&r->hangup);
}

static void on_hangup(struct loop_source *source, uint32_t events)
{
	struct request *r = source->data;

	/* Nobody will read the answer; microhttpd shall find out. */
	if (events & (EPOLLHUP | EPOLLERR | EPOLLRDHUP)) {
		struct err e = ERR_INIT;

		(void)err_set(&e, ERR_CANCELLED, "client_gone", 0,
			      "the client went away");
		(void)shutdown(source->fd, SHUT_RDWR);
		stop_waiting(r);
		r->dead = true;
		if (r->sent)
			request_resume(r);
		else
			request_fail(r, &e);
	}
}

void request_suspend(struct request *r)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(
		r->connection, MHD_CONNECTION_INFO_CONNECTION_FD);

	if (r->suspended || r->http->closing)
		return;
	r->suspended = true;
	MHD_suspend_connection(r->connection);
	if (!loop_source_active(&r->hangup))
		(void)loop_add(r->daemon->loop, &r->hangup, info->connect_fd,
			       EPOLLRDHUP, on_hangup, r);
}

void request_resume(struct request *r)
{
	if (!r->suspended)
		return;
	r->suspended = false;
	loop_remove(&r->hangup);
	if (!r->http->closing) {
		MHD_resume_connection(r->connection);
		http_kick(r->http);
	}
}

void request_response(struct request *r, unsigned status,
		      struct MHD_Response *take)
{
	stop_waiting(r);
	r->poll = NULL;
	if (r->response)
		MHD_destroy_response(r->response);
	r->response = take;
	r->status = status;
	request_resume(r);
}

void request_text(struct request *r, unsigned status, const char *type,
		  char *steal_text, size_t len)
{
	struct MHD_Response *response = MHD_create_response_from_buffer(
		len, steal_text, MHD_RESPMEM_MUST_FREE);

	if (!response) {
		free(steal_text);
		return;
	}
	(void)MHD_add_response_header(response, "Content-Type", type);
	request_response(r, status, response);
}

void request_empty(struct request *r, unsigned status)
{
	struct MHD_Response *response = MHD_create_response_from_buffer(
		0, NULL, MHD_RESPMEM_PERSISTENT);

	if (response)
		request_response(r, status, response);
}

int request_remember(struct request *r, unsigned status, const char *location,
		     const json_t *body, struct err *e)
{
	AUTO(free) char *text = NULL;
	struct stored_answer answer = { .status = status };
	int rc;

	if (!r->answer_key[0])
		return 0;
	text = body ? json_to_text(body) : NULL;
	if (!text)
		return err_sys(e, ENOMEM, "keeping the answer");
	answer.body = text;
	memcpy(answer.fingerprint, r->fingerprint, sizeof(answer.fingerprint));
	(void)snprintf(answer.location, sizeof(answer.location), "%s",
		       location ? location : "");
	rc = store_answer_put(r->daemon->store, r->answer_key, &answer, e);
	if (rc == 0)
		r->answer_key[0] = '\0';
	return rc;
}

void request_json(struct request *r, unsigned status, json_t *steal_body,
		  const char *location)
{
	AUTO(json) json_t *body = steal_body;
	char *text = body ? json_to_text(body) : NULL;
	json_t *revision = json_object_get(body, "revision");
	struct MHD_Response *response;
	struct err e = ERR_INIT;
	char etag[32];

	if (!text) {
		text = strdup(
			"{\"type\":\"about:blank\",\"title\":\"internal\","
			"\"status\":500,\"kind\":\"internal\",\"code\":"
			"\"no_memory\",\"detail\":\"the daemon is out of "
			"memory\",\"retryable\":true}");
		status = 500;
		if (!text)
			return;
	}
	if (status < 300 && request_remember(r, status, location, body, &e) < 0)
		log_error("idempotency: %s", e.msg);
	response = MHD_create_response_from_buffer(strlen(text), text,
						   MHD_RESPMEM_MUST_FREE);
	if (!response) {
		free(text);
		return;
	}
	(void)MHD_add_response_header(response, "Content-Type",
				      status >= 400 ? API_PROBLEM_TYPE
						    : "application/json");
	if (location && location[0])
		(void)MHD_add_response_header(response, "Location", location);
	if (json_is_integer(revision)) {
		(void)snprintf(etag, sizeof(etag), "\"%lld\"",
			       (long long)json_integer_value(revision));
		(void)MHD_add_response_header(response, "ETag", etag);
	}
	request_response(r, status, response);
}

void request_fail(struct request *r, const struct err *e)
{
	request_json(r, (unsigned)api_problem_status(e),
		     api_problem_new(e, NULL), NULL);
}

void request_fail_allow(struct request *r, const struct err *e,
			const char *allow)
{
	request_fail(r, e);
	if (r->response)
		(void)MHD_add_response_header(r->response, "Allow", allow);
}

static void on_watch(struct watch *w)
{
	struct request *r = w->data;

	if (r->poll)
		r->poll(r);
}

static void on_timeout(struct loop_timer *timer)
{
	struct request *r = timer->data;

	if (r->timeout)
		r->timeout(r);
}

void request_wait(struct request *r, const char *subject, uint64_t seconds,
		  void (*poll)(struct request *r),
		  void (*timeout)(struct request *r))
{
	if (subject != r->subject)
		(void)snprintf(r->subject, sizeof(r->subject), "%s", subject);
	r->poll = poll;
	r->timeout = timeout;
	watch_add(r->daemon, &r->watch, on_watch, r);
	loop_timer_init(r->daemon->loop, &r->timer, on_timeout, r);
	loop_timer_arm(&r->timer, seconds * 1000);
	poll(r);
}

static void answer_operation(struct request *r, const struct op_row *row)
{
	char location[64];

	(void)snprintf(location, sizeof(location), "/v1/operations/%s",
		       row->id);
	request_json(r, 202, operation_to_json(row), location);
}

static void poll_operation(struct request *r)
{
	struct err e = ERR_INIT;
	struct op_row row;

	if (operation_get(r->daemon, r->subject, &row, &e) < 0)
		request_fail(r, &e);
	else if (row.state != API_OP_RUNNING)
		answer_operation(r, &row);
}

static void late_operation(struct request *r)
{
	struct err e = ERR_INIT;
	struct op_row row;

	if (operation_get(r->daemon, r->subject, &row, &e) < 0)
		request_fail(r, &e);
	else
		answer_operation(r, &row);
}

void request_operation(struct request *r, const char *op_id)
{
	request_wait(r, op_id, request_query_u64(r, "wait"), poll_operation,
		     late_operation);
	if (r->poll && request_query_u64(r, "wait") == 0)
		late_operation(r);
}

uint64_t request_query_u64(const struct request *r, const char *name)
{
	return (uint64_t)json_integer_value(json_object_get(r->query, name));
}

bool request_query_bool(const struct request *r, const char *name)
{
	return json_is_true(json_object_get(r->query, name));
}

const char *request_query_text(const struct request *r, const char *name)
{
	const char *text = json_string_value(json_object_get(r->query, name));

	return text ? text : "";
}

static void on_ws_finished(void *data)
{
	struct websocket *w = data;

	LIST_REMOVE(w, link);
	(void)MHD_upgrade_action(w->urh, MHD_UPGRADE_ACTION_CLOSE);
	http_kick(w->http);
	free(w);
}

static void on_upgrade(void *cls, struct MHD_Connection *connection,
		       void *context, const char *extra, size_t extra_len,
		       MHD_socket fd, struct MHD_UpgradeResponseHandle *urh)
{
	struct websocket *w = cls;
	void (*fn)(void *data, struct ws *ws) = w->fn;
	void *data = w->data;
	struct request *r = context;
	struct ws *ws = NULL;

	(void)connection;
	w->urh = urh;
	w->fn = NULL;
	if (r)
		r->stream = NULL;
	(void)file_set_nonblock(fd);
	if (w->http->closing)
		on_ws_finished(w);
	else
		ws = ws_new(w->http->daemon->loop, fd, extra, extra_len,
			    on_ws_finished, w);
	if (ws)
		w->ws = ws; /* else w is gone already */
	fn(data, ws);
}

/* The client went before the upgrade. */
static void websocket_gone(struct request *r)
{
	struct websocket *w = r->stream;

	if (!w)
		return;
	LIST_REMOVE(w, link);
	w->fn(w->data, NULL);
	free(w);
}

static bool header_has(struct request *r, const char *name, const char *word)
{
	const char *value = request_header(r, name);

	return value && strcasestr(value, word);
}

void request_websocket(struct request *r, void (*fn)(void *data, struct ws *ws),
		       void *data)
{
	const char *key = request_header(r, "Sec-WebSocket-Key");
	const char *version = request_header(r, "Sec-WebSocket-Version");
	struct websocket *w = NULL;
	struct MHD_Response *response;
	struct err e = ERR_INIT;
	char accept[29];

	if (!header_has(r, "Upgrade", "websocket") ||
	    !header_has(r, "Connection", "upgrade"))
		(void)err_set(&e, ERR_INVALID, "websocket_expected", 0,
			      "%s is a WebSocket: connect with the headers "
			      "Upgrade and Connection",
			      r->route->path);
	else if (!version || strcmp(version, "13") != 0 || !key ||
		 !ws_accept_key(key, accept))
		(void)err_set(&e, ERR_INVALID, "websocket_handshake", 0,
			      "Sec-WebSocket-Version must be 13 and "
			      "Sec-WebSocket-Key 16 bytes in base64");
	else
		w = calloc(1, sizeof(*w));
	if (!w) {
		if (e.kind == ERR_NONE)
			(void)err_sys(&e, ENOMEM, "opening a WebSocket");
		fn(data, NULL);
		request_fail(r, &e);
		return;
	}
	response = MHD_create_response_for_upgrade(on_upgrade, w);
	if (!response) {
		free(w);
		(void)err_sys(&e, ENOMEM, "opening a WebSocket");
		fn(data, NULL);
		request_fail(r, &e);
		return;
	}
	(void)MHD_add_response_header(response, "Upgrade", "websocket");
	(void)MHD_add_response_header(response, "Sec-WebSocket-Accept", accept);
	w->http = r->http;
	w->fn = fn;
	w->data = data;
	LIST_INSERT_HEAD(&r->http->websockets, w, link);
	r->stream = w;
	r->gone = websocket_gone;
	request_response(r, MHD_HTTP_SWITCHING_PROTOCOLS, response);
}
