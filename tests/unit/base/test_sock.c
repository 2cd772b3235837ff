/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/tmpdir.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/sock.h"

static void test_sock_listen_replaces_stale_but_not_live(void **state)
{
	struct tmpdir *f = *state;
	AUTO(fd) int first = -1;
	AUTO(fd) int second = -1;
	AUTO(fd) int client = -1;
	struct err e = ERR_INIT;
	struct stat st;

	assert_int_equal(sock_listen_unix(f->fd, "s", 0600, &first, &e), 0);
	assert_int_equal(fstatat(f->fd, "s", &st, 0), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_true(sock_listen_unix(f->fd, "s", 0600, &second, &e) < 0);
	assert_string_equal(e.code, "address_in_use");
	assert_int_equal(sock_connect_unix(f->fd, "s", &client, &e), 0);
	close_fd(&first);
	close_fd(&client);
	assert_int_equal(sock_connect_unix(f->fd, "s", &client, &e),
			 -ECONNREFUSED);
	assert_int_equal(sock_listen_unix(f->fd, "s", 0600, &second, &e), 0);
	assert_int_equal(file_replace(f->fd, "plain", "x", 1, 0600, NULL), 0);
	assert_int_equal(sock_listen_unix(f->fd, "plain", 0600, &first, &e),
			 -EEXIST);
}

static void test_sock_fds_travel(void **state)
{
	struct tmpdir *f = *state;
	int pair[2], got[2] = { -1, -1 };
	size_t count = 1;
	char byte;

	assert_int_equal(sock_pair(pair), 0);
	int send[2] = { f->fd, f->fd };

	assert_int_equal(sock_send_fds(pair[0], "x", 1, send, 2), 1);
	/* Room for one: the second is closed, not leaked. */
	assert_int_equal(sock_recv_fds(pair[1], &byte, 1, got, &count), 1);
	assert_int_equal(count, 1);
	assert_true(fcntl(got[0], F_GETFD) & FD_CLOEXEC);
	(void)close(got[0]);
	(void)close(pair[0]);
	(void)close(pair[1]);
}

static void test_sock_peer_says_who(void **state)
{
	int pair[2];
	uid_t uid = 12345;
	gid_t gid;
	pid_t pid;

	(void)state;
	assert_int_equal(sock_pair(pair), 0);
	assert_int_equal(sock_peer(pair[0], &uid, &gid, &pid), 0);
	assert_int_equal(uid, geteuid());
	assert_int_equal(pid, getpid());
	(void)close(pair[0]);
	(void)close(pair[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TMPDIR_TEST(test_sock_listen_replaces_stale_but_not_live),
		TMPDIR_TEST(test_sock_fds_travel),
		TMPDIR_TEST(test_sock_peer_says_who),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
