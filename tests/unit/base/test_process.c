/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/process.h"

enum {
	WAIT_MS = 20000
};

static void expect_exit(struct process *p, int status, int sig)
{
	struct process_exit x;

	assert_int_equal(process_wait(p, WAIT_MS, &x), 0);
	assert_true(x.known);
	assert_int_equal(x.signal, sig);
	if (!sig)
		assert_int_equal(x.status, status);
	process_close(p);
}

static void test_process_spawn_passes_only_named_fds(void **state)
{
	/* Lists what is open; ls itself opens one for the directory. */
	const char *argv[] = { "sh", "-c",
			       "echo marker >&7; cd /proc/self/fd && "
			       "for f in *; do [ -e $f ] && echo $f; done",
			       NULL };
	struct process p = PROCESS_INIT;
	AUTO(fd) int leak = open("/dev/null", O_RDONLY);
	char out[4096] = "";
	int pipe_fds[2];
	ssize_t n;
	size_t have = 0;

	(void)state;
	assert_true(leak >= 0);
	assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
	const struct process_fd fds[] = { { pipe_fds[1], 1 },
					  { pipe_fds[1], 7 } };
	const struct process_spec spec = { .argv = argv,
					   .fds = fds,
					   .fd_count = 2 };

	assert_int_equal(process_spawn(&spec, &p, NULL), 0);
	(void)close(pipe_fds[1]);
	while ((n = read(pipe_fds[0], out + have, sizeof(out) - 1 - have)) > 0)
		have += (size_t)n;
	(void)close(pipe_fds[0]);
	expect_exit(&p, 0, 0);
	/* 0, 1, 2 and 7; the shell may hold the glob's directory. */
	assert_string_equal(out, "marker\n0\n1\n2\n7\n");
}

static void test_process_spawn_reports_failed_exec(void **state)
{
	const char *missing[] = { "no-such-program-here", NULL };
	const char *not_exec[] = { "/etc/passwd", NULL };
	struct process_spec spec = { .argv = missing };
	struct process p = PROCESS_INIT;
	struct err e = ERR_INIT;

	(void)state;
	assert_true(process_spawn(&spec, &p, &e) < 0);
	assert_string_equal(e.code, "program_missing");
	spec.argv = not_exec;
	assert_int_equal(process_spawn(&spec, &p, &e), -EACCES);
	assert_int_equal(p.pidfd, -1);
}

static void test_process_signal_group_ends_the_tree(void **state)
{
	const char *argv[] = { "sh", "-c", "sleep 600 & sleep 600", NULL };
	const struct process_spec spec = { .argv = argv, .new_group = true };
	struct process p = PROCESS_INIT;

	(void)state;
	assert_int_equal(process_spawn(&spec, &p, NULL), 0);
	assert_int_equal(process_signal_group(&p, SIGKILL), 0);
	expect_exit(&p, 0, SIGKILL);
}

static void test_process_adopt_checks_identity(void **state)
{
	const char *argv[] = { "sleep", "600", NULL };
	const struct process_spec spec = { .argv = argv };
	struct process p = PROCESS_INIT, again = PROCESS_INIT;

	(void)state;
	assert_int_equal(process_spawn(&spec, &p, NULL), 0);
	assert_int_equal(process_adopt(p.pid, p.start_time + 1, &again, NULL),
			 -ESRCH);
	assert_int_equal(process_adopt(p.pid, p.start_time, &again, NULL), 0);
	assert_int_equal(process_signal(&again, SIGTERM), 0);
	expect_exit(&p, 0, SIGTERM);
	assert_int_equal(process_signal(&again, SIGTERM), -ESRCH);
	process_close(&again);
	assert_int_equal(process_adopt(p.pid, p.start_time, &again, NULL),
			 -ESRCH);
}

static void test_process_exit_status_comes_back(void **state)
{
	const char *argv[] = { "sh", "-c", "exit 7", NULL };
	const struct process_spec spec = { .argv = argv, .new_session = true };
	struct process p = PROCESS_INIT;

	(void)state;
	assert_int_equal(process_spawn(&spec, &p, NULL), 0);
	expect_exit(&p, 7, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_process_spawn_passes_only_named_fds),
		cmocka_unit_test(test_process_spawn_reports_failed_exec),
		cmocka_unit_test(test_process_signal_group_ends_the_tree),
		cmocka_unit_test(test_process_adopt_checks_identity),
		cmocka_unit_test(test_process_exit_status_comes_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
