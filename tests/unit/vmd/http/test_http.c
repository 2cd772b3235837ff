/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP as clients, caches and monitors use it. */
#include "tests/unit/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "api/route.h"
#include "rig.h"

/* The value of a header in an answer's head, malloc'd; NULL. */
static char *header(const struct answer *a, const char *name)
{
	size_t len = strlen(name);

	for (const char *at = a->head; (at = strchr(at, '\n')); at++)
		if (strncasecmp(at + 1, name, len) == 0 &&
		    strncmp(at + 1 + len, ": ", 2) == 0)
			return strndup(at + 3 + len,
				       strcspn(at + 3 + len, "\r"));
	return NULL;
}

static void expect_header(const struct answer *a, const char *name,
			  const char *want)
{
	char *value = header(a, name);

	assert_non_null(value);
	assert_string_equal(value, want);
	free(value);
}

/* A path of that route for a VM "v", an image "disk" and an operation. */
static void make_path(const struct api_route *route, const char *op,
		      char path[static 256])
{
	const char *brace = strchr(route->path, '{');
	const char *value = !brace		       ? ""
			    : strstr(brace, "{vm}")    ? "v"
			    : strstr(brace, "{image}") ? "disk"
						       : op;

	(void)snprintf(path, 256, "%.*s%s%s%s",
		       (int)(brace ? brace - route->path : 200), route->path,
		       value, brace ? strchr(brace, '}') + 1 : "",
		       route->id == API_WAIT_VM	    ? "?state=ready"
		       : route->id == API_DIAL_VM   ? "?port=80"
		       : route->id == API_GET_FILES ? "?path=/etc"
						    : "");
}

static void test_head_is_get_without_a_body(void **state)
{
	struct rig *r = *state;
	struct answer a, b;
	char path[256];
	char *op;

	free(rig_create(r, "\"name\":\"v\"", &a));
	op = strdup(answer_text(&a, "operation.id"));
	answer_done(&a);
	for (size_t i = 0; i < API_ROUTE_COUNT; i++) {
		const struct api_route *route = &api_routes[i];
		char *have, *want;

		make_path(route, op, path);
		rig_call(r, "HEAD", path, "", NULL, &b);
		if (strcmp(route->method, "GET") != 0) {
			answer_done(&b);
			continue;
		}
		rig_call(r, "GET", path, "", NULL, &a);
		if (a.status != b.status || b.body_len != 0 ||
		    a.status == 405 || a.status == 404)
			fail_msg("HEAD %s: %d, GET: %d", path, b.status,
				 a.status);
		want = header(&a, "Content-Type");
		have = header(&b, "Content-Type");
		assert_string_equal(have, want);
		free(have);
		free(want);
		want = header(&a, "Content-Length");
		have = header(&b, "Content-Length");
		/* The metrics and the host change meanwhile. */
		if (route->answer == API_BODY_JSON && route->id != API_GET_HOST)
			assert_string_equal(have, want);
		free(have);
		free(want);
		answer_done(&a);
		answer_done(&b);
	}
	free(op);
	rig_call(r, "HEAD", "/v1/vms/v/start", "", NULL, &a);
	assert_int_equal(a.status, 405);
	expect_header(&a, "Allow", "POST");
	assert_int_equal(a.body_len, 0);
	answer_done(&a);
	rig_call(r, "PATCH", "/v1/vms/v", "", NULL, &a);
	expect_header(&a, "Allow", "GET, HEAD, DELETE");
	answer_done(&a);
	/* A refusal for another reason says nothing of methods. */
	rig_call(r, "POST", "/v1/vms?wait=x", "", "{}", &a);
	assert_int_equal(a.status, 400);
	assert_null(header(&a, "Allow"));
	answer_done(&a);
}

static void call_with_tag(struct rig *r, const char *method, const char *path,
			  const char *name, const char *tag, int want)
{
	struct answer a;
	char line[240];

	(void)snprintf(line, sizeof(line), "%s: %s\r\n", name, tag);
	rig_call(r, method, path, line, NULL, &a);
	if (a.status != want)
		fail_msg("%s %s with %s: %d", method, path, line, a.status);
	if (want == 304) {
		assert_int_equal(a.body_len, 0);
		free(header(&a, "ETag"));
	}
	answer_done(&a);
}

