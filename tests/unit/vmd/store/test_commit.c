/* SPDX-License-Identifier: Apache-2.0 */
/* What a turn writes commits together, and is not lost when that fails. */
#include "tests/unit/test.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/worker.h"
#include "vmd/store/store_sql.h"

static char path[64];
static struct loop *loop;
static struct worker_pool *workers;
static struct store *s;
static unsigned commits, told;
static bool commit_fails;

static int on_commit(void *data)
{
	(void)data;
	commits++;
	return commit_fails;
}

static int setup(void **state)
{
	struct err e = ERR_INIT;
	int fd;

	(void)state;
	(void)strcpy(path, "/tmp/vmd-turn-XXXXXX");
	fd = mkstemp(path);
	assert_true(fd >= 0);
	close(fd);
	loop = loop_new(&e);
	assert_non_null(loop);
	workers = worker_pool_new(loop, 2, &e);
	assert_non_null(workers);
	s = store_open(path, &e);
	assert_non_null(s);
	store_attach(s, loop, workers);
	(void)sqlite3_commit_hook(s->db, on_commit, NULL);
	commit_fails = false;
	commits = told = 0;
	return 0;
}

static int teardown(void **state)
{
	char name[80];

	(void)state;
	worker_pool_free(workers); /* first: they work for the store */
	store_close(s);
	loop_free(loop);
	(void)unlink(path);
	(void)snprintf(name, sizeof(name), "%s-wal", path);
	(void)unlink(name);
	(void)snprintf(name, sizeof(name), "%s-shm", path);
	(void)unlink(name);
	return 0;
}

static struct op_row op(unsigned n)
{
	struct op_row row = { .state = API_OP_RUNNING,
			      .kind = "vm_stop",
			      .resource_kind = "vm" };

	(void)snprintf(row.id, sizeof(row.id), "op%024u", n);
	return row;
}

static int put(unsigned n, struct err *e)
{
	struct op_row row = op(n);

	return store_op_put(s, &row, e);
}

static bool there(unsigned n)
{
	struct op_row want = op(n), got;

	return store_op_get(s, want.id, &got, NULL) == 0;
}

/* Runs fn as a callback of the loop. */
static void in_turn(loop_timer_fn *fn)
{
	struct loop_timer timer = { .deadline_ms = 0 };

	loop_timer_init(loop, &timer, fn, NULL);
	loop_timer_arm_soon(&timer);
	while (loop_timer_armed(&timer))
		assert_true(loop_run_once(loop, 1000) >= 0);
}

static void until_durable(void)
{
	uint64_t end = clock_mono_ms() + 10000;

	while (!store_is_durable(s) && clock_mono_ms() < end)
		(void)loop_run_once(loop, 100);
	assert_true(store_is_durable(s));
}

static void put_five(struct loop_timer *timer)
{
	(void)timer;
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(put(i, NULL), 0);
	assert_true(there(4)); /* whoever reads sees it */
	assert_false(store_is_durable(s));
	assert_int_equal(commits, 0);
}

static void test_turn_is_one_commit(void **state)
{
	(void)state;
	in_turn(put_five);
	assert_int_equal(commits, 1);
	until_durable();
	/* Outside of a turn each is for itself. */
	assert_int_equal(put(10, NULL), 0);
	assert_int_equal(put(11, NULL), 0);
	assert_int_equal(commits, 3);
}

static void put_hundred(struct loop_timer *timer)
{
	(void)timer;
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(put(i, NULL), 0);
}

static void test_long_turn_commits_now_and_then(void **state)
{
	(void)state;
	in_turn(put_hundred);
	assert_in_range(commits, 2, 20);
	for (unsigned i = 0; i < 100; i++)
		assert_true(there(i));
	/* Where no room can be reserved: each for itself. */
	s->reserve_fails = true;
	commits = 0;
	in_turn(put_hundred);
	assert_int_equal(commits, 100);
}

static void journal(struct loop_timer *timer)
{
	struct journal_row row = { .owner = "a", .name = "qemu" };

	(void)timer;
	assert_int_equal(put(1, NULL), 0);
	assert_int_equal(store_journal_add(s, &row, NULL), 0);
	assert_int_equal(commits, 1); /* before it is of use */
	assert_int_equal(put(2, NULL), 0);
	assert_int_equal(store_commit_now(s, NULL), 0);
	assert_int_equal(commits, 2);
}

