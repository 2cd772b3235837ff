/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hostile HTTP against the real server on its socket: malformed, oversized,
 * wrong type, wrong method, half requests, floods. Always an answer or a close,
 * never a crash, a leak or a change; at the end an honest request works.
 */
#include "tests/unit/test.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/sock.h"
#include "rig.h"
#include "vmd/http/http_share.h"

static void assert_alive(struct rig *r)
{
	struct answer a;

	rig_call(r, "GET", "/v1/version", "", NULL, &a);
	assert_int_equal(a.status, 200);
	answer_done(&a);
}

static void test_routes_methods_types(void **state)
{
	static const struct {
		const char *method, *path, *headers, *body;
		int status;
		const char *code;
	} cases[] = {
		{ "GET", "/", "", NULL, 404, "route_unknown" },
		{ "GET", "/v1/nothing", "", NULL, 404, "route_unknown" },
		{ "GET", "/v1/vms/", "", NULL, 404, NULL },
		{ "GET", "/v1/vms/../../etc/passwd", "", NULL, 404, NULL },
		{ "GET", "/v1/vms/%00", "", NULL, 400, NULL },
		{ "GET", "/v1/vms/%zz", "", NULL, 400, NULL },
		{ "GET", "/v1/vms/nope", "", NULL, 404, "vm_not_found" },
		{ "PATCH", "/v1/vms", "", NULL, 405, "method_not_allowed" },
		{ "PUT", "/v1/vms", "", "{}", 405, "method_not_allowed" },
		{ "GET", "/v1/vms?limit=0", "", NULL, 400, NULL },
		{ "GET", "/v1/vms?limit=x", "", NULL, 400, NULL },
		{ "GET", "/v1/vms?what=1", "", NULL, 400, NULL },
		{ "GET", "/v1/vms?limit=1&limit=2", "", NULL, 400, NULL },
		{ "GET", "/v1/vms", "", "{}", 400, "body_not_expected" },
		{ "POST", "/v1/vms", "Content-Type: text/plain\r\n", "{}", 415,
		  "unsupported_media_type" },
		{ "POST", "/v1/vms", "", "{", 400, NULL },
		{ "POST", "/v1/vms", "", "{}{}", 400, NULL },
		{ "POST", "/v1/vms", "", "\xff\xfe", 400, NULL },
		{ "POST", "/v1/vms", "", "null", 400, NULL },
		{ "POST", "/v1/vms", "", "{\"image\":7}", 400, "wrong_type" },
		{ "POST", "/v1/vms", "", "{\"image\":\"tiny\",\"vcpus\":1e99}",
		  400, NULL },
		{ "POST", "/v1/vms", "",
		  "{\"image\":\"tiny\",\"memory_bytes\":"
		  "99999999999999999999999}",
		  400, NULL },
		{ "POST", "/v1/vms", "",
		  "{\"image\":\"tiny\",\"name\":\"../../x\"}", 400, NULL },
		{ "POST", "/v1/vms", "Idempotency-Key: \r\n",
		  "{\"image\":\"tiny\"}", 400, "bad_idempotency_key" },
		{ "GET", "/v1/vms/nope/exec", "", NULL, 404, NULL },
		{ "DELETE", "/v1/operations/nope", "", NULL, 404, NULL },
		{ "GET", "/v1/operations/aaaa/wait?timeout=99999999", "", NULL,
		  400, NULL },
	};
	struct rig *r = *state;
	struct answer a;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		rig_call(r, cases[i].method, cases[i].path, cases[i].headers,
			 cases[i].body, &a);
		if (a.status != cases[i].status ||
		    (cases[i].code &&
		     strcmp(answer_code(&a), cases[i].code) != 0))
			fail_msg("%s %s %s: %d %s", cases[i].method,
				 cases[i].path,
				 cases[i].body ? cases[i].body : "", a.status,
				 a.body ? a.body : "");
		rig_assert_valid(&api_problem, &a);
		if (a.status == 405)
			assert_non_null(strstr(a.head, "Allow: "));
		assert_non_null(strstr(a.head, "application/problem+json"));
		answer_done(&a);
	}
	assert_int_equal(r->d.vm_count, 0);
	assert_alive(r);
}

