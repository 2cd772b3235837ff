/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/test.h"

#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/loop.h"

struct fixture {
	struct loop *loop;
	struct loop_source a, b;
	int pipe_a[2], pipe_b[2];
	struct loop_timer t1, t2, t3;
	char order[16];
	int calls;
};

static int setup(void **state)
{
	static struct fixture f;

	memset(&f, 0, sizeof(f));
	f.loop = loop_new(NULL);
	if (!f.loop || pipe(f.pipe_a) < 0 || pipe(f.pipe_b) < 0)
		return -1;
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	loop_free(f->loop);
	for (int i = 0; i < 2; i++) {
		(void)close(f->pipe_a[i]);
		(void)close(f->pipe_b[i]);
	}
	return 0;
}

static void remove_both(struct loop_source *source, uint32_t events)
{
	struct fixture *f = source->data;

	assert_true(events & EPOLLIN);
	f->calls++;
	loop_remove(&f->a);
	loop_remove(&f->b);
}

static void test_loop_removed_source_gets_no_event_of_same_batch(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(loop_add(f->loop, &f->a, f->pipe_a[0], EPOLLIN,
				  remove_both, f),
			 0);
	assert_int_equal(loop_add(f->loop, &f->b, f->pipe_b[0], EPOLLIN,
				  remove_both, f),
			 0);
	assert_int_equal(write(f->pipe_a[1], "x", 1), 1);
	assert_int_equal(write(f->pipe_b[1], "x", 1), 1);
	assert_true(loop_run_once(f->loop, 1000) > 0);
	assert_int_equal(f->calls, 1);
	assert_false(loop_source_active(&f->a));
	assert_int_equal(loop_run_once(f->loop, 0), 0);
	assert_int_equal(loop_modify(&f->a, EPOLLOUT), -2);
}

static void note(struct loop_timer *t)
{
	struct fixture *f = t->data;
	char c = t == &f->t1 ? '1' : t == &f->t2 ? '2' : '3';

	f->order[strlen(f->order)] = c;
	if (c == '2')
		loop_timer_disarm(&f->t1);
	if (strlen(f->order) == 2)
		loop_stop(f->loop, 42);
}

static void test_loop_timers_fire_in_order_and_can_be_disarmed(void **state)
{
	struct fixture *f = *state;
	uint64_t before = clock_mono_ms();

	loop_timer_init(f->loop, &f->t1, note, f);
	loop_timer_init(f->loop, &f->t2, note, f);
	loop_timer_init(f->loop, &f->t3, note, f);
	loop_timer_arm(&f->t3, 60);
	loop_timer_arm(&f->t1, 30);
	loop_timer_arm(&f->t2, 5000);
	loop_timer_arm(&f->t2, 10); /* re-arm */
	assert_int_equal(loop_run(f->loop), 42);
	assert_string_equal(f->order, "23");
	assert_true(clock_mono_ms() - before >= 60);
	assert_false(loop_timer_armed(&f->t1));
}

static void rearm(struct loop_timer *t)
{
	struct fixture *f = t->data;

	if (++f->calls == 3)
		loop_stop(f->loop, 0);
	else
		loop_timer_arm(t, 1);
}

static void test_loop_timer_can_rearm_itself(void **state)
{
	struct fixture *f = *state;

	loop_timer_init(f->loop, &f->t1, rearm, f);
	loop_timer_arm(&f->t1, 0);
	assert_int_equal(loop_run(f->loop), 0);
	assert_int_equal(f->calls, 3);
}

static void again_soon(struct loop_timer *t)
{
	struct fixture *f = t->data;

	f->calls++;
	loop_timer_arm_soon(t);
}

static void disarm_second(struct loop_timer *t)
{
	struct fixture *f = t->data;

	f->calls++;
	loop_timer_disarm(&f->t2);
}

static void test_loop_soon_is_the_next_turn_and_fair(void **state)
{
	struct fixture *f = *state;

	loop_timer_init(f->loop, &f->t1, again_soon, f);
	loop_timer_arm_soon(&f->t1);
	loop_timer_arm_soon(&f->t1);
	assert_true(loop_timer_armed(&f->t1));
	assert_int_equal(f->calls, 0);
	/* No time passes: one call a turn, each with a turn for others. */
	for (int i = 1; i <= 5; i++) {
		assert_int_equal(loop_run_once(f->loop, 0), 1);
		assert_int_equal(f->calls, i);
	}
	loop_timer_disarm(&f->t1);
	assert_false(loop_timer_armed(&f->t1));
	assert_int_equal(loop_run_once(f->loop, 0), 0);
	assert_int_equal(f->calls, 5);
}

