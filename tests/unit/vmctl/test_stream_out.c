/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/test.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vmctl/stream_out.h"

enum {
	LEN = 200000
};

static uint8_t *pattern(void)
{
	uint8_t *data = malloc(LEN);

	assert_non_null(data);
	for (size_t i = 0; i < LEN; i++)
		data[i] = (uint8_t)(i * 7 + i / 251);
	return data;
}

/* Writes until the pipe takes no more, reads it empty, and so on. */
static void test_stream_out_full_pipe_neither_blocks_nor_loses(void **state)
{
	uint8_t *data = pattern(), *got = malloc(LEN);
	size_t have = 0, writes = 0;
	struct stream_out s;
	int fds[2];

	(void)state;
	assert_non_null(got);
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	stream_out_init(&s, fds[1]);
	assert_int_equal(stream_out_add(&s, data, LEN), 0);
	while (have < LEN) {
		size_t before;
		ssize_t n;

		do {
			before = stream_out_pending(&s);
			assert_int_equal(stream_out_write(&s), 0);
			writes++;
		} while (stream_out_pending(&s) < before);
		n = read(fds[0], got + have, LEN - have);
		assert_true(n > 0);
		have += (size_t)n;
	}
	assert_memory_equal(got, data, LEN);
	assert_int_equal(stream_out_pending(&s), 0);
	/* Far larger steps than PIPE_BUF. */
	assert_true(writes < 20);
	/* Others share the descriptor: it is left as it was. */
	assert_int_equal(fcntl(fds[1], F_GETFL) & O_NONBLOCK, 0);
	stream_out_done(&s);
	assert_int_equal(fcntl(fds[1], F_GETFD), FD_CLOEXEC);
	(void)close(fds[0]);
	(void)close(fds[1]);
	free(data);
	free(got);
}

static void test_stream_out_reader_gone_is_epipe(void **state)
{
	struct stream_out s;
	int fds[2];

	(void)state;
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	stream_out_init(&s, fds[1]);
	(void)close(fds[0]);
	assert_int_equal(stream_out_add(&s, (const uint8_t *)"abc", 3), 0);
	assert_int_equal(stream_out_write(&s), -EPIPE);
	assert_int_equal(stream_out_pending(&s), 0);
	stream_out_done(&s);
	/* Before the start, too. */
	stream_out_init(&s, fds[1]);
	assert_int_equal(stream_out_add(&s, (const uint8_t *)"abc", 3), 0);
	assert_int_equal(stream_out_write(&s), -EPIPE);
	stream_out_done(&s);
	(void)close(fds[1]);
}

/* A socket cannot be opened again: small steps after poll() stay. */
static void test_stream_out_socket_gets_small_pieces(void **state)
{
	uint8_t *data = pattern();
	struct stream_out s;
	char got[65536];
	int fds[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	stream_out_init(&s, fds[1]);
	assert_int_equal(stream_out_add(&s, data, LEN), 0);
	assert_int_equal(stream_out_write(&s), 0);
	assert_int_equal(recv(fds[0], got, sizeof(got), MSG_DONTWAIT), 4096);
	assert_memory_equal(got, data, 4096);
	stream_out_done(&s);
	(void)close(fds[0]);
	(void)close(fds[1]);
	free(data);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			test_stream_out_full_pipe_neither_blocks_nor_loses),
		cmocka_unit_test(test_stream_out_reader_gone_is_epipe),
		cmocka_unit_test(test_stream_out_socket_gets_small_pieces),
	};

	(void)signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
