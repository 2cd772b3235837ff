/* SPDX-License-Identifier: Apache-2.0 */
/* vmd/priv/keeper.c, in a child of its own: when it starts again and when not. */
#include "tests/unit/test.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "vmd/priv/keeper.h"

enum {
	LIFE_MS = 1100 /* more than keeper.c asks for */
};

static int serve_exit(void *ctx, bool again)
{
	(void)again;
	return *(int *)ctx;
}

/* Killed by itself: at once, or after a while when it is the first. */
static int serve_die(void *ctx, bool again)
{
	uint64_t end = clock_mono_ms() + LIFE_MS;

	if (again)
		return 42;
	while (*(bool *)ctx && clock_mono_ms() < end)
		(void)usleep(10000);
	(void)signal(SIGSEGV, SIG_DFL);
	(void)raise(SIGSEGV);
	return 1;
}

static int told_fds[2];

/* Tells that it is there, and waits for a signal. */
static int serve_wait(void *ctx, bool again)
{
	(void)again;
	(void)ctx;
	(void)!write(told_fds[1], "1", 1);
	while (pause() < 0)
		;
	return 1;
}

/* The status of a keeper in a child. */
static int keep(int (*serve)(void *ctx, bool again), void *ctx, int told_signal)
{
	int status = 0;
	char byte;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
		int rc;

		rc = priv_keep(serve, ctx, &fd);
		_exit(fd == -1 ? rc : 99);
	}
	if (told_signal) {
		assert_int_equal(read(told_fds[0], &byte, 1), 1);
		assert_int_equal(kill(pid, told_signal), 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void test_an_end_of_its_own_is_the_end(void **state)
{
	int zero = 0, two = 2;

	(void)state;
	assert_int_equal(keep(serve_exit, &zero, 0), 0);
	assert_int_equal(keep(serve_exit, &two, 0), 2);
}

static void test_what_dies_at_once_is_not_kept(void **state)
{
	bool lives = false;

	(void)state;
	assert_int_equal(keep(serve_die, &lives, 0), 1);
}

static void test_what_has_lived_is_started_again(void **state)
{
	bool lives = true;

	(void)state;
	assert_int_equal(keep(serve_die, &lives, 0), 42);
}

static void test_a_signal_to_the_keeper_ends_both(void **state)
{
	(void)state;
	assert_int_equal(pipe2(told_fds, O_CLOEXEC), 0);
	assert_int_equal(keep(serve_wait, NULL, SIGTERM), 1);
	assert_int_equal(keep(serve_wait, NULL, SIGINT), 1);
	/* The children have gone with it: nobody holds the pipe any more. */
	(void)close(told_fds[1]);
	assert_int_equal(read(told_fds[0], &(char){ 0 }, 1), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_an_end_of_its_own_is_the_end),
		cmocka_unit_test(test_what_dies_at_once_is_not_kept),
		cmocka_unit_test(test_what_has_lived_is_started_again),
		cmocka_unit_test(test_a_signal_to_the_keeper_ends_both),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
