/* SPDX-License-Identifier: Apache-2.0 */
/* One request from its first line to its handler. */
#include <errno.h>
#include <nettle/sha2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/validate.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/parse.h"
#include "vmd/http_internal.h"

static struct http_connection *connection_of(struct MHD_Connection *connection)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(
		connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

	return info ? info->socket_context : NULL;
}

void *http_on_uri(void *cls, const char *uri, struct MHD_Connection *connection)
{
	struct http *h = cls;
	struct request *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->http = h;
	r->daemon = h->daemon;
	r->connection = connection;
	r->raw = (struct buf)BUF_INIT(API_BODY_MAX);
	r->hangup = (struct loop_source)LOOP_SOURCE_INIT;
	r->uri = strdup(uri);
	LIST_INSERT_HEAD(&h->requests, r, link);
	return r;
}

void http_on_completed(void *cls, struct MHD_Connection *connection,
		       void **context, enum MHD_RequestTerminationCode why)
{
	struct request *r = *context;
	struct http *h = cls;
	struct http_connection *c = connection_of(connection);

	(void)why;
	if (c && !h->closing) /* the next request of the client */
		loop_timer_arm(&c->slow, h->daemon->config->slow_ms);
	if (!r)
		return;
	*context = NULL;
	store_wait_cancel(&r->durable);
	watch_remove(&r->watch);
	loop_timer_disarm(&r->timer);
	loop_remove(&r->hangup);
	if (r->gone)
		r->gone(r);
	if (r->response)
		MHD_destroy_response(r->response);
	r->daemon->large_bytes -= r->large;
	json_decref(r->query);
	json_decref(r->body);
	buf_done(&r->raw);
	free(r->uri);
	LIST_REMOVE(r, link);
	free(r);
}

const char *request_header(struct request *r, const char *name)
{
	return MHD_lookup_connection_value(r->connection, MHD_HEADER_KIND,
					   name);
}

static bool type_is(const char *have, const char *want)
{
	size_t len = strcspn(have, "; \t");

	return len == strlen(want) && strncasecmp(have, want, len) == 0;
}

static int check_type(struct request *r, struct err *e)
{
	const char *type = request_header(r, "Content-Type");
	const char *want = r->route->body == API_BODY_JSON
				   ? "application/json"
				   : "application/x-tar";

	if (r->route->body == API_BODY_NONE || !type || type_is(type, want))
		return 0;
	return err_set(e, ERR_UNSUPPORTED, "unsupported_media_type", 0,
		       "the body must be %s, not %.100s", want, type);
}

static int check_length(struct request *r, struct err *e)
{
	const char *text = request_header(r, "Content-Length");
	uint64_t len;

	if (!text || r->route->body == API_BODY_TAR)
		return 0;
	if (parse_u64(text, 0, UINT64_MAX, "Content-Length", &len, e) < 0)
		return -EINVAL;
	if (len > api_text_max(r->route->request))
		return err_set(e, ERR_INVALID, "body_too_large", 0,
			       "the body has %llu bytes, at most %zu are taken",
			       (unsigned long long)len,
			       api_text_max(r->route->request));
	return 0;
}

/* Everything that can be said before the body. */
static int check_head(struct request *r, const char *method,
		      char allow[static 64], struct err *e)
{
	AUTO(free) char *path = NULL;
	char *question;
	int rc;

	allow[0] = '\0';
	path = r->uri ? strdup(r->uri) : NULL;
	if (!path)
		return err_sys(e, ENOMEM, "reading a request");
	question = strchr(path, '?');
	if (question)
		*question++ = '\0';
	rc = api_route_match(method, path, &r->route, &r->params, allow, e);
	if (rc == 0)
		rc = api_query_parse(r->route, question, &r->query, e);
	if (rc == 0)
		rc = check_type(r, e);
	if (rc == 0)
		rc = check_length(r, e);
	return rc;
}

static void fingerprint(struct request *r)
{
	uint8_t digest[SHA256_DIGEST_SIZE];
	struct sha256_ctx sha;

	sha256_init(&sha);
	sha256_update(&sha, strlen(r->uri), (const uint8_t *)r->uri);
	sha256_update(&sha, 1, (const uint8_t *)"");
	sha256_update(&sha, buf_len(&r->raw), buf_head(&r->raw));
	sha256_digest(&sha, sizeof(digest), digest);
	for (size_t i = 0; i < sizeof(digest); i++)
		(void)snprintf(r->fingerprint + 2 * i, 3, "%02x", digest[i]);
}

/* true when an earlier answer was given again (or refused). */
static bool replay(struct request *r)
{
	const char *key = request_header(r, "Idempotency-Key");
	struct stored_answer answer = { 0 };
	struct err e = ERR_INIT;
	bool found = false;
	int rc = 0;

	if (!key || !r->route->idempotency_key)
		return false;
	fingerprint(r);
	if (!key[0] || strlen(key) > 128)
		rc = err_set(&e, ERR_INVALID, "bad_idempotency_key", 0,
			     "Idempotency-Key must have 1 to 128 characters");
	if (rc == 0)
		rc = store_answer_get(r->daemon->store, key, &answer, &found,
				      &e);
	if (rc == 0 && found && strcmp(answer.fingerprint, r->fingerprint) != 0)
		rc = err_set(&e, ERR_CONFLICT, "idempotency_key_reused", 0,
			     "this Idempotency-Key was used for another "
			     "request: take a new one");
	if (rc < 0) {
		request_fail(r, &e);
	} else if (found) {
		request_json(r, answer.status, json_loads(answer.body, 0, NULL),
			     answer.location);
	} else {
		(void)snprintf(r->answer_key, sizeof(r->answer_key), "%s", key);
	}
	free(answer.body);
	return rc < 0 || found;
}

