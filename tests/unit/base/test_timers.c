/* SPDX-License-Identifier: Apache-2.0 */
/* Many timers: against a model, freed by each other, and what they cost. */
#include "tests/unit/test.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/loop.h"
#include "base/timer_heap.h"

enum {
	MODEL_TIMERS = 200,
	MODEL_STEPS = 200000,
	MANY = 10000,
	LOTS = 100000
};

static uint32_t seed = 1;

static uint32_t any(uint32_t below)
{
	seed = seed * 1664525u + 1013904223u;
	return (seed >> 8) % below;
}

/* The naive list: which of them is due first, by deadline, then by age. */
static struct loop_timer *naive_first(struct loop_timer *timers,
				      const uint64_t *ages)
{
	struct loop_timer *first = NULL;

	for (size_t i = 0; i < MODEL_TIMERS; i++) {
		struct loop_timer *t = &timers[i];

		if (!t->deadline_ms)
			continue;
		if (!first || t->deadline_ms < first->deadline_ms ||
		    (t->deadline_ms == first->deadline_ms &&
		     ages[i] < ages[first - timers]))
			first = t;
	}
	return first;
}

static void test_heap_random_steps_agree_with_a_list(void **state)
{
	static struct loop_timer timers[MODEL_TIMERS];
	static uint64_t ages[MODEL_TIMERS];
	struct timer_heap heap = { .root = NULL };
	uint64_t age = 0;

	(void)state;
	for (unsigned step = 0; step < MODEL_STEPS; step++) {
		uint32_t i = any(MODEL_TIMERS), what = any(100);

		if (what == 0) {
			timer_heap_postpone(&heap, any(5), UINT64_MAX / 2);
		} else if (what < 30 && heap.root) { /* it fires */
			struct loop_timer *t = heap.root;

			timer_heap_remove(&heap, t);
			t->deadline_ms = 0;
		} else if (timers[i].deadline_ms) {
			timer_heap_remove(&heap, &timers[i]);
			timers[i].deadline_ms = 0;
		} else {
			timers[i].deadline_ms = 1 + any(50);
			ages[i] = age++;
			timer_heap_insert(&heap, &timers[i]);
		}
		assert_ptr_equal(heap.root, naive_first(timers, ages));
	}
}

static void test_heap_postpone_reaches_every_timer(void **state)
{
	static struct loop_timer timers[MODEL_TIMERS];
	struct timer_heap heap = { .root = NULL };

	(void)state;
	for (size_t i = 0; i < MODEL_TIMERS; i++) {
		timers[i].deadline_ms = 1 + any(1000);
		timers[i].data = (void *)(uintptr_t)timers[i].deadline_ms;
		timer_heap_insert(&heap, &timers[i]);
		if (i % 10 == 9) { /* so that the tree has some depth */
			timer_heap_remove(&heap, &timers[i]);
			timer_heap_insert(&heap, &timers[i]);
		}
	}
	timer_heap_remove(&heap, heap.root);
	timer_heap_postpone(&heap, 7000, UINT64_MAX);
	for (struct loop_timer *t; (t = heap.root);) {
		timer_heap_remove(&heap, t);
		assert_int_equal(t->deadline_ms, (uintptr_t)t->data + 7000);
	}
	timers[0].deadline_ms = 100;
	timer_heap_insert(&heap, &timers[0]);
	timer_heap_postpone(&heap, UINT64_MAX, 1000);
	assert_int_equal(timers[0].deadline_ms, 1000);
}

/* A timer in memory of its own, as owners have them. */
struct owner {
	struct loop_timer timer;
	struct crowd *crowd;
	size_t index;
	uint64_t due_ms;
};

struct crowd {
	struct owner *owners[MANY];
	size_t left, fired;
	uint64_t last_due_ms;
};

static void owner_free(struct owner *o)
{
	loop_timer_disarm(&o->timer);
	o->crowd->owners[o->index] = NULL;
	o->crowd->left--;
	memset(o, 0xaa, sizeof(*o)); /* whoever still looks at it shows */
	free(o);
}

/* Frees itself, and now and then another one that would fire, too. */
static void fire_and_free(struct loop_timer *timer)
{
	struct owner *o = timer->data;
	struct crowd *c = o->crowd;
	struct owner *other = c->owners[any(MANY)];

	assert_true(o->due_ms >= c->last_due_ms);
	assert_true(clock_mono_ms() >= o->due_ms);
	c->last_due_ms = o->due_ms;
	c->fired++;
	if (other && other != o && any(4) == 0)
		owner_free(other);
	owner_free(o);
}

