/* SPDX-License-Identifier: Apache-2.0 */
/* One request from its head to its handler. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "api/validate.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "vmd/http/http_internal.h"
#include "vmd/operation.h"

enum {
	OPERATIONS_MAX = 256, /* under way */
	OPERATIONS_RESERVE = 32 /* for root and the daemon's user */
};

const char *request_header(const struct request *r, const char *name)
{
	return http_head_find(r->head, name);
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
	uint64_t len = r->head->length;
	size_t max = api_text_max(r->route->request);

	if (r->route->body == API_BODY_TAR || len <= max)
		return 0;
	return err_set(e, ERR_INVALID, "body_too_large", 0,
		       "the body has %llu bytes, at most %zu are taken",
		       (unsigned long long)len, max);
}

/* Everything that can be said before the body. */
static int check_head(struct request *r, struct err *e)
{
	AUTO(free) char *path = strdup(r->head->target);
	const char *method = r->head->method;
	char allow[64] = "";
	char *question;
	int rc;

	if (!path)
		return err_sys(e, ENOMEM, "reading a request");
	question = strchr(path, '?');
	if (question)
		*question++ = '\0';
	r->head_only = strcmp(method, "HEAD") == 0;
	rc = api_route_match(r->head_only ? "GET" : method, path, &r->route,
			     &r->params, allow, e);
	if (rc < 0 && allow[0])
		request_answer_header(r, "Allow", allow);
	if (rc == 0)
		rc = api_query_parse(r->route, question, &r->query, e);
	if (rc == 0)
		rc = check_type(r, e);
	if (rc == 0)
		rc = check_length(r, e);
	return rc;
}

/* Work that somebody began and that goes on is shared like connections. What
 * ends something is always taken. */
static int check_share(struct request *r, struct err *e)
{
	const struct operation *op;
	size_t own = 0, total = 0;

	if (!r->route->begins)
		return 0;
	LIST_FOREACH(op, &r->daemon->operations, link) {
		if (op->row.state != API_OP_RUNNING)
			continue;
		total++;
		own += op->uid == r->uid;
	}
	if (http_share_allows(r->uid, own, total, OPERATIONS_MAX,
			      OPERATIONS_RESERVE))
		return 0;
	return err_set(e, ERR_UNAVAILABLE, "too_many_operations", 0,
		       "%zu of your operations are under way, %zu in all: "
		       "wait for some to end",
		       own, total);
}

/* Operations that begin now are this client's. */
static void handle(struct request *r)
{
	struct daemon *d = r->daemon;

	d->caller = r->uid;
	handlers[r->route->id](r);
	d->caller = DAEMON_ITSELF;
}

int http_request_new(struct http_connection *c)
{
	struct request *r = calloc(1, sizeof(*r));
	struct err e = ERR_INIT;

	if (!r)
		return -ENOMEM;
	*r = (struct request){
		.http = c->http,
		.daemon = c->http->daemon,
		.connection = c,
		.head = &c->head,
		.uid = c->uid,
		.raw = BUF_INIT(API_BODY_MAX),
		.answer.headers = BUF_INIT(HTTP_HEAD_MAX),
	};
	loop_timer_init(r->daemon->loop, &r->timer, NULL, r);
	c->request = r;
	r->daemon->count.http_requests++;
	if (check_head(r, &e) < 0)
		request_fail(r, &e);
	else if (r->route->body == API_BODY_TAR)
		handle(r); /* takes the body as it comes */
	return 0;
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

size_t http_request_take(struct request *r, const char *data, size_t len)
{
	struct err e = ERR_INIT;

	if (r->upload)
		return r->upload(r, data, len);
	if (r->route->body != API_BODY_JSON)
		(void)err_set(&e, ERR_INVALID, "body_not_expected", 0,
			      "%s %s takes no body", r->head->method,
			      r->route->path);
	else
		(void)append_body(r, data, len, &e);
	if (e.kind != ERR_NONE)
		request_fail(r, &e);
	return len;
}

static int parse_body(struct request *r, struct err *e)
{
	if (r->route->body != API_BODY_JSON)
		return 0;
	if (buf_len(&r->raw) == 0 && r->route->body_required)
		return err_set(e, ERR_INVALID, "body_missing", 0,
			       "this request needs a JSON body");
	return api_parse(r->route->request, (const char *)buf_head(&r->raw),
			 buf_len(&r->raw), &r->body, e);
}

void http_request_dispatch(struct request *r)
{
	struct err e = ERR_INIT;

	if (r->upload_end) {
		r->upload_end(r);
		return;
	}
	if (parse_body(r, &e) < 0) {
		request_fail(r, &e);
		return;
	}
	if (request_replay(r))
		return;
	if (check_share(r, &e) < 0)
		request_fail(r, &e);
	else
		handle(r);
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
	if (r->durable.fn) /* it was asked before */
		return r->durable.store != NULL;
	/* Files are in the guest; what came of them is not in the store. */
	if (r->answer.status >= 400 || !r->route ||
	    r->route->body == API_BODY_TAR ||
	    store_is_durable(r->daemon->store) ||
	    store_in_trouble(r->daemon->store))
		return false;
	return strcmp(r->route->method, "GET") != 0 ||
	       r->route->id == API_GET_OPERATION ||
	       r->route->id == API_WAIT_OPERATION ||
	       r->route->id == API_WAIT_VM;
}

bool http_request_held(struct request *r)
{
	if (!must_wait(r))
		return false;
	if (!r->durable.fn)
		store_wait(r->daemon->store, &r->durable, on_durable, r);
	return true;
}

void http_request_free(struct request *r)
{
	struct http_answer *a = &r->answer;

	store_wait_cancel(&r->durable);
	watch_remove(&r->watch);
	loop_timer_disarm(&r->timer);
	if (r->gone)
		r->gone(r);
	if (a->freed)
		a->freed(a->data);
	free(a->text);
	free(r->replayed.body);
	buf_done(&a->headers);
	r->daemon->large_bytes -= r->large;
	json_decref(r->query);
	json_decref(r->body);
	buf_done(&r->raw);
	free(r);
}
