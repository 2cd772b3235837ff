/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hostile HTTP against the real server on its socket: malformed, oversized,
 * wrong type, wrong method, half requests, floods. Always an answer or a close,
 * never a crash, a leak or a change; at the end an honest request works.
 */
#include "tests/unit/test.h"

#include <fcntl.h>
#include <grp.h>
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
	assert_true(a.status == 0 || a.status >= 400);
	answer_done(&a);
	memset(text, 'a', big);
	(void)memcpy(text, "GET /", 5);
	memcpy(text + 100000, " HTTP/1.1\r\n\r\n", 13);
	rig_raw(r, text, 100013, &a);
	assert_true(a.status == 0 || a.status >= 400);
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

	free(rig_create(r, "\"name\":\"w\"", &a));
	answer_done(&a);
	for (int i = 0; i < 50; i++) {
		static const char get[] =
			"GET /v1/vms/w/wait?state=stopped&timeout=600 "
			"HTTP/1.1\r\nHost: x\r\n\r\n";

		fds[i] = rig_connect(r);
		assert_true(send(fds[i], get, sizeof(get) - 1, 0) > 0);
	}
	RIG_UNTIL(r, http_connections(r->http) == 50);
	assert_alive(r);
	for (int i = 0; i < 50; i++)
		close(fds[i]);
	RIG_UNTIL(r, http_connections(r->http) == 0);
}

static void test_too_many_connections(void **state)
{
	struct rig *r = *state;
	int fds[HTTP_CONNECTIONS_MAX + 20];
	char text[512] = "";
	size_t n = sizeof(fds) / sizeof(fds[0]);

	for (size_t i = 0; i < n; i++) {
		fds[i] = rig_connect(r);
		(void)loop_run_once(r->loop, 0);
	}
	RIG_UNTIL(r, http_connections(r->http) == HTTP_CONNECTIONS_MAX);
	assert_true(recv(fds[n - 1], text, sizeof(text) - 1, 0) > 0);
	assert_non_null(strstr(text, "503 "));
	assert_non_null(strstr(text, "too_many_connections"));
	for (size_t i = 0; i < n; i++)
		close(fds[i]);
	RIG_UNTIL(r, http_connections(r->http) == 0);
	assert_alive(r);
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
		assert_int_equal(a.status, 400);
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
static void test_peers_are_told_apart(void **state)
{
	struct rig *r = *state;
	char path[128];
	int dirfd, fd;

	if (geteuid() != 0) {
		print_message("SKIP other users need root\n");
		skip();
	}
	http_free(r->http);
	dirfd = open(r->run, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(sock_listen_unix(dirfd, "vmd.sock", 0666, &fd, NULL),
			 0);
	assert_int_equal(fchownat(dirfd, "vmd.sock", 0, API_GROUP, 0), 0);
	assert_int_equal(fchmodat(dirfd, "vmd.sock", 0666, 0), 0);
	close(dirfd);
	assert_int_equal(chmod(r->dir, 0755), 0);
	(void)snprintf(path, sizeof(path), "%s/vmd.sock", r->run);
	r->config.socket_path = path;
	r->http = http_new(&r->d, fd, NULL);
	assert_non_null(r->http);
	assert_asked(r, NOBODY, NOBODY, 403);
	assert_asked(r, NOBODY, API_GROUP, 200); /* supplementary */
	assert_asked(r, API_GROUP, NOBODY, 200); /* primary */
	assert_asked(r, API_GROUP + 1, API_GROUP - 1, 403);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(test_routes_methods_types),
		RIG_TEST(test_sizes),
		RIG_TEST(test_garbage_and_half_requests),
		RIG_TEST(test_waiters_that_leave),
		RIG_TEST(test_too_many_connections),
		RIG_TEST(test_slow_clients_are_cut),
		RIG_TEST(test_websocket_handshakes),
		RIG_TEST(test_peers_are_told_apart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