static void test_loop_soon_can_be_disarmed_by_its_neighbour(void **state)
{
	struct fixture *f = *state;

	loop_timer_init(f->loop, &f->t1, disarm_second, f);
	loop_timer_init(f->loop, &f->t2, again_soon, f);
	loop_timer_arm_soon(&f->t1);
	loop_timer_arm_soon(&f->t2);
	assert_int_equal(loop_run_once(f->loop, 0), 1);
	assert_int_equal(f->calls, 1);
	assert_false(loop_timer_armed(&f->t2));
	/* From one kind to the other and back. */
	loop_timer_arm(&f->t1, 5000);
	loop_timer_arm_soon(&f->t1);
	assert_int_equal(loop_run_once(f->loop, 0), 1);
	loop_timer_arm_soon(&f->t1);
	loop_timer_arm(&f->t1, 5000);
	assert_int_equal(loop_run_once(f->loop, 0), 0);
	assert_int_equal(f->calls, 2);
	loop_timer_disarm(&f->t1);
}

static void got_signal(const siginfo_t *info, void *data)
{
	struct fixture *f = data;

	loop_stop(f->loop, info->si_signo);
}

/* What fn does must end a process by its assertion. */
static void assert_aborts(void (*fn)(struct fixture *), struct fixture *f)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		(void)signal(SIGABRT, SIG_DFL);
		(void)close(STDERR_FILENO);
		fn(f);
		_exit(0);
	}
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGABRT);
}

static void init_armed_timer(struct fixture *f)
{
	loop_timer_init(f->loop, &f->t1, rearm, f);
}

static void arm_without_callback(struct fixture *f)
{
	loop_timer_init(f->loop, &f->t2, NULL, f);
	loop_timer_arm(&f->t2, 1);
}

static void add_added_source(struct fixture *f)
{
	(void)loop_add(f->loop, &f->a, f->pipe_b[0], EPOLLIN, remove_both, f);
}

static void test_loop_misuse_ends_at_once(void **state)
{
	struct fixture *f = *state;

	loop_timer_init(f->loop, &f->t1, rearm, f);
	loop_timer_arm(&f->t1, 10000);
	assert_aborts(init_armed_timer, f);
	loop_timer_disarm(&f->t1);
	loop_timer_arm_soon(&f->t1);
	assert_aborts(init_armed_timer, f);
	loop_timer_disarm(&f->t1);
	init_armed_timer(f); /* it is not armed any more */
	assert_aborts(arm_without_callback, f);
	assert_int_equal(loop_add(f->loop, &f->a, f->pipe_a[0], EPOLLIN,
				  remove_both, f),
			 0);
	assert_aborts(add_added_source, f);
	loop_remove(&f->a);
}

static void test_loop_timer_start_takes_another_callback(void **state)
{
	struct fixture *f = *state;

	loop_timer_init(f->loop, &f->t1, NULL, f);
	loop_timer_init(f->loop, &f->t2, NULL, f);
	loop_timer_start(&f->t1, again_soon, 5);
	loop_timer_start(&f->t1, rearm, 0);
	while (f->calls < 3)
		assert_true(loop_run_once(f->loop, 1000) >= 0);
	assert_false(loop_timer_armed(&f->t1));
	loop_timer_start_soon(&f->t1, disarm_second);
	assert_int_equal(loop_run_once(f->loop, 0), 1);
	assert_int_equal(f->calls, 4);
}

static void test_loop_delivers_signals_and_wakes(void **state)
{
	struct fixture *f = *state;
	sigset_t set;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGUSR1);
	assert_int_equal(loop_signals(f->loop, &set, got_signal, f, NULL), 0);
	assert_int_equal(raise(SIGUSR1), 0);
	assert_int_equal(loop_run(f->loop), SIGUSR1);
}

static void woken(void *data)
{
	struct fixture *f = data;

	loop_stop(f->loop, 7);
}

static void test_loop_wake_calls_back(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(loop_set_wake(f->loop, woken, f, NULL), 0);
	loop_wake(f->loop);
	loop_wake(f->loop);
	assert_int_equal(loop_run(f->loop), 7);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_loop_removed_source_gets_no_event_of_same_batch),
		T(test_loop_timers_fire_in_order_and_can_be_disarmed),
		T(test_loop_timer_can_rearm_itself),
		T(test_loop_soon_is_the_next_turn_and_fair),
		T(test_loop_soon_can_be_disarmed_by_its_neighbour),
		T(test_loop_misuse_ends_at_once),
		T(test_loop_timer_start_takes_another_callback),
		T(test_loop_delivers_signals_and_wakes),
		T(test_loop_wake_calls_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
