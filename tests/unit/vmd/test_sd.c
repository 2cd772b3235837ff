/* SPDX-License-Identifier: Apache-2.0 */
/* What a service manager hands over, as sd_listen_fds(3) tells it: descriptor 3
 * and two variables. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "vmd/sd.h"

enum {
	HANDED = 3
};

/* A blocking socket at descriptor 3, bound to a name that the kernel chooses. */
static void hand_over(int type, bool listening, const char *count)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, type, 0);
	char pid[24];

	assert_true(fd >= 0);
	assert_int_equal(
		bind(fd, (struct sockaddr *)&addr, sizeof(sa_family_t)), 0);
	if (listening)
		assert_int_equal(listen(fd, 4), 0);
	if (fd != HANDED) {
		assert_int_equal(dup2(fd, HANDED), HANDED);
		(void)close(fd);
	}
	(void)snprintf(pid, sizeof(pid), "%d", (int)getpid());
	(void)setenv("LISTEN_PID", pid, 1);
	(void)setenv("LISTEN_FDS", count, 1);
}

static void test_listen_socket_blocking_becomes_nonblocking(void **state)
{
	(void)state;
	hand_over(SOCK_STREAM, true, "1");
	assert_int_equal(sd_listen_socket(), HANDED);
	assert_true(fcntl(HANDED, F_GETFL) & O_NONBLOCK);
	assert_true(fcntl(HANDED, F_GETFD) & FD_CLOEXEC);
	/* Nobody is there: this must not wait. */
	assert_int_equal(accept(HANDED, NULL, NULL), -1);
	assert_int_equal(errno, EAGAIN);
	assert_null(getenv("LISTEN_FDS"));
	(void)close(HANDED);
}

static void test_listen_socket_of_another_kind_is_not_taken(void **state)
{
	(void)state;
	hand_over(SOCK_DGRAM, false, "1");
	assert_int_equal(sd_listen_socket(), -1);
	(void)close(HANDED);
	hand_over(SOCK_STREAM, false, "1");
	assert_int_equal(sd_listen_socket(), -1);
	(void)close(HANDED);
}

static void test_listen_socket_none_handed_over(void **state)
{
	(void)state;
	(void)unsetenv("LISTEN_PID");
	(void)unsetenv("LISTEN_FDS");
	assert_int_equal(sd_listen_socket(), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			test_listen_socket_blocking_becomes_nonblocking),
		cmocka_unit_test(
			test_listen_socket_of_another_kind_is_not_taken),
		cmocka_unit_test(test_listen_socket_none_handed_over),
	};

	/* A socket that blocks ends the test. */
	(void)alarm(60);
	log_init("test_sd", LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
