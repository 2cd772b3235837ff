/* SPDX-License-Identifier: Apache-2.0 */
/* A change wakes who waits for it, and nobody else. */
#include "tests/unit/test.h"

#include <string.h>

#include "base/loop.h"
#include "vmd/daemon.h"

enum {
	CROWD = 500
};

static struct daemon d;
static unsigned calls;

static int setup(void **state)
{
	memset(&d, 0, sizeof(d));
	d.loop = loop_new(NULL);
	assert_non_null(d.loop);
	watch_open(&d);
	calls = 0;
	*state = &d;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	loop_free(d.loop);
	return 0;
}

static void count(struct watch *w)
{
	unsigned *mine = w->data;

	calls++;
	(*mine)++;
}

/* Until nobody is woken any more. */
static void settle(void)
{
	for (int i = 0; i < 100 && loop_run_once(d.loop, 0) > 0; i++)
		;
}

static void test_change_wakes_who_waits_for_it_alone(void **state)
{
	static struct watch crowd[CROWD], a, b;
	static unsigned of_crowd, of_a, of_b;

	(void)state;
	for (int i = 0; i < CROWD; i++)
		watch_add(&d, &crowd[i], "elsewhere", count, &of_crowd);
	watch_add(&d, &a, "vm", count, &of_a);
	watch_add(&d, &b, "vm", count, &of_b);
	settle();
	/* Each once: it may have changed since they looked. */
	assert_int_equal(of_crowd, CROWD);
	assert_int_equal(of_a, 1);
	daemon_changed(&d, "vm");
	daemon_changed(&d, "vm");
	assert_int_equal(of_a, 1); /* never from within the change */
	settle();
	assert_int_equal(of_a, 2);
	assert_int_equal(of_b, 2);
	assert_int_equal(of_crowd, CROWD);
	daemon_changed(&d, "nobody waits for this");
	assert_false(loop_timer_armed(&d.notify));
	watch_remove(&a);
	watch_remove(&a);
	daemon_changed(&d, "vm");
	settle();
	assert_int_equal(of_a, 2);
	assert_int_equal(of_b, 3);
	watch_remove(&b);
	for (int i = 0; i < CROWD; i++)
		watch_remove(&crowd[i]);
}

static struct watch first, second, third;

static void remove_all(struct watch *w)
{
	(void)w;
	calls++;
	watch_remove(&first);
	watch_remove(&second);
	watch_remove(&third);
}

static void test_callback_may_remove_any(void **state)
{
	(void)state;
	watch_add(&d, &first, "vm", remove_all, NULL);
	watch_add(&d, &second, "vm", remove_all, NULL);
	watch_add(&d, &third, "vm", remove_all, NULL);
	settle();
	assert_int_equal(calls, 1);
	daemon_changed(&d, "vm");
	settle();
	assert_int_equal(calls, 1);
}

static void change_again(struct watch *w)
{
	if (++calls < 10)
		daemon_changed(&d, w->id);
}

static void test_change_made_by_a_callback_waits_for_the_next_turn(void **state)
{
	(void)state;
	watch_add(&d, &first, "vm", change_again, NULL);
	assert_int_equal(loop_run_once(d.loop, 0), 1);
	assert_int_equal(calls, 1);
	settle();
	assert_int_equal(calls, 10);
	/* Added again without having been removed: once in the list. */
	watch_add(&d, &first, "other", change_again, NULL);
	settle();
	assert_int_equal(calls, 11);
	daemon_changed(&d, "vm");
	settle();
	assert_int_equal(calls, 11);
	watch_remove(&first);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_change_wakes_who_waits_for_it_alone),
		T(test_callback_may_remove_any),
		T(test_change_made_by_a_callback_waits_for_the_next_turn),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