static void test_sizes(void **state)
{
	struct rig *r = *state;
	size_t big = API_COMMAND_TEXT_MAX + (1 << 20);
	char *text = malloc(big + 1);
	struct answer a;
	int len;

	assert_non_null(text);
	memset(text, 'a', big);
	text[big] = '\0';
	rig_call(r, "POST", "/v1/vms", "", text, &a); /* told by its length */
	assert_int_equal(a.status, 413);
	answer_done(&a);
	/* The same without a length. */
	len = snprintf(text, big,
		       "POST /v1/images HTTP/1.1\r\nHost: x\r\nContent-Type: "
		       "application/json\r\nConnection: close\r\n"
		       "Transfer-Encoding: chunked\r\n\r\n100000\r\n");
	memset(text + len, 'a', 0x100000);
	memcpy(text + len + 0x100000, "\r\n0\r\n\r\n", 7);
	rig_raw(r, text, (size_t)len + 0x100000 + 7, &a);
	assert_int_equal(a.status, 413);
	answer_done(&a);
	/* A header and a path that do not fit. */
	memset(text, 'a', big);
	(void)memcpy(text, "GET /v1/vms HTTP/1.1\r\nX: ", 25);
	memcpy(text + 100000, "\r\n\r\n", 4);
	rig_raw(r, text, 100004, &a);
	assert_int_equal(a.status, 431);
	answer_done(&a);
	memset(text, 'a', big);
	(void)memcpy(text, "GET /", 5);
	memcpy(text + 100000, " HTTP/1.1\r\n\r\n", 13);
	rig_raw(r, text, 100013, &a);
	assert_int_equal(a.status, 414);
	answer_done(&a);
	/* As much as is said to fit: nothing is wrong but the name. */
	len = snprintf(text, big, "GET /v1/vms/");
	memset(text + len, 'a', 16300);
	len += 16300;
	len += snprintf(text + len, big - (size_t)len,
			" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n");
	for (int i = 0; i < 97; i++)
		len += snprintf(text + len, big - (size_t)len,
				"X-%d: %0160d\r\n", i, i);
	len += snprintf(text + len, big - (size_t)len, "\r\n");
	assert_true(len > 32000 && len < 32768);
	rig_raw(r, text, (size_t)len, &a);
	if (a.status != 400 && a.status != 404)
		fail_msg("%s", a.head);
	assert_string_not_equal(answer_code(&a), "bad_request");
	answer_done(&a);
	/* More headers than anybody needs. */
	len = snprintf(text, big, "GET /v1/vms HTTP/1.1\r\nHost: x\r\n");
	for (int i = 0; i < 100; i++)
		len += snprintf(text + len, big - (size_t)len, "a: b\r\n");
	len += snprintf(text + len, big - (size_t)len, "\r\n");
	rig_raw(r, text, (size_t)len, &a);
	assert_int_equal(a.status, 431);
	answer_done(&a);
	/* Nesting. */
	memset(text, '[', 1000);
	text[1000] = '\0';
	rig_call(r, "POST", "/v1/vms", "", text, &a);
	assert_int_equal(a.status, 400);
	answer_done(&a);
	free(text);
	assert_alive(r);
}