static void dispatch(struct request *r)
{
	struct err e = ERR_INIT;

	if (r->upload_end) {
		r->upload_end(r);
		return;
	}
	if (r->route->body == API_BODY_JSON) {
		if (buf_len(&r->raw) == 0 && r->route->body_required)
			(void)err_set(&e, ERR_INVALID, "body_missing", 0,
				      "this request needs a JSON body");
		else
			(void)api_parse(r->route->request,
					(const char *)buf_head(&r->raw),
					buf_len(&r->raw), &r->body, &e);
		if (e.kind != ERR_NONE) {
			request_fail(r, &e);
			return;
		}
		if (replay(r))
			return;
	}
	handlers[r->route->id](r);
}

/* Into r->raw, which gets more room when the request may be longer. */
static int append_body(struct request *r, const char *data, size_t len,
		       struct err *e)
{
	size_t max = api_text_max(r->route->request);

	if (buf_len(&r->raw) + len > max)
		return err_set(e, ERR_INVALID, "body_too_large", 0,
			       "the body has more than %zu bytes", max);
	if (buf_len(&r->raw) + len > r->raw.limit) {
		if (!daemon_large_take(r->daemon, max))
			return err_set(e, ERR_UNAVAILABLE, "busy", 0,
				       "too many requests of over %d bytes "
				       "are on their way: try again",
				       API_BODY_MAX);
		r->large = max;
		r->raw.limit = max;
	}
	return buf_append(&r->raw, data, len) < 0
		       ? err_sys(e, ENOMEM, "the request's body")
		       : 0;
}

static void take_body(struct request *r, const char *data, size_t *size)
{
	struct err e = ERR_INIT;
	size_t taken;

	if (r->response) { /* answered already: the rest is drained */
		*size = 0;
		return;
	}
	if (r->upload) {
		taken = r->upload(r, data, *size);
		*size -= taken;
		return;
	}
	if (r->route->body != API_BODY_JSON) {
		(void)err_set(&e, ERR_INVALID, "body_not_expected", 0,
			      "%s %s takes no body", r->route->method,
			      r->route->path);
		request_fail(r, &e);
	} else if (append_body(r, data, *size, &e) < 0) {
		request_fail(r, &e);
	}
	*size = 0;
}

static void on_durable(struct store_waiter *w, const struct err *e)
{
	struct request *r = w->data;

	if (e)
		request_fail(r, e);
	else
		request_resume(r);
}

/*
 * What an answer says was done must not be undone by a power cut: it waits for
 * the disk. A refusal says that nothing was done, and a mere look at what is
 * works also while the disk hangs; but the end of an operation is a promise,
 * whoever asks for it.
 */
static bool must_wait(const struct request *r)
{
	if (r->dead)
		return false;
	if (r->durable.fn) /* it was asked before */
		return r->durable.store != NULL;
	/* Files are in the guest; what came of them is not in the store. */
	if (r->status >= 400 || !r->route || r->route->body == API_BODY_TAR ||
	    store_is_durable(r->daemon->store))
		return false;
	return strcmp(r->route->method, "GET") != 0 ||
	       r->route->id == API_GET_OPERATION ||
	       r->route->id == API_WAIT_OPERATION ||
	       r->route->id == API_WAIT_VM;
}

static enum MHD_Result send_answer(struct request *r)
{
	enum MHD_Result ok;

	if (must_wait(r)) {
		if (!r->durable.fn)
			store_wait(r->daemon->store, &r->durable, on_durable,
				   r);
		request_suspend(r);
		return MHD_YES;
	}
	ok = MHD_queue_response(r->connection, r->status, r->response);
	MHD_destroy_response(r->response);
	r->response = NULL;
	r->over = true;
	r->sent = true;
	return ok;
}

static enum MHD_Result begin(struct request *r, const char *method)
{
	struct http_connection *c = connection_of(r->connection);
	struct err e = ERR_INIT;
	char allow[64];

	r->begun = true;
	r->daemon->count.http_requests++;
	if (check_head(r, method, allow, &e) < 0) {
		if (allow[0])
			request_fail_allow(r, &e, allow);
		else
			request_fail(r, &e);
		return send_answer(r);
	}
	/* A tar may take its time; a JSON body has what is left of the 30 s. */
	if (c && r->route->body == API_BODY_TAR)
		loop_timer_disarm(&c->slow);
	if (r->route->body == API_BODY_TAR)
		handlers[r->route->id](r);
	if (r->response)
		return send_answer(r);
	return MHD_YES;
}

enum MHD_Result http_on_request(void *cls, struct MHD_Connection *connection,
				const char *url, const char *method,
				const char *version, const char *upload_data,
				size_t *upload_size, void **context)
{
	struct request *r = *context;
	struct http *h = cls;
	struct http_connection *c = connection_of(connection);

	(void)url;
	(void)version;
	if (!r || h->closing)
		return MHD_NO;
	if (!r->begun)
		return begin(r, method);
	if (*upload_size) {
		take_body(r, upload_data, upload_size);
		return MHD_YES;
	}
	if (c)
		loop_timer_disarm(&c->slow);
	if (!r->response && !r->over && !r->poll) {
		r->over = true; /* the handler runs once */
		dispatch(r);
	}
	if (r->response)
		return send_answer(r);
	if (!r->suspended)
		request_suspend(r);
	return MHD_YES;
}
