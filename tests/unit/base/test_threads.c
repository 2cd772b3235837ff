/* SPDX-License-Identifier: Apache-2.0 */
/* What may be called from several threads: loop_wake() and log_write(). */
#include "tests/unit/test.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "base/log.h"
#include "base/loop.h"

enum {
	THREADS = 4,
	ROUNDS = 500
};

struct shared {
	struct loop *loop;
	atomic_int sent;
	int seen;
};

static void woken(void *data)
{
	struct shared *s = data;

	s->seen = atomic_load(&s->sent);
	if (s->seen == THREADS * ROUNDS)
		loop_stop(s->loop, 0);
}

static void *waker(void *data)
{
	struct shared *s = data;

	for (int i = 0; i < ROUNDS; i++) {
		atomic_fetch_add(&s->sent, 1);
		loop_wake(s->loop);
		log_info("round %d", i);
	}
	return NULL;
}

static void test_loop_wake_from_threads_loses_no_wakeup(void **state)
{
	struct shared s = { .loop = loop_new(NULL) };
	pthread_t threads[THREADS];
	int null_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
	int saved = dup(STDERR_FILENO);

	(void)state;
	assert_non_null(s.loop);
	log_init("threads", LOG_LEVEL_INFO, LOG_FORMAT_JSON);
	(void)dup2(null_fd, STDERR_FILENO);
	assert_int_equal(loop_set_wake(s.loop, woken, &s, NULL), 0);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, waker, &s),
				 0);
	assert_int_equal(loop_run(s.loop), 0);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	(void)dup2(saved, STDERR_FILENO);
	(void)close(saved);
	(void)close(null_fd);
	assert_int_equal(s.seen, THREADS * ROUNDS);
	loop_free(s.loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_loop_wake_from_threads_loses_no_wakeup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
