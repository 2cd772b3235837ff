/* SPDX-License-Identifier: Apache-2.0 */
/* The process that connects for the guest: what it reaches, and what it is. */
#include "../test.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/sock.h"
#include "monitor/lockdown/broker.h"

struct world {
	char dir[64], path[96];
	int fd, listening;
};

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	struct err e = ERR_INIT;

	(void)strcpy(w->dir, "/tmp/vmd-broker-XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	(void)snprintf(w->path, sizeof(w->path), "%s/v.sock", w->dir);
	(void)snprintf(w->path, sizeof(w->path), "%s/v.sock_5000", w->dir);
	assert_int_equal(sock_listen_unix(AT_FDCWD, w->path, 0600,
					  &w->listening, NULL),
			 0);
	(void)snprintf(w->path, sizeof(w->path), "%s/v.sock", w->dir);
	if (broker_start(w->path, &w->fd, &e) < 0)
		fail_msg("%s", e.msg);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;
	char path[128];

	close_fd(&w->fd);
	assert_true(waitpid(-1, NULL, 0) > 0);
	(void)close(w->listening);
	(void)snprintf(path, sizeof(path), "%s_5000", w->path);
	(void)unlink(path);
	assert_int_equal(rmdir(w->dir), 0);
	free(w);
	return 0;
}

/* Our only child. */
static pid_t broker_pid(void)
{
	char path[64];
	int pid = 0;
	FILE *f;

	(void)snprintf(path, sizeof(path), "/proc/self/task/%d/children",
		       (int)getpid());
	f = fopen(path, "re");
	assert_non_null(f);
	assert_int_equal(fscanf(f, "%d", &pid), 1);
	(void)fclose(f);
	return (pid_t)pid;
}

static void test_connect_reaches_its_ports_and_nothing_else(void **state)
{
	struct world *w = *state;
	char byte = 0;
	int fd = -1, peer = -1;

	assert_int_equal(broker_connect(w->fd, 5000, &fd), 0);
	assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	assert_int_equal(sock_accept(w->listening, &peer), 0);
	assert_int_equal(write(fd, "x", 1), 1);
	assert_int_equal(read(peer, &byte, 1), 1);
	assert_int_equal(byte, 'x');
	(void)close(fd);
	(void)close(peer);
	assert_int_equal(broker_connect(w->fd, 5001, &fd), -ENOENT);
	assert_int_equal(broker_connect(w->fd, UINT32_MAX, &fd), -ENOENT);
	/* It goes on. */
	assert_int_equal(broker_connect(w->fd, 5000, &fd), 0);
	(void)close(fd);
}

static void test_connects_without_end_leave_nothing_open(void **state)
{
	struct world *w = *state;
	int fd = -1, peer = -1;

	/* More than the files that it may have. */
	for (int i = 0; i < 500; i++) {
		assert_int_equal(broker_connect(w->fd, 5000, &fd), 0);
		assert_int_equal(sock_accept(w->listening, &peer), 0);
		(void)close(fd);
		(void)close(peer);
	}
}

static void test_a_full_backlog_is_an_error_at_once(void **state)
{
	struct world *w = *state;
	uint64_t begin = clock_mono_ms();
	int fds[64], n = 0, rc = 0;

	assert_int_equal(listen(w->listening, 3), 0);
	while (n < 64 && (rc = broker_connect(w->fd, 5000, &fds[n])) == 0)
		n++;
	assert_int_equal(rc, -EAGAIN);
	assert_true(clock_mono_ms() - begin < 5000);
	while (n)
		(void)close(fds[--n]);
}

static void test_broker_has_nothing(void **state)
{
	char path[64], line[256];
	unsigned seen = 0;
	struct stat st;
	pid_t pid = broker_pid();
	FILE *f;

	(void)state;
	(void)snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	f = fopen(path, "re");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f)) {
		seen += strcmp(line, "NoNewPrivs:\t1\n") == 0;
		seen += strcmp(line, "Seccomp:\t2\n") == 0;
		seen += strcmp(line, "CapEff:\t0000000000000000\n") == 0;
		seen += strcmp(line, "Name:\tvmd-broker\n") == 0;
	}
	(void)fclose(f);
	assert_int_equal(seen, 4);
	if (geteuid() == 0) { /* nobody else may look */
		char text[64];

		(void)snprintf(text, sizeof(text),
			       "[ \"$(ls /proc/%d/fd)\" = 0 ]", (int)pid);
		assert_int_equal(system(text), 0); /* NOLINT(cert-env33-c) */
	}
	(void)snprintf(path, sizeof(path), "/proc/%d/environ", (int)pid);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_uid, 0);
}

static bool gone(pid_t pid)
{
	char path[64], text[512] = "", *at;
	int fd;

	(void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return true;
	(void)!read(fd, text, sizeof(text) - 1);
	(void)close(fd);
	at = strrchr(text, ')');
	return at && at[1] == ' ' && at[2] == 'Z';
}

static void until_gone(pid_t pid)
{
	for (int i = 0; i < 500 && !gone(pid); i++)
		(void)usleep(10000);
	assert_true(gone(pid));
}

static void test_broker_ends_with_its_descriptor(void **state)
{
	struct world *w = *state;
	pid_t pid = broker_pid();

	close_fd(&w->fd);
	until_gone(pid);
}

static void test_what_is_no_question_ends_the_broker(void **state)
{
	struct world *w = *state;
	pid_t pid = broker_pid();
	int fd;

	assert_int_equal(send(w->fd, "/run/vmd/vmd.sock", 17, 0), 17);
	until_gone(pid);
	assert_int_equal(broker_connect(w->fd, 5000, &fd), -ECONNREFUSED);
}

static void test_a_broker_that_does_not_answer_is_given_up(void **state)
{
	struct world *w = *state;
	pid_t pid = broker_pid();
	uint64_t begin = clock_mono_ms();
	int fd;

	assert_int_equal(kill(pid, SIGSTOP), 0);
	assert_int_equal(broker_connect(w->fd, 5000, &fd), -ECONNREFUSED);
	assert_true(clock_mono_ms() - begin < 5000);
	/* A late answer is for nobody. */
	assert_int_equal(kill(pid, SIGCONT), 0);
	assert_int_equal(broker_connect(w->fd, 5000, &fd), -ECONNREFUSED);
	until_gone(pid);
}

static void test_start_refuses_what_is_no_place(void **state)
{
	struct err e = ERR_INIT;
	char path[200];
	int fd;

	(void)state;
	memset(path, 'x', sizeof(path) - 1);
	path[sizeof(path) - 1] = '\0';
	assert_true(broker_start(path, &fd, &e) < 0);
	assert_string_equal(e.code, "vsock_config_invalid");
	err_clear(&e);
	assert_true(broker_start("/no/such/place", &fd, &e) < 0);
	assert_string_equal(e.code, "broker_failed");
	err_clear(&e);
	assert_true(broker_start("/tmp/", &fd, &e) < 0);
	assert_string_equal(e.code, "vsock_config_invalid");
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_connect_reaches_its_ports_and_nothing_else),
		TEST(test_connects_without_end_leave_nothing_open),
		TEST(test_a_full_backlog_is_an_error_at_once),
		TEST(test_broker_has_nothing),
		TEST(test_broker_ends_with_its_descriptor),
		TEST(test_what_is_no_question_ends_the_broker),
		TEST(test_a_broker_that_does_not_answer_is_given_up),
		cmocka_unit_test(test_start_refuses_what_is_no_place),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
