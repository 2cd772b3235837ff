/* SPDX-License-Identifier: Apache-2.0 */
#include "../test.h"

#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/sock.h"
#include "monitor/backend.h"
#include "tests/unit/namespaces.h"

struct host {
	char dir[32], socket[64], log[64];
	struct loop *loop;
	struct backend backend;
	char got[64];
	size_t got_len, room;
};

static size_t take(void *ctx, const uint8_t *data, size_t len)
{
	struct host *h = ctx;

	if (len > h->room)
		len = h->room;
	memcpy(h->got + h->got_len, data, len);
	h->got_len += len;
	h->room -= len;
	return len;
}

static int set_up(void **state)
{
	struct host *h = calloc(1, sizeof(*h));
	struct config_backend config;
	struct err e = ERR_INIT;

	strcpy(h->dir, "/tmp/vmd-backend-XXXXXX");
	assert_non_null(mkdtemp(h->dir));
	(void)snprintf(h->socket, sizeof(h->socket), "%s/s", h->dir);
	(void)snprintf(h->log, sizeof(h->log), "%s/l", h->dir);
	config = (struct config_backend){ h->socket, h->log };
	h->loop = loop_new(&e);
	h->room = sizeof(h->got);
	assert_int_equal(
		backend_open(&h->backend, &config, h->loop, take, h, &e), 0);
	*state = h;
	return 0;
}

static int tear_down(void **state)
{
	struct host *h = *state;

	backend_close(&h->backend);
	loop_free(h->loop);
	(void)unlink(h->socket);
	(void)unlink(h->log);
	assert_int_equal(rmdir(h->dir), 0);
	free(h);
	return 0;
}

static int connect_client(struct host *h)
{
	struct err e = ERR_INIT;
	int fd = -1;

	assert_int_equal(sock_connect_unix(AT_FDCWD, h->socket, &fd, &e), 0);
	assert_true(loop_run_once(h->loop, 1000) > 0);
	return fd;
}

/* Out of descriptors the console waits, the loop does not spin. */
static void test_client_waits_for_a_descriptor(void **state)
{
	struct host *h = *state;
	AUTO(fd) int client = -1;
	struct rlimit before, none;
	struct err e = ERR_INIT;

	assert_int_equal(sock_connect_unix(AT_FDCWD, h->socket, &client, &e),
			 0);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	none = before;
	none.rlim_cur = 0;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	(void)loop_run_once(h->loop, 0);
	assert_int_equal(loop_run_once(h->loop, 5), 0);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	assert_int_equal(h->backend.in_fd, -1);
	assert_true(loop_run_once(h->loop, 2000) > 0); /* the pause ends */
	assert_true(loop_run_once(h->loop, 2000) > 0);
	assert_true(h->backend.in_fd >= 0);
}

static void test_output_reaches_log_and_client(void **state)
{
	struct host *h = *state;
	AUTO(fd) int client = -1;
	char text[32] = "";
	struct stat st;

	backend_output(&h->backend, "early\n", 6);
	client = connect_client(h);
	backend_output(&h->backend, "late\n", 5);
	assert_int_equal(read(client, text, sizeof(text)), 5);
	assert_memory_equal(text, "late\n", 5);
	assert_int_equal(stat(h->log, &st), 0);
	assert_int_equal(st.st_size, 11);
	/* Its owner can read it again, nobody else can. */
	assert_int_equal(st.st_mode & 07777, 0600);
}

static void test_output_without_newline_comes_soon(void **state)
{
	struct host *h = *state;
	AUTO(fd) int client = connect_client(h);
	char byte;

	backend_output(&h->backend, "$", 1);
	while (read(client, &byte, 1) != 1)
		assert_true(loop_run_once(h->loop, 1000) > 0);
	assert_int_equal(byte, '$');
}

static void test_new_client_replaces_the_old(void **state)
{
	struct host *h = *state;
	AUTO(fd) int old = connect_client(h);
	AUTO(fd) int new = connect_client(h);
	char text[8];

	backend_output(&h->backend, "x\n", 2);
	assert_int_equal(read(old, text, sizeof(text)), 0);
	assert_int_equal(read(new, text, sizeof(text)), 2);
}

static void test_input_waits_for_room(void **state)
{
	struct host *h = *state;
	AUTO(fd) int client = connect_client(h);

	h->room = 2;
	assert_int_equal(write(client, "abcd", 4), 4);
	assert_true(loop_run_once(h->loop, 1000) > 0);
	assert_int_equal(h->got_len, 2);
	/* Held back: nothing is read, and nothing spins. */
	assert_int_equal(write(client, "ef", 2), 2);
	assert_int_equal(loop_run_once(h->loop, 0), 0);
	h->room = 10;
	backend_input_ready(&h->backend);
	assert_true(loop_run_once(h->loop, 1000) > 0);
	assert_memory_equal(h->got, "abcdef", 6);
}

static void test_client_that_left_is_still_heard(void **state)
{
	struct host *h = *state;
	AUTO(fd) int client = connect_client(h);

	h->room = 2;
	assert_int_equal(write(client, "abcd", 4), 4);
	assert_true(loop_run_once(h->loop, 1000) > 0);
	assert_int_equal(write(client, "ef", 2), 2);
	close_fd(&client);
	/* The hang-up makes nothing spin and loses nothing. */
	(void)loop_run_once(h->loop, 0);
	assert_int_equal(loop_run_once(h->loop, 0), 0);
	h->room = 10;
	backend_input_ready(&h->backend);
	while (h->backend.in_fd >= 0)
		assert_true(loop_run_once(h->loop, 1000) > 0);
	assert_int_equal(h->got_len, 6);
	assert_memory_equal(h->got, "abcdef", 6);
}