static void test_conditions(void **state)
{
	static const char *const verbs[] = { "start", "restart", "stop" };
	struct rig *r = *state;
	char *first, *second, list[160];
	struct answer a;

	free(rig_create(r, "\"name\":\"v\",\"start\":false", &a));
	answer_done(&a);
	rig_call(r, "GET", "/v1/vms/v", "", NULL, &a);
	first = header(&a, "ETag");
	assert_non_null(first);
	answer_done(&a);
	call_with_tag(r, "GET", "/v1/vms/v", "If-None-Match", first, 304);
	call_with_tag(r, "HEAD", "/v1/vms/v", "If-None-Match", first, 304);
	call_with_tag(r, "GET", "/v1/vms/v", "If-None-Match", "*", 304);
	call_with_tag(r, "GET", "/v1/vms/v", "If-None-Match", "\"x\"", 200);
	(void)snprintf(list, sizeof(list), "\"x\", W/%s", first);
	call_with_tag(r, "GET", "/v1/vms/v", "If-None-Match", list, 304);
	/* A weak tag is not good enough for a change. */
	call_with_tag(r, "POST", "/v1/vms/v/start", "If-Match", list, 412);
	for (size_t i = 0; i < 3; i++) {
		char path[64];

		(void)snprintf(path, sizeof(path), "/v1/vms/v/%s", verbs[i]);
		call_with_tag(r, "POST", path, "If-Match", "\"x\"", 412);
	}
	/* Another VM of that name in the same revision is another thing. */
	call_with_tag(r, "DELETE", "/v1/vms/v?wait=5", "If-Match", first, 202);
	free(rig_create(r, "\"name\":\"v\",\"start\":false", &a));
	answer_done(&a);
	rig_call(r, "GET", "/v1/vms/v", "", NULL, &a);
	second = header(&a, "ETag");
	answer_done(&a);
	assert_string_not_equal(first, second);
	call_with_tag(r, "GET", "/v1/vms/v", "If-None-Match", first, 200);
	call_with_tag(r, "DELETE", "/v1/vms/v", "If-Match", first, 412);
	free(first);
	free(second);
	/* What has no revision is known by what is shown. */
	rig_call(r, "GET", "/v1/images", "", NULL, &a);
	first = header(&a, "ETag");
	answer_done(&a);
	call_with_tag(r, "GET", "/v1/images", "If-None-Match", first, 304);
	free(first);
}

static void expect_raw(struct rig *r, const char *text, unsigned answers)
{
	struct answer a;
	unsigned n = 0;

	rig_raw(r, text, strlen(text), &a);
	assert_int_equal(a.status, 200);
	for (const char *at = a.body; (at = strstr(at, "HTTP/1.1 200")); at++)
		n++;
	assert_int_equal(n + 1, answers);
	answer_done(&a);
}

static void test_one_request_after_the_other(void **state)
{
	struct rig *r = *state;

	expect_raw(r,
		   "GET /v1/version HTTP/1.1\r\nHost: x\r\n\r\n"
		   "\r\nGET http://vmd/v1/vms HTTP/1.1\r\nHost: x\r\n\r\n"
		   "GET /v1/host HTTP/1.1\r\nHost: x\r\nConnection: x, "
		   "Close\r\n\r\n",
		   3);
	expect_raw(r, "GET /v1/version HTTP/1.0\r\n\r\n", 1);
	/* A refused body that is there already does not end the connection. */
	expect_raw(r,
		   "GET /v1/version HTTP/1.1\r\nHost: x\r\n\r\n"
		   "PUT /v1/vms HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n"
		   "\r\n{}GET /v1/version HTTP/1.1\r\nHost: x\r\n"
		   "Connection: close\r\n\r\n",
		   2);
}

/* In chunks of one byte, with all that may stand between them. */
static void test_chunks(void **state)
{
	static const char body[] = "{\"image\":\"tiny\",\"start\":false}";
	struct rig *r = *state;
	struct answer a;
	char text[2048];
	size_t n = (size_t)snprintf(text, sizeof(text),
				    "POST /v1/vms HTTP/1.1\r\nHost: x\r\n"
				    "Connection: close\r\n"
				    "Transfer-Encoding: Chunked\r\n\r\n");

	for (size_t i = 0; i < sizeof(body) - 1; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n,
				      "%s1%s\r\n%c\r\n", i % 2 ? "00" : "",
				      i % 3 ? "" : ";a=\"b\"", body[i]);
	n += (size_t)snprintf(text + n, sizeof(text) - n,
			      "0\r\nTrailer: x\r\nAnother: y\r\n\r\n");
	rig_raw(r, text, n, &a);
	assert_int_equal(a.status, 202);
	rig_assert_valid(&api_vm_created, &a);
	answer_done(&a);
}