static void test_garbage_and_half_requests(void **state)
{
	static const char *const halves[] = {
		"",
		"G",
		"GET",
		"GET /v1/vms",
		"GET /v1/vms HTTP/1.1\r\n",
		"GET /v1/vms HTTP/9.9\r\n\r\n",
		"\r\n\r\n\r\n",
		"POST /v1/vms HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n{",
		"POST /v1/vms HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
		"POST /v1/vms HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nz",
		"GET /v1/vms/x/wait?state=ready HTTP/1.1\r\nHost: x\r\n\r\n",
		"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
	};
	struct rig *r = *state;
	size_t before;
	uint64_t seed = 1;

	RIG_UNTIL(r, rig_swept(r));
	before = rig_open_fds();

	for (size_t i = 0; i < sizeof(halves) / sizeof(halves[0]); i++) {
		int fd = rig_connect(r);

		(void)!send(fd, halves[i], strlen(halves[i]), MSG_NOSIGNAL);
		rig_settle(r);
		close(fd);
	}
	for (int i = 0; i < 200; i++) {
		uint8_t noise[300];
		int fd = rig_connect(r);

		for (size_t k = 0; k < sizeof(noise); k++) {
			seed = seed * 6364136223846793005u +
			       1442695040888963407u;
			noise[k] = (uint8_t)(seed >> 56);
		}
		memcpy(noise, "GET /", i % 2 ? 5 : 0);
		(void)!send(fd, noise, sizeof(noise), MSG_NOSIGNAL);
		(void)loop_run_once(r->loop, 1);
		close(fd);
	}
	RIG_UNTIL(r, http_connections(r->http) == 0);
	assert_int_equal(rig_open_fds(), before);
	assert_alive(r);
}

/* Waiters whose client goes are forgotten at once. */
static void test_waiters_that_leave(void **state)
{
	struct rig *r = *state;
	struct answer a;
	int fds[50];
	size_t before;

	free(rig_create(r, "\"name\":\"w\"", &a));
	answer_done(&a);
	RIG_UNTIL(r, rig_swept(r));
	before = rig_open_fds();
	for (int i = 0; i < 50; i++) {
		static const char get[] =
			"GET /v1/vms/w/wait?state=stopped&timeout=600 "
			"HTTP/1.1\r\nHost: x\r\n\r\n";

		fds[i] = rig_connect(r);
		assert_true(send(fds[i], get, sizeof(get) - 1, 0) > 0);
	}
	RIG_UNTIL(r, http_connections(r->http) == 50);
	assert_alive(r);
	/* The client's, ours, and a pair to the library. */
	assert_true(rig_open_fds() <= before + (size_t)50 * 4);
	for (int i = 0; i < 50; i++)
		close(fds[i]);
	RIG_UNTIL(r, http_connections(r->http) == 0);
	assert_int_equal(rig_open_fds(), before);
}

