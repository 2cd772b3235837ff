/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/tmpdir.h"
#include "tests/unit/until.h"

#include <errno.h>
#include <sys/resource.h>

#include "base/listener.h"
#include "base/sock.h"

struct fixture {
	struct tmpdir dir;
	struct loop *loop;
	struct listener listener;
	int clients[2];
	unsigned client_count, accepted;
	bool close_there;
	struct rlimit limit;
};

static void on_client(void *ctx, int fd)
{
	struct fixture *f = ctx;

	(void)close(fd);
	f->accepted++;
	if (f->close_there)
		listener_close(&f->listener);
}

static int setup(void **state)
{
	static struct fixture f;
	int fd;

	f = (struct fixture){ .loop = NULL };
	tmpdir_init(&f.dir);
	f.loop = loop_new(NULL);
	assert_non_null(f.loop);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &f.limit), 0);
	listener_init(&f.listener);
	listener_close(&f.listener); /* harmless */
	assert_int_equal(sock_listen_unix(f.dir.fd, "s", 0600, &fd, NULL), 0);
	assert_int_equal(listener_open(&f.listener, f.loop, fd, on_client, &f),
			 0);
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(setrlimit(RLIMIT_NOFILE, &f->limit), 0);
	listener_close(&f->listener);
	loop_free(f->loop);
	while (f->client_count)
		(void)close(f->clients[--f->client_count]);
	tmpdir_done(&f->dir);
	return 0;
}

static void connect_client(struct fixture *f)
{
	assert_int_equal(sock_connect_unix(f->dir.fd, "s",
					   &f->clients[f->client_count++],
					   NULL),
			 0);
}

static void allow_descriptors(struct fixture *f, bool allow)
{
	struct rlimit none = { .rlim_cur = 0, .rlim_max = f->limit.rlim_max };

	assert_int_equal(setrlimit(RLIMIT_NOFILE, allow ? &f->limit : &none),
			 0);
}

static void run_until(struct fixture *f, unsigned accepted)
{
	UNTIL(10000, f->accepted >= accepted, loop_run_once(f->loop, 100));
	assert_int_equal(f->accepted, accepted);
}

static void test_listener_accepts_each(void **state)
{
	struct fixture *f = *state;

	connect_client(f);
	connect_client(f);
	run_until(f, 2);
	assert_int_equal(loop_run_once(f->loop, 0), 0);
}

static void test_listener_without_descriptors_does_not_spin(void **state)
{
	struct fixture *f = *state;
	uint64_t end = clock_mono_ms() + 4 * (uint64_t)LISTENER_PAUSE_MS;
	unsigned turns = 0;

	connect_client(f);
	allow_descriptors(f, false);
	for (; clock_mono_ms() < end; turns++)
		(void)loop_run_once(f->loop, LISTENER_PAUSE_MS);
	/* Each pause takes two turns: its end, and the next failure. */
	assert_true(turns <= 12);
	assert_int_equal(f->accepted, 0);
	allow_descriptors(f, true);
	run_until(f, 1);
}

static void test_listener_closed_in_pause_or_callback(void **state)
{
	struct fixture *f = *state;

	connect_client(f);
	allow_descriptors(f, false);
	(void)loop_run_once(f->loop, 0);
	allow_descriptors(f, true);
	f->close_there = true;
	connect_client(f);
	run_until(f, 1);
	assert_int_equal(f->listener.fd, -1);
	assert_int_equal(loop_run_once(f->loop, 2 * LISTENER_PAUSE_MS), 0);
	assert_int_equal(f->accepted, 1);
}

static void test_listener_on_a_file_is_refused(void **state)
{
	struct fixture *f = *state;
	struct listener l;
	int fd = openat(f->dir.fd, "file", O_CREAT | O_RDWR | O_CLOEXEC, 0600);

	listener_init(&l);
	assert_int_equal(listener_open(&l, f->loop, fd, on_client, f), -EPERM);
	assert_int_equal(l.fd, -1);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_listener_accepts_each,
						setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_listener_without_descriptors_does_not_spin, setup,
			teardown),
		cmocka_unit_test_setup_teardown(
			test_listener_closed_in_pause_or_callback, setup,
			teardown),
		cmocka_unit_test_setup_teardown(
			test_listener_on_a_file_is_refused, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
