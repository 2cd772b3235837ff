/* SPDX-License-Identifier: Apache-2.0 */
/* Answers: what is put into them, and their heads. */
#include <errno.h>
#include <nettle/sha2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "api/problem.h"
#include "base/checked.h"
#include "base/cleanup.h"
#include "base/json.h"
#include "base/log.h"
#include "vmd/http/http_internal.h"

#define NO_MEMORY                                                      \
	"{\"type\":\"about:blank\",\"title\":\"Internal error\","      \
	"\"status\":500,\"kind\":\"internal\",\"code\":\"no_memory\"," \
	"\"detail\":\"the daemon is out of memory\",\"retryable\":true}"

enum {
	ETAG_BYTES = 8 /* of the digest */
};

static int put_date(struct buf *out)
{
	time_t now = time(NULL);
	char text[64];
	struct tm tm;

	if (!gmtime_r(&now, &tm) ||
	    strftime(text, sizeof(text), "%a, %d %b %Y %H:%M:%S GMT", &tm) == 0)
		return 0;
	return buf_printf(out, "Date: %s\r\n", text);
}

bool http_answer_header(const struct http_answer *a, size_t *at,
			const char **ret_name, const char **ret_value)
{
	const char *text = (const char *)buf_head(&a->headers);

	if (*at >= buf_len(&a->headers))
		return false;
	*ret_name = text + *at;
	*ret_value = *ret_name + strlen(*ret_name) + 1;
	*at = (size_t)(*ret_value - text) + strlen(*ret_value) + 1;
	return true;
}

int http_put_answer(struct buf *out, const struct http_answer *a,
		    bool head_only)
{
	int rc = buf_printf(out, "HTTP/1.1 %u %s\r\n", a->status,
			    MHD_get_reason_phrase_for(a->status));
	const char *name, *value;
	size_t at = 0;

	if (rc == 0)
		rc = put_date(out);
	while (rc == 0 && http_answer_header(a, &at, &name, &value))
		rc = buf_printf(out, "%s: %s\r\n", name, value);
	if (rc == 0 && a->status != 204)
		rc = buf_printf(out, "Content-Length: %zu\r\n", a->len);
	if (rc == 0)
		rc = buf_printf(out, "Connection: close\r\n\r\n");
	if (rc == 0 && a->text && !head_only)
		rc = buf_append(out, a->text, a->len);
	return rc;
}

static void add_header(struct http_answer *a, const char *name,
		       const char *value)
{
	size_t n = strlen(name) + 1, v = strlen(value) + 1;
	uint8_t *at = buf_reserve(&a->headers, n + v);

	if (!at) {
		log_error("http: no room for the header %s", name);
		return;
	}
	memcpy(at, name, n);
	memcpy(at + n, value, v);
	buf_commit(&a->headers, n + v);
}

/* It may be better in a moment. */
static void add_retry(struct http_answer *a)
{
	if (a->status == 503)
		add_header(a, "Retry-After", "1");
}

void http_put_problem(struct buf *out, const struct err *e)
{
	AUTO(json) json_t *problem = api_problem_new(e, NULL);
	AUTO(free) char *text = problem ? json_to_text(problem) : NULL;
	struct http_answer a = {
		.status = (unsigned)api_problem_status(e),
		.headers = BUF_INIT(256),
		.text = text,
		.len = text ? strlen(text) : 0,
	};

	add_header(&a, "Content-Type", API_PROBLEM_TYPE);
	add_retry(&a);
	(void)http_put_answer(out, &a, false);
	buf_done(&a.headers);
}

void request_resume(struct request *r)
{
	http_connection_go(r->connection);
}

void request_answer_header(struct request *r, const char *name,
			   const char *value)
{
	add_header(&r->answer, name, value);
}

void request_answer_trailer(struct request *r, const char *name,
			    const char *value)
{
	struct http_answer *a = &r->answer;

	if (strlen(value) < sizeof(a->trailer))
		a->trailer_name = name;
	(void)snprintf(a->trailer, sizeof(a->trailer), "%s", value);
}

/* The answer is there. One that is under way cannot be changed. */
static bool begin_answer(struct request *r, unsigned status)
{
	struct http_answer *a = &r->answer;

	if (r->sent)
		return false;
	watch_remove(&r->watch);
	loop_timer_disarm(&r->timer);
	r->poll = NULL;
	if (a->status) /* another one takes its place before it was sent */
		buf_consume(&a->headers, buf_len(&a->headers));
	if (a->freed)
		a->freed(a->data);
	free(a->text);
	*a = (struct http_answer){ .status = status, .headers = a->headers };
	add_retry(a);
	request_resume(r);
	return true;
}