#define GOOD "GET /v1/version HTTP/1.1\r\nHost: x\r\n\r\n"
#define POST "POST /v1/vms HTTP/1.1\r\nHost: x\r\n"
static const struct {
	const char *text, *code;
	int status;
} malformed[] = {
	{ "GET /v1/version HTTP/1.1\r\n\r\n", "bad_request", 400 },
	{ "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "bad_request", 400 },
	{ "GET / HTTP/1.1\nHost: a\n\n", "bad_request", 400 },
	{ "GET /\r\n\r\n", "bad_request", 400 },
	{ "GET / x HTTP/1.1\r\nHost: a\r\n\r\n", "bad_request", 400 },
	{ "GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n", "bad_request", 400 },
	{ "GET / HTTP/1.1\r\nHost : a\r\n\r\n", "bad_request", 400 },
	{ "GET / HTTP/1.1\r\nHost: a\r\nX: \x01\r\n\r\n", "bad_request", 400 },
	{ "GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n", "bad_request", 400 },
	{ "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "bad_request", 400 },
	{ "G(T / HTTP/1.1\r\nHost: a\r\n\r\n", "bad_request", 400 },
	{ "GET / HTTP/2.0\r\nHost: a\r\n\r\n", "http_version", 505 },
	{ "GET / JTTP/1.1\r\nHost: a\r\n\r\n", "bad_request", 400 },
	{ POST "Content-Length: -1\r\n\r\n{}", "bad_request", 400 },
	{ POST "Content-Length: 2x\r\n\r\n{}", "bad_request", 400 },
	{ POST "Content-Length: \r\n\r\n{}", "bad_request", 400 },
	{ POST "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
	  "bad_request", 400 },
	{ POST "Content-Length: 2, 2\r\n\r\n{}", "bad_request", 400 },
	{ POST "Content-Length: 99999999999999999999\r\n\r\n{}", "bad_request",
	  400 },
	{ POST "Content-Length: 2\r\nTransfer-Encoding: chunked"
	       "\r\n\r\n{}",
	  "bad_request", 400 },
	{ POST "Transfer-Encoding: gzip\r\n\r\n{}", "transfer_encoding", 501 },
	{ POST "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
	  "transfer_encoding", 501 },
	{ POST "Expect: miracles\r\n\r\n", "expectation_failed", 417 },
	{ POST "Transfer-Encoding: chunked\r\n\r\nz\r\n", "bad_request", 400 },
	{ POST "Transfer-Encoding: chunked\r\n\r\n1\r\n{}", "bad_request",
	  400 },
	{ POST "Transfer-Encoding: chunked\r\n\r\n"
	       "ffffffffffffffff\r\n{}",
	  "bad_request", 400 },
	{ POST "Transfer-Encoding: chunked\r\n\r\n0\r\nx\n", "bad_request",
	  400 },
	{ POST "Transfer-Encoding: chunked\r\n\r\n0\r\nx\r\n\r\n",
	  "bad_request", 400 },
	{ POST "Transfer-Encoding: chunked\r\n\r\n0\r\nx: y\r\n z\r\n\r\n",
	  "bad_request", 400 },
	{ POST "Transfer-Encoding: chunked\r\n\r\n2 \r\n{}\r\n0\r\n\r\n",
	  "bad_request", 400 },
	{ POST "Transfer-Encoding: chunked\r\n\r\n2\n{}\r\n0\r\n\r\n",
	  "bad_request", 400 },
	/* The library would see no chunks where others do. */
	{ POST "Transfer-Encoding: chunked \r\n\r\n0\r\n\r\n", "bad_request",
	  400 },
	{ POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n"
	       "\r\n0\r\n\r\n",
	  "transfer_encoding", 501 },
	/* The library's word for a length that is not known. */
	{ POST "Content-Length: 18446744073709551615\r\n\r\n{}", "bad_request",
	  400 },
	{ "GET\r\nHost: a\r\n\r\n", "bad_request", 400 },
	{ " GET / HTTP/1.1\r\nHost: a\r\n\r\n", "bad_request", 400 },
	/* The library takes the line without a name for the end of the head. */
	{ "GET /v1/vms HTTP/1.1\r\nHost: a\r\n:\r\nX: GET /v1/vms HTTP/1.1\r\n"
	  "Host: b\r\n\r\n",
	  "bad_request", 400 },
	/* A CR alone is no end of a line, also where the library takes it. */
	{ POST "Transfer-Encoding: chunked\r\n\r\n0\r\nx: y\rz: y\r\n\r\n",
	  "bad_request", 400 },
	{ POST "Transfer-Encoding: chunked\r\n\r\n0\r\nx: y\r\r\n\r\n",
	  "bad_request", 400 },
	{ POST "Transfer-Encoding: chunked\r\n\r\n0\r\nx: y\r\n:\r\nGET "
	       "/v1/version HTTP/1.1\r\nHost: b\r\n\r\n",
	  "bad_request", 400 },
	{ "GET / HTTP/0.9\r\nHost: a\r\n\r\n", "http_version", 505 },
};

/* The same in two pieces, the second one when the first was looked at. */
static void ask_in_pieces(struct rig *r, const char *text, size_t first,
			  struct answer *ret)
{
	struct buf in = BUF_INIT(1 << 20);
	size_t len = strlen(text);
	int fd = rig_connect(r);
	ssize_t n;

	assert_true(send(fd, text, first, MSG_NOSIGNAL) > 0);
	for (int i = 0; i < 8; i++)
		(void)loop_run_once(r->loop, 0);
	(void)!send(fd, text + first, len - first, MSG_NOSIGNAL);
	do {
		(void)loop_run_once(r->loop, 2);
		n = recv(fd, buf_reserve(&in, 65536), 65536, MSG_DONTWAIT);
		if (n > 0)
			buf_commit(&in, (size_t)n);
	} while (n > 0 || (n < 0 && errno == EAGAIN));
	close(fd);
	*ret = rig_parse(buf_to_string(&in), buf_len(&in));
	buf_done(&in);
}

/*
 * What is no HTTP gets one answer, with a problem, and the connection ends; also
 * when the request before it was a good one, and wherever it is cut.
 */
static void test_malformed_is_answered_once(void **state)
{
	struct rig *r = *state;
	struct answer a;
	char text[512];

	for (size_t i = 0; i < 4 * sizeof(malformed) / sizeof(malformed[0]);
	     i++) {
		bool after = i % 4 == 1;
		size_t k = i / 4, len = strlen(malformed[k].text);
		char *head;

		(void)snprintf(text, sizeof(text), "%s%s", after ? GOOD : "",
			       malformed[k].text);
		if (i % 4 < 2)
			rig_raw(r, text, strlen(text), &a);
		else
			ask_in_pieces(r, text,
				      i % 4 == 2 ? strcspn(text, "\n") + 1
						 : len - 1,
				      &a);
		if (after) {
			assert_int_equal(a.status, 200);
			head = strstr(a.body, "HTTP/1.1 ");
			assert_non_null(head);
			head = strdup(head);
			answer_done(&a);
			a = rig_parse(head, strlen(head));
		}
		if (a.status != malformed[k].status ||
		    strcmp(answer_code(&a), malformed[k].code) != 0 ||
		    strstr(a.body, "Content-Type:"))
			fail_msg("%s: %d %s", text, a.status,
				 a.body ? a.body : "");
		rig_assert_valid(&api_problem, &a);
		assert_non_null(strstr(a.head, "application/problem+json"));
		assert_non_null(strstr(a.head, "Connection: close"));
		answer_done(&a);
	}
	assert_int_equal(r->d.vm_count, 0);
	RIG_UNTIL(r, http_connections(r->http) == 0);
	assert_alive(r);
}

/* With another limit of connections. */
static void restart(struct rig *r, unsigned max)
{
	rig_drop(r);
	r->config.connections_max = max;
	rig_start(r);
}

static void wait_for_stop(int fd, const char *vm)
{
	char text[160];

	(void)snprintf(text, sizeof(text),
		       "GET /v1/vms/%s/wait?state=stopped&timeout=600 "
		       "HTTP/1.1\r\nHost: x\r\n\r\n",
		       vm);
	assert_true(send(fd, text, strlen(text), MSG_NOSIGNAL) > 0);
}

/* One who opens more connections than he may loses his oldest idle ones; with
 * none idle he is told so, and when to come again. */
static void test_too_many_connections(void **state)
{
	enum {
		MAX = 64,
		MORE = 20
	};
	struct rig *r = *state;
	int fds[MAX + MORE];
	struct answer a;
	char text[1024];

	free(rig_create(r, "\"name\":\"w\"", &a));
	answer_done(&a);
	restart(r, MAX);
	for (size_t i = 0; i < MAX + MORE; i++) {
		fds[i] = rig_connect(r);
		(void)loop_run_once(r->loop, 0);
	}
	RIG_UNTIL(r, http_connections(r->http) == MAX);
	assert_alive(r);
	for (size_t i = 0; i < MAX + MORE; i++) {
		close(fds[i]);
		fds[i] = rig_connect(r);
		wait_for_stop(fds[i], "w");
		for (int k = 0; k < 4; k++)
			(void)loop_run_once(r->loop, 0);
	}
	RIG_UNTIL(r, http_connections(r->http) == MAX);
	memset(text, 0, sizeof(text));
	assert_true(recv(fds[MAX + MORE - 1], text, sizeof(text) - 1, 0) > 0);
	assert_non_null(strstr(text, "503 "));
	assert_non_null(strstr(text, "Retry-After: 1\r\n"));
	assert_non_null(strstr(text, "too_many_connections"));
	for (size_t i = 0; i < MAX + MORE; i++)
		close(fds[i]);
	RIG_UNTIL(r, http_connections(r->http) == 0);
	assert_alive(r);
}

/* However many come: each newcomer still finds room, and the reserve stays. */
static void test_shares(void **state)
{
	struct http_shares s = { .max = 1024, .reserve = 64 };
	struct http_member *m;
	size_t before = 960;
	bool full;

	(void)state;
	LIST_INIT(&s.members);
	for (uid_t uid = 70000; uid < 70006; uid++) {
		size_t n = 0;

		while (http_share_take(&s, uid, &full))
			n++;
		assert_true(full);
		assert_true(n >= before / 2 - 1 && n <= before / 2 + 1);
		before -= n;
	}
	for (size_t i = s.total; i < 1024; i++)
		assert_non_null(http_share_take(&s, 0, &full));
	assert_null(http_share_take(&s, 0, &full));
	while ((m = LIST_FIRST(&s.members)))
		http_share_give(&s, m);
	assert_int_equal(s.total, 0);
}

/* One byte now and then does not keep a connection; nor does silence. */
static void test_slow_clients_are_cut(void **state)
{
	static const char head[] = "POST /v1/vms HTTP/1.1\r\nHost: x\r\n"
				   "Content-Length: 100\r\n\r\n{{{{{{{{{{{{{{{";
	struct rig *r = *state;
	int silent, slow;

	r->config.slow_ms = 300;
	silent = rig_connect(r);
	slow = rig_connect(r);
	for (size_t i = 0; i < sizeof(head) - 1; i++) {
		(void)!send(slow, head + i, 1, MSG_NOSIGNAL);
		rig_spin(r, 8); /* the pace of the slow client */
	}
	RIG_UNTIL(r, http_connections(r->http) == 0);
	close(silent);
	close(slow);
	r->config.slow_ms = 30000;
	assert_alive(r);
}

static void test_websocket_handshakes(void **state)
{
	static const char *const heads[] = {
		"Upgrade: websocket\r\n",
		"Upgrade: websocket\r\nConnection: Upgrade\r\n"
		"Sec-WebSocket-Version: 13\r\n",
		"Upgrade: websocket\r\nConnection: Upgrade\r\n"
		"Sec-WebSocket-Version: 8\r\n"
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
		"Upgrade: websocket\r\nConnection: Upgrade\r\n"
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: short\r\n",
		"Upgrade: websocket\r\nConnection: Upgrade\r\n"
		"Sec-WebSocket-Version: 13\r\n"
		"Sec-WebSocket-Key: ************************\r\n",
	};
	struct rig *r = *state;
	struct answer a;

	free(rig_create(r, "\"name\":\"v\"", &a));
	answer_done(&a);
	for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
		rig_call(r, "GET", "/v1/vms/v/exec", heads[i], NULL, &a);
		/* Who cannot be served so is told what would do. */
		assert_int_equal(a.status, i == 0 || i == 2 ? 426 : 400);
		if (i == 0 || i == 2)
			assert_non_null(
				strstr(a.head, "Sec-WebSocket-Version: 13"));
		answer_done(&a);
	}
	assert_alive(r);
}

enum {
	API_GROUP = 54321,
	NOBODY = 65534
};

/* As nobody, in that group and no other: the status of the answer / 10. */
static pid_t ask_as(const struct rig *r, gid_t gid, gid_t extra)
{
	static const char get[] = "GET /v1/version HTTP/1.1\r\nHost: v\r\n\r\n";
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	char text[64] = "";
	pid_t pid = fork();
	int fd, status = 0;

	if (pid != 0)
		return pid;
	(void)snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/vmd.sock",
		       r->run);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (setgroups(1, &extra) < 0 || setresgid(gid, gid, gid) < 0 ||
	    setresuid(NOBODY, NOBODY, NOBODY) < 0 ||
	    connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		_exit(1);
	(void)!send(fd, get, sizeof(get) - 1, MSG_NOSIGNAL);
	(void)!recv(fd, text, sizeof(text) - 1, 0);
	(void)sscanf(text, "HTTP/1.1 %d", &status);
	_exit(status / 10);
}

static void assert_asked(struct rig *r, gid_t gid, gid_t extra, int want)
{
	pid_t pid = ask_as(r, gid, extra);
	int status = 0;

	assert_true(pid > 0);
	RIG_UNTIL(r, waitpid(pid, &status, WNOHANG) > 0);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status) * 10, want / 10 * 10);
}

