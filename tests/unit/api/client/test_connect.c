/* SPDX-License-Identifier: Apache-2.0 */
/* A daemon that is busy is waited for, and is not taken for one that is gone. */
#include "tests/unit/test.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "api/client/client.h"
#include "base/sock.h"
#include "tests/unit/tmpdir.h"

struct fixture {
	struct tmpdir dir;
	char path[128];
	int listen_fd;
	int waiting[16]; /* connections nobody took yet */
	size_t count;
};

static int notice_fd = -1;
static unsigned notices;

static void on_notice(const char *text)
{
	assert_non_null(strstr(text, "busy"));
	notices++;
	if (notice_fd >= 0)
		assert_int_equal(write(notice_fd, "x", 1), 1);
}

static int connect_once(const char *path)
{
	int fd = -1, rc = sock_connect_unix(AT_FDCWD, path, &fd, NULL);

	return rc < 0 ? rc : fd;
}

/* A listener whose queue is full. */
static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd;

	assert_non_null(f);
	tmpdir_init(&f->dir);
	(void)snprintf(f->path, sizeof(f->path), "%s/s", f->dir.path);
	(void)snprintf(addr.sun_path, sizeof(addr.sun_path), "%.100s", f->path);
	f->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(
		bind(f->listen_fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(f->listen_fd, 1), 0);
	while ((fd = connect_once(f->path)) >= 0 && f->count < 16)
		f->waiting[f->count++] = fd;
	assert_int_equal(fd, -EAGAIN);
	notices = 0;
	notice_fd = -1;
	api_set_busy_notice(on_notice);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	for (size_t i = 0; i < f->count; i++)
		close(f->waiting[i]);
	close(f->listen_fd);
	api_set_busy_notice(NULL);
	tmpdir_done(&f->dir);
	free(f);
	return 0;
}

#define OK                                                     \
	"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: " \
	"close\r\n\r\n{}"

/* Takes and answers all connections, from the moment when somebody was told to wait. */
static pid_t accept_when_told(struct fixture *f)
{
	int fds[2];
	pid_t pid;
	char byte;
	int fd;

	assert_int_equal(pipe(fds), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		(void)alarm(60);
		if (read(fds[0], &byte, 1) == 1)
			while ((fd = accept(f->listen_fd, NULL, NULL)) >= 0)
				(void)!send(fd, OK, strlen(OK), MSG_NOSIGNAL);
		_exit(0);
	}
	close(fds[0]);
	notice_fd = fds[1];
	return pid;
}

static void end(pid_t pid)
{
	(void)kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	close(notice_fd);
}

static void test_full_queue_is_waited_for(void **state)
{
	struct fixture *f = *state;
	struct api_patience patience = { 0 };
	struct err e = ERR_INIT;
	pid_t pid = accept_when_told(f);
	int fd = -1;

	assert_int_equal(api_connect(f->path, &patience, &fd, &e), 0);
	assert_int_equal(notices, 1);
	assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
	close(fd);
	end(pid);
}

static void test_patience_has_an_end(void **state)
{
	struct fixture *f = *state;
	struct api_patience patience = { .limit_ms = 50 };
	struct err e = ERR_INIT;
	int fd = -1;

	assert_true(api_connect(f->path, &patience, &fd, &e) < 0);
	assert_string_equal(e.code, "daemon_busy");
	assert_null(strstr(e.msg, "nobody listens"));
	assert_int_equal(notices, 1);
	/* Who is not there is not waited for. */
	close(f->listen_fd);
	assert_true(api_connect(f->path, &patience, &fd, &e) < 0);
	assert_string_equal(e.code, "daemon_not_running");
	assert_int_equal(notices, 1);
	f->listen_fd = dup(STDERR_FILENO);
}

static bool enough(void *ctx)
{
	(void)ctx;
	return notices > 0;
}

static void test_interrupt_ends_the_wait(void **state)
{
	struct fixture *f = *state;
	struct api_patience patience = { .interrupt = enough };
	struct err e = ERR_INIT;
	int fd = -1;

	assert_true(api_connect(f->path, &patience, &fd, &e) < 0);
	assert_string_equal(e.code, "interrupted");
}

/* 503 of a limit once, then 200; or 503 for another reason. */
static pid_t serve(struct fixture *f, const char *code)
{
	char first[512], in[4096];
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid)
		return pid;
	(void)alarm(60); /* also when the test fails */
	(void)snprintf(
		first, sizeof(first),
		"HTTP/1.1 503 x\r\nRetry-After: 1\r\nConnection: close"
		"\r\n\r\n{\"code\":\"%s\",\"detail\":\"x\",\"status\":503"
		"}",
		code);
	for (int n = 0;; n++) {
		const char *text = n == 0 ? first : OK;
		int fd = accept(f->listen_fd, NULL, NULL);

		if (fd < 0 || recv(fd, in, sizeof(in), 0) <= 0) {
			close(fd);
			n--;
			continue;
		}
		(void)!send(fd, text, strlen(text), MSG_NOSIGNAL);
		close(fd);
	}
}

/* libcurl's own way of connecting has patience, too. */
static void test_call_waits_for_the_queue(void **state)
{
	struct fixture *f = *state;
	struct api_client *c = api_client_new(f->path, NULL);
	struct err e = ERR_INIT;
	pid_t pid = accept_when_told(f);

	if (api_client_call(c, "GET", "/x", NULL, NULL, NULL, &e) < 0)
		fail_msg("%s: %s", e.code, e.msg);
	assert_int_equal(notices, 1);
	end(pid);
	api_client_free(c);
}

static void test_limit_is_tried_again(void **state)
{
	struct fixture *f = *state;
	struct api_client *c = api_client_new(f->path, NULL);
	struct err e = ERR_INIT;
	pid_t pid;

	for (size_t i = 0; i < f->count; i++)
		close(f->waiting[i]);
	f->count = 0;
	pid = serve(f, "too_many_connections");
	if (api_client_call(c, "GET", "/x", NULL, NULL, NULL, &e) < 0)
		fail_msg("%s: %s", e.code, e.msg);
	assert_int_equal(notices, 1);
	end(pid);
	pid = serve(f, "engine_unavailable");
	assert_true(api_client_call(c, "GET", "/x", NULL, NULL, NULL, &e) < 0);
	assert_string_equal(e.code, "engine_unavailable");
	assert_int_equal(notices, 1);
	end(pid);
	api_client_free(c);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_full_queue_is_waited_for),
		TEST(test_patience_has_an_end),
		TEST(test_interrupt_ends_the_wait),
		TEST(test_call_waits_for_the_queue),
		TEST(test_limit_is_tried_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
