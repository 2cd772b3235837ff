/* SPDX-License-Identifier: Apache-2.0 */
/* Problem objects from and to struct err. */
#include "api/problem.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/checked.h"

struct kind_row {
	int status;
	bool retryable;
	const char *title;
};

static const struct kind_row kinds[ERR_KIND_COUNT] = {
	[ERR_NONE] = { 500, false, "No error" },
	[ERR_INVALID] = { 400, false, "Bad request" },
	[ERR_NOT_FOUND] = { 404, false, "Not found" },
	[ERR_CONFLICT] = { 409, false, "Conflict" },
	[ERR_PERMISSION] = { 403, false, "Permission denied" },
	[ERR_LIMIT] = { 409, true, "Limit reached" },
	[ERR_NO_SPACE] = { 507, true, "No space" },
	[ERR_TIMEOUT] = { 504, true, "Time limit passed" },
	[ERR_CANCELLED] = { 409, false, "Cancelled" },
	[ERR_UNAVAILABLE] = { 503, true, "Not available" },
	[ERR_UNSUPPORTED] = { 422, false, "Not supported" },
	[ERR_CORRUPT] = { 500, false, "Stored data is damaged" },
	[ERR_PROTOCOL] = { 502, false, "A peer broke its protocol" },
	[ERR_INTERNAL] = { 500, false, "Internal error" },
};

/* Codes with a status of their own. */
static const struct {
	const char *code;
	int status;
} code_statuses[] = {
	{ "method_not_allowed", 405 },	{ "wait_timeout", 408 },
	{ "body_too_large", 413 },	{ "unsupported_media_type", 415 },
	{ "precondition_failed", 412 }, { "uri_too_long", 414 },
	{ "headers_too_large", 431 },	{ "http_version", 505 },
	{ "transfer_encoding", 501 },	{ "expectation_failed", 417 },
	{ "request_timeout", 408 },	{ "websocket_expected", 426 },
	{ "websocket_version", 426 },
};

int api_problem_status(const struct err *e)
{
	for (size_t i = 0; i < ARRAY_LEN(code_statuses); i++)
		if (strcmp(e->code, code_statuses[i].code) == 0)
			return code_statuses[i].status;
	assert(e->kind < ERR_KIND_COUNT);
	return kinds[e->kind].status;
}

bool api_problem_retryable(enum err_kind kind)
{
	assert(kind < ERR_KIND_COUNT);
	return kinds[kind].retryable;
}

/* A JSON string of bytes that may hold anything (a guest's console lines). */
static json_t *text_new(const char *text)
{
	json_t *j = json_string(text);
	char ascii[sizeof(((struct err *)NULL)->msg)];
	size_t i;

	if (j)
		return j;
	for (i = 0; text[i] && i + 1 < sizeof(ascii); i++)
		ascii[i] = (unsigned char)text[i] < 0x80 ? text[i] : '?';
	ascii[i] = '\0';
	return json_string(ascii);
}

static int put_text(json_t *p, const char *name, const char *text)
{
	return text[0] ? json_object_set_new(p, name, text_new(text)) : 0;
}

static int put_amount(json_t *p, const char *name, uint64_t amount)
{
	return amount <= INT64_MAX
		       ? json_object_set_new(p, name,
					     json_integer((json_int_t)amount))
		       : 0;
}

static int put_facts(json_t *p, const struct err *e)
{
	int rc = put_text(p, "field", e->field) |
		 put_text(p, "subject", e->subject) |
		 put_text(p, "suggestion", e->suggestion);

	if (e->amounts)
		rc |= put_amount(p, "asked", e->asked) |
		      put_amount(p, "limit", e->limit) |
		      put_amount(p, "available", e->available);
	return rc;
}