struct reading {
	int fd;
	char text[8192];
	size_t len;
};

static bool has_read(struct reading *in, const char *what)
{
	ssize_t n = recv(in->fd, in->text + in->len,
			 sizeof(in->text) - 1 - in->len, MSG_DONTWAIT);

	if (n > 0)
		in->len += (size_t)n;
	in->text[in->len] = '\0';
	return strstr(in->text, what);
}

static void test_continue_and_half_close(void **state)
{
	static const char head[] =
		"POST /v1/vms HTTP/1.1\r\nHost: x\r\nExpect: 100-Continue\r\n"
		"Content-Length: 32\r\n\r\n";
	struct rig *r = *state;
	int fd = rig_connect(r);
	struct reading in = { .fd = fd };

	assert_true(send(fd, head, sizeof(head) - 1, 0) > 0);
	RIG_UNTIL(r, has_read(&in, "100 Continue\r\n\r\n"));
	assert_true(send(fd, "{\"image\":\"tiny\",\"start\":  false}", 32, 0) >
		    0);
	/* Who has said all still wants the answer. */
	assert_int_equal(shutdown(fd, SHUT_WR), 0);
	RIG_UNTIL(r, has_read(&in, "HTTP/1.1 202 "));
	close(fd);
	RIG_UNTIL(r, http_connections(r->http) == 0);
}

/* Also what is wrong with a body is said once, behind the 100 that asked for it. */
static void test_bad_body_after_continue(void **state)
{
	static const char head[] =
		"POST /v1/vms HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
		"Transfer-Encoding: chunked\r\n\r\n";
	struct rig *r = *state;
	int fd = rig_connect(r);
	struct reading in = { .fd = fd };

	assert_true(send(fd, head, sizeof(head) - 1, 0) > 0);
	RIG_UNTIL(r, has_read(&in, "100 Continue\r\n\r\n"));
	/* The gate passes it, the library does not. */
	assert_true(send(fd, "0\r\nno colon\r\n\r\n", 15, 0) > 0);
	RIG_UNTIL(r, has_read(&in, "\"code\":\"bad_request\""));
	assert_non_null(strstr(in.text, "100 Continue\r\n\r\nHTTP/1.1 400 "));
	assert_null(strstr(in.text, "<html"));
	close(fd);
	RIG_UNTIL(r, http_connections(r->http) == 0);
}

#define CHUNKED \
	"POST /v1/vms HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
/* A connection is kept after HEAD, 304, answers and refusals alike. */
static void test_a_connection_is_kept(void **state)
{
	static const char *const asks[] = {
		"HEAD /v1/version HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET /v1/images HTTP/1.1\r\nHost: x\r\nIf-None-Match: *\r\n\r\n",
		"GET /v1/vms/nobody HTTP/1.1\r\nHost: x\r\n\r\n",
		"POST /v1/vms HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n{",
		CHUNKED "\r\n1\r\n{\r\n0\r\n\r\n",
	};
	static const char *const answers[] = { "200 OK", "304 Not Modified",
					       "vm_not_found", "json_invalid",
					       "json_invalid" };
	struct rig *r = *state;
	struct reading in = { .fd = rig_connect(r) };

	for (size_t i = 0; i < 2 * sizeof(asks) / sizeof(asks[0]); i++) {
		const char *ask = asks[i % (sizeof(asks) / sizeof(asks[0]))];

		in.len = 0;
		assert_true(send(in.fd, ask, strlen(ask), MSG_NOSIGNAL) > 0);
		RIG_UNTIL(r, has_read(&in, answers[i % 5]));
		assert_null(strstr(in.text, "Connection: close"));
	}
	close(in.fd);
	RIG_UNTIL(r, http_connections(r->http) == 0);
}

/* However many requests came with it, so wherever a turn of its connection ends: a
 * request that waits was given to its handler once. Given twice, the second stop
 * is refused, as the first one is under way. */
static void test_a_request_is_done_once(void **state)
{
	static const char look[] =
		"GET /v1/version HTTP/1.1\r\nHost: x\r\n\r\n";
	static const char stop[] =
		"POST /v1/vms/v/stop?wait=5 HTTP/1.1\r\nHost: x\r\n"
		"Content-Length: 2\r\nConnection: close\r\n\r\n{}";
	struct rig *r = *state;
	struct answer a;

	free(rig_create(r, "\"name\":\"v\"", &a));
	answer_done(&a);
	/* Blank lines are steps, too: all remainders are met. */
	for (unsigned looks = 0; looks < 12; looks++) {
		for (unsigned blanks = 0; blanks < 5; blanks++) {
			char text[2048] = "";

			for (unsigned i = 0; i < looks; i++)
				strcat(text, look);
			for (unsigned i = 0; i < blanks; i++)
				strcat(text, "\r\n");
			strcat(text, stop);
			rig_raw(r, text, strlen(text), &a);
			if (!strstr(a.body, "\"state\":\"succeeded\""))
				fail_msg("%u requests, %u blank lines: %s",
					 looks, blanks, strrchr(a.body, 0x0a));
			answer_done(&a);
			rig_expect(r, "POST", "/v1/vms/v/start?wait=5", NULL,
				   "state", "succeeded");
		}
	}
}