void request_text(struct request *r, unsigned status, const char *type,
		  char *steal_text, size_t len)
{
	if (!begin_answer(r, status)) {
		free(steal_text);
		return;
	}
	request_answer_header(r, "Content-Type", type);
	r->answer.text = steal_text;
	r->answer.len = len;
}

void request_empty(struct request *r, unsigned status)
{
	(void)begin_answer(r, status);
}

void request_stream(struct request *r, const char *type, http_read_fn *read,
		    void (*freed)(void *data), void *data)
{
	if (!begin_answer(r, 200)) {
		freed(data);
		return;
	}
	request_answer_header(r, "Content-Type", type);
	r->answer.read = read;
	r->answer.freed = freed;
	r->answer.data = data;
}

/* A digest of what is shown, unless a revision says the same. */
static void put_etag(struct request *r, const json_t *body, const char *text)
{
	const char *id = json_string_value(json_object_get(body, "id"));
	const json_t *revision = json_object_get(body, "revision");
	uint8_t digest[SHA256_DIGEST_SIZE];
	struct sha256_ctx sha;

	if (id && json_is_integer(revision)) {
		http_etag(r->etag, id, (uint64_t)json_integer_value(revision));
	} else {
		sha256_init(&sha);
		sha256_update(&sha, strlen(text), (const uint8_t *)text);
		sha256_digest(&sha, sizeof(digest), digest);
		r->etag[0] = '"';
		for (size_t i = 0; i < ETAG_BYTES; i++)
			(void)snprintf(r->etag + 1 + 2 * i, 3, "%02x",
				       digest[i]);
		r->etag[1 + 2 * ETAG_BYTES] = '"';
		r->etag[2 + 2 * ETAG_BYTES] = '\0';
	}
	request_answer_header(r, "ETag", r->etag);
}

void http_etag(char ret[static HTTP_ETAG_LEN], const char *id,
	       uint64_t revision)
{
	(void)snprintf(ret, HTTP_ETAG_LEN, "\"%.8s-%llu\"", id,
		       (unsigned long long)revision);
}

bool request_has_tag(const struct request *r, const char *name,
		     const char *etag, bool strong)
{
	for (size_t i = 0; i < r->head->count; i++) {
		const struct http_header *h = &r->head->headers[i];
		const char *at = h->value;

		if (strcasecmp(h->name, name) != 0)
			continue;
		if (strcmp(at, "*") == 0)
			return true;
		/* Its quotes keep it from being a part of another one. */
		at = strstr(at, etag);
		if (at && !(strong && at > h->value && at[-1] == '/'))
			return true;
	}
	return false;
}

void http_answer_condition(struct request *r)
{
	struct http_answer *a = &r->answer;

	if (a->status != 200 || !r->etag[0] || !r->route ||
	    strcmp(r->route->method, "GET") != 0 ||
	    !request_has_tag(r, "If-None-Match", r->etag, false))
		return;
	a->status = 304; /* the library sends the length, not the text */
}

void request_json(struct request *r, unsigned status, json_t *steal_body,
		  const char *location)
{
	AUTO(json) json_t *body = steal_body;
	char *text = body ? json_to_text(body) : NULL;
	struct err e = ERR_INIT;

	if (!text) {
		text = strdup(NO_MEMORY);
		status = 500;
	}
	if (!text) {
		request_empty(r, 500);
		return;
	}
	if (status < 300 && request_remember(r, status, location, body, &e) < 0)
		log_error("idempotency: %s", e.msg);
	if (location && location[0])
		request_answer_header(r, "Location", location);
	if (status < 300 && body)
		put_etag(r, body, text);
	request_text(r, status,
		     status >= 400 ? API_PROBLEM_TYPE : "application/json",
		     text, strlen(text));
}

void request_fail(struct request *r, const struct err *e)
{
	request_json(r, (unsigned)api_problem_status(e),
		     api_problem_new(e, NULL), NULL);
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
	watch_add(r->daemon, &r->watch, r->subject, on_watch, r);
	loop_timer_start(&r->timer, on_timeout, seconds * 1000);
	poll(r);
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