json_t *api_problem_new(const struct err *e, const json_t *rejections)
{
	json_t *p;

	assert(e->kind < ERR_KIND_COUNT);
	p = json_pack("{s:s, s:s, s:i, s:s, s:o, s:o, s:b}", "type",
		      "about:blank", "title", kinds[e->kind].title, "status",
		      api_problem_status(e), "kind", err_kind_name(e->kind),
		      "code", text_new(e->code), "detail", text_new(e->msg),
		      "retryable", kinds[e->kind].retryable);
	if (p && put_facts(p, e) < 0) {
		json_decref(p);
		return NULL;
	}
	if (p && json_is_array(rejections))
		(void)json_object_set_new(p, "rejections",
					  json_deep_copy(rejections));
	return p;
}

static enum err_kind kind_of_status(int status)
{
	static const struct {
		int status;
		enum err_kind kind;
	} map[] = {
		{ 400, ERR_INVALID },	  { 401, ERR_PERMISSION },
		{ 403, ERR_PERMISSION },  { 404, ERR_NOT_FOUND },
		{ 408, ERR_TIMEOUT },	  { 409, ERR_CONFLICT },
		{ 412, ERR_CONFLICT },	  { 413, ERR_INVALID },
		{ 415, ERR_INVALID },	  { 422, ERR_UNSUPPORTED },
		{ 405, ERR_UNSUPPORTED }, { 502, ERR_PROTOCOL },
		{ 503, ERR_UNAVAILABLE }, { 504, ERR_TIMEOUT },
		{ 507, ERR_NO_SPACE },
	};

	for (size_t i = 0; i < ARRAY_LEN(map); i++)
		if (map[i].status == status)
			return map[i].kind;
	return ERR_INTERNAL;
}

/* A code is shown to people and compared by programs: short and plain. */
static bool code_ok(const char *code)
{
	size_t n = strspn(code, "abcdefghijklmnopqrstuvwxyz0123456789_");

	return n > 0 && n < 48 && code[n] == '\0';
}

static void take_text(const json_t *problem, const char *name, char *to,
		      size_t room)
{
	const char *text = json_string_value(json_object_get(problem, name));

	(void)snprintf(to, room, "%s", text ? text : "");
}

static uint64_t take_amount(const json_t *problem, const char *name)
{
	const json_t *j = json_object_get(problem, name);

	return json_is_integer(j) && json_integer_value(j) >= 0
		       ? (uint64_t)json_integer_value(j)
		       : ERR_UNKNOWN;
}

static void take_facts(const json_t *problem, struct err *e)
{
	take_text(problem, "field", e->field, sizeof(e->field));
	take_text(problem, "subject", e->subject, sizeof(e->subject));
	take_text(problem, "suggestion", e->suggestion, sizeof(e->suggestion));
	e->asked = take_amount(problem, "asked");
	e->limit = take_amount(problem, "limit");
	e->available = take_amount(problem, "available");
	e->amounts = e->asked != ERR_UNKNOWN || e->limit != ERR_UNKNOWN ||
		     e->available != ERR_UNKNOWN;
}

int api_problem_to_err(const json_t *problem, int status, struct err *e)
{
	const char *code = json_string_value(json_object_get(problem, "code"));
	const char *detail =
		json_string_value(json_object_get(problem, "detail"));
	const char *kind = json_string_value(json_object_get(problem, "kind"));
	const json_t *s = json_object_get(problem, "status");
	enum err_kind k;
	int rc;

	if (!code || !code_ok(code) || !detail || !*detail)
		return err_set(e, ERR_PROTOCOL, "bad_problem", 0,
			       "the daemon answered HTTP %d without saying why",
			       status);
	if (json_is_integer(s) && json_integer_value(s) >= 400 &&
	    json_integer_value(s) < 600)
		status = (int)json_integer_value(s);
	k = kind ? err_kind_from_name(kind) : kind_of_status(status);
	if (k == ERR_NONE)
		k = ERR_INTERNAL;
	rc = err_set(e, k, code, 0, "%s", detail);
	if (e)
		take_facts(problem, e);
	return rc;
}
