/* SPDX-License-Identifier: Apache-2.0 */
/* What works with several threads: loop_wake(), log_write(), worker pools. */
#include "tests/unit/test.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "base/log.h"
#include "base/loop.h"
#include "base/worker.h"

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

struct counted {
	struct worker_job job;
	atomic_bool ran;
	bool done, dropped;
};

static void counted_run(struct worker_job *job)
{
	struct counted *c = job->data;

	atomic_store(&c->ran, true);
}

static void counted_done(struct worker_job *job)
{
	struct counted *c = job->data;

	c->done = true;
	c->dropped = job->dropped;
}

static void submit_all(struct worker_pool *pool, struct counted *jobs, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		jobs[i].job = (struct worker_job){ .run = counted_run,
						   .done = counted_done,
						   .data = &jobs[i] };
		worker_submit(pool, &jobs[i].job);
	}
}

static void test_worker_runs_each_job_and_tells_the_loop(void **state)
{
	static struct counted jobs[ROUNDS];
	struct loop *loop = loop_new(NULL);
	struct worker_pool *pool = worker_pool_new(loop, THREADS, NULL);
	size_t done = 0;

	(void)state;
	assert_non_null(pool);
	submit_all(pool, jobs, ROUNDS);
	while (done < ROUNDS) {
		assert_true(loop_run_once(loop, 10000) > 0);
		done = 0;
		for (size_t i = 0; i < ROUNDS; i++)
			done += jobs[i].done;
	}
	for (size_t i = 0; i < ROUNDS; i++)
		assert_true(atomic_load(&jobs[i].ran) && !jobs[i].dropped);
	worker_pool_free(pool);
	loop_free(loop);
}

static void test_worker_pool_free_ends_every_job(void **state)
{
	static struct counted jobs[ROUNDS];
	struct loop *loop = loop_new(NULL);
	struct worker_pool *pool = worker_pool_new(loop, 1, NULL);

	(void)state;
	submit_all(pool, jobs, ROUNDS);
	worker_pool_free(pool);
	for (size_t i = 0; i < ROUNDS; i++) {
		assert_true(jobs[i].done);
		assert_true(jobs[i].dropped != atomic_load(&jobs[i].ran));
	}
	loop_free(loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_loop_wake_from_threads_loses_no_wakeup),
		cmocka_unit_test(test_worker_runs_each_job_and_tells_the_loop),
		cmocka_unit_test(test_worker_pool_free_ends_every_job),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
