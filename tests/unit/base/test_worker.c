/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/test.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "base/worker.h"
#include "tests/unit/until.h"

enum {
	JOBS = 16
};

static struct loop *loop;
static struct worker_pool *pool;
static pthread_t loop_thread;
static atomic_uint runs;
static unsigned dones, drops;
static struct worker_job jobs[JOBS], late;

static void run(struct worker_job *job)
{
	(void)job;
	assert_false(pthread_equal(pthread_self(), loop_thread));
	runs++;
}

static void done(struct worker_job *job)
{
	assert_true(pthread_equal(pthread_self(), loop_thread));
	dones++;
	drops += job->dropped;
}

/* As a store does whose next commits wait for the next sync. */
static void done_submits(struct worker_job *job)
{
	done(job);
	if (job != &late)
		worker_submit(pool, &late);
}

static int setup(void **state)
{
	(void)state;
	runs = dones = drops = 0;
	memset(jobs, 0, sizeof(jobs));
	late = (struct worker_job){ .run = run, .done = done_submits };
	loop_thread = pthread_self();
	loop = loop_new(NULL);
	pool = loop ? worker_pool_new(loop, 2, NULL) : NULL;
	return pool ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	loop_free(loop);
	return 0;
}

static void test_jobs_run_beside_the_loop_and_end_on_it(void **state)
{
	(void)state;
	for (unsigned i = 0; i < JOBS; i++) {
		jobs[i] = (struct worker_job){ .run = run, .done = done };
		worker_submit(pool, &jobs[i]);
	}
	UNTIL(10000, dones == JOBS, loop_run_once(loop, 10));
	assert_int_equal(runs, JOBS);
	assert_int_equal(drops, 0);
	worker_pool_free(pool);
	assert_int_equal(dones, JOBS);
}

static void test_free_ends_every_job(void **state)
{
	(void)state;
	for (unsigned i = 0; i < JOBS; i++) {
		jobs[i] = (struct worker_job){ .run = run, .done = done };
		worker_submit(pool, &jobs[i]);
	}
	worker_pool_free(pool);
	assert_int_equal(dones, JOBS);
	assert_int_equal(runs + drops, JOBS);
}

/* A thread that began then would use what is freed. */
static void test_job_of_an_end_while_freed_is_dropped(void **state)
{
	(void)state;
	jobs[0] = (struct worker_job){ .run = run, .done = done_submits };
	worker_submit(pool, &jobs[0]);
	UNTIL(10000, runs == 1, 0);
	worker_pool_free(pool);
	assert_int_equal(runs, 1);
	assert_int_equal(dones, 2);
	assert_int_equal(drops, 1);
	assert_true(late.dropped);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_jobs_run_beside_the_loop_and_end_on_it),
		T(test_free_ends_every_job),
		T(test_job_of_an_end_while_freed_is_dropped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