/* A head that leaves the library hardly any room for the body. */
static void test_a_large_head_and_a_large_body(void **state)
{
	enum {
		FIELDS = 97,
		FIELD = 320,
		BODY = 200000
	};
	struct rig *r = *state;
	char *text = calloc(1, FIELDS * FIELD + BODY + 512);
	struct answer a;
	int n;

	assert_non_null(text);
	n = sprintf(text,
		    "POST /v1/vms HTTP/1.1\r\nHost: x\r\n"
		    "Connection: close\r\nContent-Length: %d\r\n",
		    BODY);
	for (int i = 0; i < FIELDS; i++)
		n += sprintf(text + n, "X%02d: %0*d\r\n", i, FIELD - 8, 0);
	n += sprintf(text + n, "\r\n%-*s", BODY,
		     "{\"image\":\"tiny\",\"start\":false}");
	rig_raw(r, text, (size_t)n, &a);
	assert_int_equal(a.status, 202);
	answer_done(&a);
	free(text);
}

static void test_cursors_are_taken_only_when_given(void **state)
{
	static const char *const invented[] = {
		"zzzz",
		"%21%21",
		"abc",
		"0000000000000000-aaaaaaaaaaaaaaaaaaaaaaaaaa",
		"0000000000000000-aaaaaaaaaaaaaaaaaaaaaaaaaa.0000000000000000",
		"5",
		".",
	};
	struct rig *r = *state;
	struct answer a;
	char path[256], *vms, *ops;

	for (int i = 0; i < 3; i++) {
		free(rig_create(r, "\"start\":false", &a));
		answer_done(&a);
	}
	for (size_t i = 0; i < sizeof(invented) / sizeof(invented[0]); i++) {
		(void)snprintf(path, sizeof(path), "/v1/vms?cursor=%s",
			       invented[i]);
		rig_expect(r, "GET", path, NULL, "code", "bad_cursor");
		(void)snprintf(path, sizeof(path), "/v1/operations?cursor=%s",
			       invented[i]);
		rig_expect(r, "GET", path, NULL, "code", "bad_cursor");
	}
	rig_call(r, "GET", "/v1/vms?limit=1", "", NULL, &a);
	vms = strdup(answer_text(&a, "next_cursor"));
	answer_done(&a);
	rig_call(r, "GET", "/v1/operations?limit=1", "", NULL, &a);
	ops = strdup(answer_text(&a, "next_cursor"));
	answer_done(&a);
	/* The next daemon knows it; the other list does not. */
	rig_drop(r);
	rig_start(r);
	(void)snprintf(path, sizeof(path), "/v1/vms?cursor=%s", vms);
	rig_call(r, "GET", path, "", NULL, &a);
	assert_int_equal(json_array_size(json_object_get(a.json, "items")), 2);
	answer_done(&a);
	(void)snprintf(path, sizeof(path), "/v1/operations?cursor=%s", vms);
	rig_expect(r, "GET", path, NULL, "code", "bad_cursor");
	/* Of operations that were forgotten meanwhile: the rest is there. */
	(void)snprintf(path, sizeof(path), "/v1/operations?cursor=%s", ops);
	rig_call(r, "GET", path, "", NULL, &a);
	assert_int_equal(json_array_size(json_object_get(a.json, "items")), 2);
	answer_done(&a);
	free(vms);
	free(ops);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(test_head_is_get_without_a_body),
		RIG_TEST(test_conditions),
		RIG_TEST(test_one_request_after_the_other),
		RIG_TEST(test_chunks),
		RIG_TEST(test_continue_and_half_close),
		RIG_TEST(test_bad_body_after_continue),
		RIG_TEST(test_a_connection_is_kept),
		RIG_TEST(test_a_request_is_done_once),
		RIG_TEST(test_a_large_head_and_a_large_body),
		RIG_TEST(test_cursors_are_taken_only_when_given),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