static void test_loop_ten_thousand_timers_fire_in_order_and_free(void **state)
{
	static struct crowd c;
	struct loop *loop = loop_new(NULL);
	uint64_t end = clock_mono_ms() + 20000;

	(void)state;
	assert_non_null(loop);
	for (size_t i = 0; i < MANY; i++) {
		struct owner *o = calloc(1, sizeof(*o));

		assert_non_null(o);
		o->crowd = &c;
		o->index = i;
		c.owners[i] = o;
		c.left++;
		loop_timer_init(loop, &o->timer, fire_and_free, o);
		loop_timer_arm(&o->timer, any(100));
		o->due_ms = o->timer.deadline_ms;
	}
	while (c.left && clock_mono_ms() < end)
		(void)loop_run_once(loop, 1000);
	assert_int_equal(c.left, 0);
	assert_true(c.fired > MANY / 2);
	assert_int_equal(loop_run_once(loop, 0), 0);
	loop_free(loop);
}

static uint64_t cpu_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void never(struct loop_timer *timer)
{
	fail_msg("timer %p fired", (void *)timer);
}

/* With a list each of them would pass thousands of others: minutes. */
static void test_loop_timers_cost_little_however_many_there_are(void **state)
{
	struct loop_timer *timers = calloc(LOTS, sizeof(*timers));
	struct loop *loop = loop_new(NULL);
	uint64_t begin = cpu_ms();

	(void)state;
	assert_non_null(timers);
	assert_non_null(loop);
	for (size_t i = 0; i < LOTS; i++) {
		loop_timer_init(loop, &timers[i], never, NULL);
		loop_timer_arm(&timers[i], 1000000 + any(1000000));
	}
	for (size_t i = 0; i < LOTS; i++)
		loop_timer_arm(&timers[any(LOTS)], 1000000 + any(1000000));
	for (size_t i = 0; i < LOTS; i++)
		loop_timer_disarm(&timers[i]);
	for (size_t i = 0; i < LOTS; i++)
		loop_timer_arm_soon(&timers[i]);
	for (size_t i = LOTS; i > 0; i--)
		loop_timer_disarm(&timers[i - 1]);
	assert_true(cpu_ms() - begin < 4000);
	loop_free(loop);
	free(timers);
}

struct ends {
	struct loop_end a, b;
	struct loop_timer timer;
	char order[8];
};

static void note_end(struct loop_end *end)
{
	struct ends *s = end->data;

	s->order[strlen(s->order)] = end == &s->a ? 'a' : 'b';
	if (end == &s->a && strlen(s->order) < 4)
		loop_at_turn_end(&s->b, s->timer.loop, note_end, s);
}

static void ask_twice(struct loop_timer *timer)
{
	struct ends *s = timer->data;

	assert_true(loop_in_turn(timer->loop));
	loop_at_turn_end(&s->b, timer->loop, note_end, s);
	loop_at_turn_end(&s->a, timer->loop, note_end, s);
	loop_at_turn_end(&s->a, timer->loop, note_end, s);
	loop_end_cancel(&s->b);
	s->order[strlen(s->order)] = 't';
}

static void test_loop_end_of_turn_comes_once_and_last(void **state)
{
	struct loop *loop = loop_new(NULL);
	struct ends s = { .order = "" };

	(void)state;
	assert_non_null(loop);
	loop_timer_init(loop, &s.timer, ask_twice, &s);
	loop_timer_arm_soon(&s.timer);
	assert_false(loop_in_turn(loop));
	assert_int_equal(loop_run_once(loop, 1000), 1);
	assert_string_equal(s.order, "tab");
	assert_false(loop_in_turn(loop));
	assert_int_equal(loop_run_once(loop, 0), 0);
	assert_string_equal(s.order, "tab");
	loop_free(loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_heap_random_steps_agree_with_a_list),
		cmocka_unit_test(test_heap_postpone_reaches_every_timer),
		cmocka_unit_test(
			test_loop_ten_thousand_timers_fire_in_order_and_free),
		cmocka_unit_test(
			test_loop_timers_cost_little_however_many_there_are),
		cmocka_unit_test(test_loop_end_of_turn_comes_once_and_last),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