static void test_journal_is_committed_at_once(void **state)
{
	(void)state;
	in_turn(journal);
	assert_int_equal(commits, 2);
	assert_true(there(2));
}

static void roll_back(struct loop_timer *timer)
{
	struct vm_row vm = { .name = "a", .spec = (char[]){ "{}" } };
	struct err e = ERR_INIT;

	(void)timer;
	(void)strcpy(vm.id, "aaaaaaaaaaaaaaaaaaaaaaaaaa");
	assert_int_equal(put(1, NULL), 0);
	assert_int_equal(store_begin(s, NULL), 0);
	assert_int_equal(put(2, NULL), 0);
	assert_int_equal(store_begin(s, NULL), 0);
	assert_int_equal(put(3, NULL), 0);
	store_rollback(s);
	assert_true(there(2));
	assert_false(there(3));
	store_rollback(s);
	assert_false(there(2));
	assert_int_equal(store_begin(s, NULL), 0);
	assert_int_equal(store_vm_insert(s, &vm, NULL), 0);
	assert_int_equal(store_commit(s, NULL), 0);
	vm.id[0] = 'b';
	assert_true(store_vm_insert(s, &vm, &e) < 0);
	assert_string_equal(e.code, "name_taken");
}

static void count_vm(void *ctx, struct vm_row *row)
{
	(void)row;
	(*(unsigned *)ctx)++;
}

static void test_change_that_fails_takes_back_itself_alone(void **state)
{
	unsigned n = 0;

	(void)state;
	in_turn(roll_back);
	assert_int_equal(commits, 1);
	assert_true(there(1));
	assert_false(there(2));
	assert_int_equal(store_vm_each(s, count_vm, &n, NULL), 0);
	assert_int_equal(n, 1);
}

static void on_told(struct store_waiter *w, const struct err *e)
{
	(void)w;
	told += e ? 1 : 100;
}

static struct store_waiter waiter;

static void fail_at_end(struct loop_timer *timer)
{
	(void)timer;
	assert_int_equal(put(1, NULL), 0);
	assert_int_equal(put(2, NULL), 0);
	store_wait(s, &waiter, on_told, NULL);
	commit_fails = true;
}

static void reopen(void)
{
	struct err e = ERR_INIT;

	worker_pool_free(workers);
	store_close(s);
	workers = worker_pool_new(loop, 2, &e);
	assert_non_null(workers);
	s = store_open(path, &e);
	assert_non_null(s);
	store_attach(s, loop, workers);
}

static void test_turn_that_cannot_be_committed_is_not_forgotten(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	in_turn(fail_at_end);
	assert_int_equal(told, 1); /* an error */
	assert_true(store_in_trouble(s));
	assert_false(store_is_durable(s));
	assert_true(there(1) && there(2));
	/* Each is for itself now, and is told. */
	assert_true(put(3, &e) < 0);
	assert_string_equal(e.code, "database_failed");
	assert_false(there(3));
	assert_true(there(1) && there(2));
	commit_fails = false;
	assert_int_equal(put(4, NULL), 0);
	assert_false(store_in_trouble(s));
	until_durable();
	reopen();
	assert_true(there(1) && there(2) && there(4));
	assert_false(there(3));
}

static void test_trouble_ends_by_itself(void **state)
{
	uint64_t end = clock_mono_ms() + 10000;

	(void)state;
	in_turn(fail_at_end);
	assert_true(store_in_trouble(s));
	commit_fails = false;
	while (store_in_trouble(s) && clock_mono_ms() < end)
		(void)loop_run_once(loop, 100);
	assert_false(store_in_trouble(s));
	until_durable();
	assert_true(there(1) && there(2));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_turn_is_one_commit),
		T(test_long_turn_commits_now_and_then),
		T(test_journal_is_committed_at_once),
		T(test_change_that_fails_takes_back_itself_alone),
		T(test_turn_that_cannot_be_committed_is_not_forgotten),
		T(test_trouble_ends_by_itself),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