/* The file lets everybody connect: the daemon itself must look. */
static void open_to_all(struct rig *r, char path[static 128])
{
	int dirfd, fd;

	http_free(r->http);
	dirfd = open(r->run, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(sock_listen_unix(dirfd, "vmd.sock", 0666, &fd, NULL),
			 0);
	assert_int_equal(fchownat(dirfd, "vmd.sock", 0, API_GROUP, 0), 0);
	assert_int_equal(fchmodat(dirfd, "vmd.sock", 0666, 0), 0);
	close(dirfd);
	assert_int_equal(chmod(r->dir, 0755), 0);
	(void)snprintf(path, 128, "%s/vmd.sock", r->run);
	r->config.socket_path = path;
	r->http = http_new(&r->d, fd, NULL);
	assert_non_null(r->http);
}

static void need_root(void)
{
	if (geteuid() == 0)
		return;
	print_message("SKIP other users need root\n");
	skip();
}

static void test_peers_are_told_apart(void **state)
{
	struct rig *r = *state;
	char path[128];

	need_root();
	open_to_all(r, path);
	assert_asked(r, NOBODY, NOBODY, 403);
	assert_asked(r, NOBODY, API_GROUP, 200); /* supplementary */
	assert_asked(r, API_GROUP, NOBODY, 200); /* primary */
	assert_asked(r, API_GROUP + 1, API_GROUP - 1, 403);
}

/* As that user: opens many connections that wait for something, tells when that
 * is done, and holds them until it is killed. */
static pid_t flood_as(const char *path, uid_t uid, unsigned count, int tell)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	pid_t pid = fork();
	int *fds;

	if (pid != 0)
		return pid;
	fds = calloc(count, sizeof(int));
	(void)snprintf(addr.sun_path, sizeof(addr.sun_path), "%.107s", path);
	if (!fds || setresgid(API_GROUP, API_GROUP, API_GROUP) < 0 ||
	    setresuid(uid, uid, uid) < 0)
		_exit(1);
	for (unsigned i = 0; i < count; i++) {
		static const char get[] =
			"GET /v1/vms/w/wait?state=stopped&timeout=600 "
			"HTTP/1.1\r\nHost: x\r\n\r\n";

		fds[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (connect(fds[i], (struct sockaddr *)&addr, sizeof(addr)) < 0)
			_exit(1);
		(void)!send(fds[i], get, sizeof(get) - 1, MSG_NOSIGNAL);
	}
	(void)!write(tell, "x", 1);
	(void)pause();
	_exit(0);
}

static void test_one_user_cannot_lock_out_others(void **state)
{
	struct rig *r = *state;
	struct answer a;
	char path[128], byte;
	int tell[2];
	pid_t pid;

	need_root();
	free(rig_create(r, "\"name\":\"w\"", &a));
	answer_done(&a);
	restart(r, 64);
	open_to_all(r, path);
	assert_int_equal(pipe2(tell, O_CLOEXEC | O_NONBLOCK), 0);
	pid = flood_as(path, NOBODY - 1, 300, tell[1]);
	assert_true(pid > 0);
	RIG_UNTIL(r, read(tell[0], &byte, 1) == 1);
	/* Half of what is not reserved, and no more. */
	RIG_UNTIL(r, http_connections(r->http) == 30);
	assert_asked(r, NOBODY, API_GROUP, 200);
	assert_alive(r); /* root */
	(void)kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	RIG_UNTIL(r, http_connections(r->http) == 0);
	close(tell[0]);
	close(tell[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(test_routes_methods_types),
		RIG_TEST(test_sizes),
		RIG_TEST(test_garbage_and_half_requests),
		RIG_TEST(test_waiters_that_leave),
		RIG_TEST(test_malformed_is_answered_once),
		RIG_TEST(test_too_many_connections),
		cmocka_unit_test(test_shares),
		RIG_TEST(test_one_user_cannot_lock_out_others),
		RIG_TEST(test_slow_clients_are_cut),
		RIG_TEST(test_websocket_handshakes),
		RIG_TEST(test_peers_are_told_apart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