/* `echo commands | vmd-monitor`: the writer is gone before the guest reads. */
static void stdio_without_writer(struct host *h, int output)
{
	struct config_backend none = { NULL, NULL };
	struct backend b;
	struct err e = ERR_INIT;
	char text[8];

	h->room = 2;
	assert_int_equal(backend_open(&b, &none, h->loop, take, h, &e), 0);
	while (h->got_len < 2)
		assert_true(loop_run_once(h->loop, 1000) > 0);
	(void)loop_run_once(h->loop, 0);
	(void)loop_run_once(h->loop, 0);
	h->room = 10;
	backend_input_ready(&b);
	while (b.in_fd >= 0)
		assert_true(loop_run_once(h->loop, 1000) > 0);
	assert_int_equal(h->got_len, 6);
	backend_output(&b, "answer\n", 7);
	assert_int_equal(read(output, text, sizeof(text)), 7);
	backend_close(&b);
}

static void test_stdio_outlives_the_end_of_input(void **state)
{
	AUTO(fd) int stdin_fd = dup(0);
	AUTO(fd) int stdout_fd = dup(1);
	int in[2], out[2];

	assert_int_equal(pipe2(in, O_CLOEXEC), 0);
	assert_int_equal(pipe2(out, O_CLOEXEC | O_NONBLOCK), 0);
	assert_int_equal(write(in[1], "abcdef", 6), 6);
	close_fd(&in[1]);
	(void)fflush(stdout);
	assert_int_equal(dup2(in[0], 0), 0);
	assert_int_equal(dup2(out[1], 1), 1);
	stdio_without_writer(*state, out[0]);
	assert_int_equal(dup2(stdin_fd, 0), 0);
	assert_int_equal(dup2(stdout_fd, 1), 1);
	close_fd(&in[0]);
	close_fd(&out[0]);
	close_fd(&out[1]);
}

static void test_slow_client_never_blocks(void **state)
{
	struct host *h = *state;
	AUTO(fd) int client = connect_client(h);
	char block[4096];

	memset(block, 'x', sizeof(block));
	for (int i = 0; i < 500; i++)
		backend_output(&h->backend, block, sizeof(block));
	assert_true(buf_len(&h->backend.pending) <= BACKEND_CLIENT_MAX);
	/* A client that goes away while bytes wait for it is no trouble. */
	close_fd(&client);
	while (h->backend.in_fd >= 0)
		assert_true(loop_run_once(h->loop, 1000) > 0);
}

static void test_log_gives_its_head_back(void **state)
{
	struct host *h = *state;
	char block[4096];
	struct stat st;

	memset(block, 'x', sizeof(block));
	for (int i = 0; i < 1000; i++)
		backend_output(&h->backend, block, sizeof(block));
	assert_int_equal(stat(h->log, &st), 0);
	assert_int_equal(st.st_size, 1000 * 4096);
	/* st_blocks counts 512 bytes. */
	assert_in_range(st.st_blocks, 1, (1 << 20) / 512);
}

/* In a child, because the mount is only for this test. */
static int fill_log_without_holes(void)
{
	char dir[] = "/tmp/vmd-backend-XXXXXX", log[64], block[4096];
	struct config_backend config = { .log_path = log };
	struct backend b;
	struct loop *loop = loop_new(NULL);
	struct err e = ERR_INIT;
	struct stat st = { .st_size = -1 };
	int mounted;

	if (!namespaces_enter_mounts() || !mkdtemp(dir))
		return 77;
	mounted = mount("none", dir, "ramfs", 0, NULL);
	(void)snprintf(log, sizeof(log), "%s/l", dir);
	if (mounted == 0 &&
	    backend_open(&b, &config, loop, take, NULL, &e) == 0) {
		memset(block, 'x', sizeof(block));
		for (int i = 0; i < 1000; i++)
			backend_output(&b, block, sizeof(block));
		backend_output(&b, "end\n", 4);
		(void)stat(log, &st);
		backend_close(&b);
		(void)umount2(dir, MNT_DETACH);
	}
	(void)rmdir(dir);
	loop_free(loop);
	if (mounted < 0)
		return 77;
	return st.st_size >= 4 && st.st_size <= 1 << 20 ? 0 : 1;
}

static void test_log_without_holes_starts_anew(void **state)
{
	pid_t child = fork();
	int status;

	(void)state;
	assert_true(child >= 0);
	if (child == 0)
		_exit(fill_log_without_holes());
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77)
		skip();
	assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(test_client_waits_for_a_descriptor),
		TEST(test_output_reaches_log_and_client),
		TEST(test_output_without_newline_comes_soon),
		TEST(test_new_client_replaces_the_old),
		TEST(test_input_waits_for_room),
		TEST(test_client_that_left_is_still_heard),
		TEST(test_stdio_outlives_the_end_of_input),
		TEST(test_slow_client_never_blocks),
		TEST(test_log_gives_its_head_back),
		cmocka_unit_test(test_log_without_holes_starts_anew),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
