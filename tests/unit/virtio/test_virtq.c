/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio/virtq: the ring alone, without transport or device. The fake driver's
 * ring calls only need memory, so a queue is put on it by hand here. Attacks on
 * rings are in tests/hostile/virtio/test_rings.c.
 */
#include "tests/unit/test.h"

#include <string.h>

#include "fake_driver.h"

struct fixture {
	struct fake_driver d;
	struct virtq q;
	struct virtq_chain chain;
};

static void setup_queue(struct fixture *f, uint16_t size)
{
	struct fake_queue *fq = &f->d.queues[0];

	fake_driver_init(&f->d);
	*fq = (struct fake_queue){
		.size = size,
		.desc_gpa = fake_alloc(&f->d, 16u * (uint64_t)size, 16),
		.avail_gpa = fake_alloc(&f->d, 6u + 2u * (uint64_t)size, 2),
		.used_gpa = fake_alloc(&f->d, 6u + 8u * (uint64_t)size, 4),
	};
	f->q = (struct virtq){
		.mem = &f->d.mem,
		.size_max = 256,
		.size = size,
		.desc_gpa = fq->desc_gpa,
		.avail_gpa = fq->avail_gpa,
		.used_gpa = fq->used_gpa,
		.indirect = true,
	};
}

static struct fixture fixture;

static int setup(void **state)
{
	setup_queue(&fixture, 8);
	*state = &fixture;
	return virtq_enable(&fixture.q) ? 0 : -1;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	fake_driver_done(&f->d);
	return 0;
}

static void test_virtq_enable_checks_size_alignment_and_place(void **state)
{
	struct fixture *f = *state;
	struct virtq q = f->q, good = f->q;

	q.size = 0;
	assert_false(virtq_enable(&q));
	q.size = 6;
	assert_false(virtq_enable(&q));
	q.size = 512;
	assert_false(virtq_enable(&q));
	q = good;
	q.desc_gpa += 8;
	assert_false(virtq_enable(&q));
	q = good;
	q.avail_gpa += 1;
	assert_false(virtq_enable(&q));
	q = good;
	q.used_gpa += 2;
	assert_false(virtq_enable(&q));
	/* The ring's end, event index included, must be memory too. */
	q = good;
	q.avail_gpa = FAKE_LOW_LEN - (4 + 2 * 8);
	assert_false(virtq_enable(&q));
	assert_false(q.ready);
	q.avail_gpa -= 2;
	assert_true(virtq_enable(&q));
	assert_true(q.ready);
	q = good;
	q.used_gpa = UINT64_MAX - 3;
	assert_false(virtq_enable(&q));
}

static void test_virtq_pop_gives_parts_in_order(void **state)
{
	struct fixture *f = *state;
	uint64_t gpa = fake_alloc(&f->d, 64, 1);
	char text[6] = "";
	uint16_t head;

	memcpy(fake_ptr(&f->d, gpa, 6), "abcdef", 6);
	assert_int_equal(virtq_pop(&f->q, &f->chain), VIRTQ_EMPTY);
	head = fake_add(&f->d, 0,
			FAKE_PARTS({ gpa, 2, false }, { 0, 0, false },
				   { gpa + 2, 4, false }, { gpa + 8, 3, true },
				   { FAKE_HIGH_GPA, 5, true }));
	assert_int_equal(virtq_pending(&f->q), 1);
	assert_int_equal(virtq_pop(&f->q, &f->chain), VIRTQ_OK);
	assert_int_equal(f->chain.head, head);
	/* The empty part has left no trace. */
	assert_int_equal(f->chain.read_count, 2);
	assert_int_equal(f->chain.write_count, 2);
	assert_int_equal(f->chain.read_len, 6);
	assert_int_equal(f->chain.write_len, 8);
	assert_int_equal(virtq_chain_read(&f->chain, 1, text, 6), 5);
	assert_memory_equal(text, "bcdef", 5);
	assert_int_equal(virtq_chain_write(&f->chain, 2, "xyz", 3), 3);
	assert_memory_equal(fake_ptr(&f->d, gpa + 10, 1), "x", 1);
	assert_memory_equal(fake_ptr(&f->d, FAKE_HIGH_GPA, 2), "yz", 2);
	assert_int_equal(virtq_chain_write(&f->chain, 8, "x", 1), 0);
	assert_int_equal(virtq_pop(&f->q, &f->chain), VIRTQ_EMPTY);
}

static void test_virtq_pop_follows_an_indirect_table(void **state)
{
	struct fixture *f = *state;
	struct fake_part parts[VIRTQ_CHAIN_MAX];

	for (size_t i = 0; i < VIRTQ_CHAIN_MAX; i++)
		parts[i] = (struct fake_part){ 0x2000 + i, 1, i > 100 };
	/* seg_max of a block device plus header and status: the most. */
	(void)fake_add_indirect(&f->d, 0, parts, VIRTQ_CHAIN_MAX);
	assert_int_equal(virtq_pop(&f->q, &f->chain), VIRTQ_OK);
	assert_int_equal(f->chain.read_count, 101);
	assert_int_equal(f->chain.write_count, VIRTQ_CHAIN_MAX - 101);
	assert_ptr_equal(f->chain.iov[200].iov_base,
			 fake_ptr(&f->d, 0x2000 + 200, 1));
}

static void test_virtq_unpop_gives_the_chain_again(void **state)
{
	struct fixture *f = *state;
	uint16_t head = fake_add(&f->d, 0, FAKE_PARTS({ 0x2000, 1, false }));

	assert_int_equal(virtq_pop(&f->q, &f->chain), VIRTQ_OK);
	virtq_unpop(&f->q);
	assert_int_equal(virtq_pending(&f->q), 1);
	assert_int_equal(virtq_pop(&f->q, &f->chain), VIRTQ_OK);
	assert_int_equal(f->chain.head, head);
}

static void test_virtq_indexes_wrap_around(void **state)
{
	struct fixture *f = *state;
	struct fake_used used;

	for (unsigned i = 0; i < 70000; i++) {
		uint16_t head =
			fake_add(&f->d, 0, FAKE_PARTS({ 0x2000, 4, true }));

		assert_int_equal(virtq_pop(&f->q, &f->chain), VIRTQ_OK);
		assert_true(virtq_push(&f->q, f->chain.head, i));
		assert_true(fake_take_used(&f->d, 0, &used));
		assert_int_equal(used.id, head);
		assert_int_equal(used.len, i);
	}
}

static void test_virtq_stage_shows_nothing_before_publish(void **state)
{
	struct fixture *f = *state;
	struct fake_used used;

	assert_true(virtq_stage(&f->q, 0, 5, 50));
	assert_true(virtq_stage(&f->q, 1, 6, 60));
	assert_false(virtq_stage(&f->q, 8, 7, 70));
	assert_false(fake_take_used(&f->d, 0, &used));
	virtq_publish(&f->q, 2);
	assert_true(fake_take_used(&f->d, 0, &used));
	assert_int_equal(used.id, 5);
	assert_true(fake_take_used(&f->d, 0, &used));
	assert_int_equal(used.id, 6);
	assert_int_equal(used.len, 60);
	assert_false(fake_take_used(&f->d, 0, &used));
}

static void test_virtq_interrupt_follows_the_flag(void **state)
{
	struct fixture *f = *state;

	assert_false(virtq_should_interrupt(&f->q));
	assert_true(virtq_push(&f->q, 0, 0));
	assert_true(virtq_should_interrupt(&f->q));
	/* Nothing new since. */
	assert_false(virtq_should_interrupt(&f->q));
	*fake_avail_flags(&f->d, 0) = VRING_AVAIL_F_NO_INTERRUPT;
	assert_true(virtq_push(&f->q, 0, 0));
	assert_false(virtq_should_interrupt(&f->q));
}

static void test_virtq_interrupt_follows_the_event_index(void **state)
{
	struct fixture *f = *state;

	f->q.event_idx = true;
	assert_true(virtq_push(&f->q, 0, 0));
	assert_true(virtq_should_interrupt(&f->q));
	/* The driver wants to hear when entry 3 is used, not before. */
	*fake_used_event(&f->d, 0) = 3;
	assert_true(virtq_push(&f->q, 0, 0));
	assert_false(virtq_should_interrupt(&f->q));
	assert_true(virtq_push(&f->q, 0, 0));
	assert_false(virtq_should_interrupt(&f->q));
	assert_true(virtq_push(&f->q, 0, 0));
	assert_true(virtq_should_interrupt(&f->q));
	assert_true(virtq_push(&f->q, 0, 0));
	assert_false(virtq_should_interrupt(&f->q));
	/* A batch that passes the event counts as reaching it. */
	*fake_used_event(&f->d, 0) = 6;
	for (int i = 0; i < 4; i++)
		assert_true(virtq_push(&f->q, 0, 0));
	assert_true(virtq_should_interrupt(&f->q));
}

static void test_virtq_kicks_are_asked_for_and_suppressed(void **state)
{
	struct fixture *f = *state;

	virtq_enable_kicks(&f->q, false);
	assert_int_equal(*fake_used_flags(&f->d, 0), VRING_USED_F_NO_NOTIFY);
	virtq_enable_kicks(&f->q, true);
	assert_int_equal(*fake_used_flags(&f->d, 0), 0);
	f->q.event_idx = true;
	(void)fake_add(&f->d, 0, FAKE_PARTS({ 0x2000, 1, false }));
	assert_int_equal(virtq_pop(&f->q, &f->chain), VIRTQ_OK);
	virtq_enable_kicks(&f->q, false);
	assert_int_equal(*fake_avail_event(&f->d, 0), 0);
	virtq_enable_kicks(&f->q, true);
	assert_int_equal(*fake_avail_event(&f->d, 0), 1);
	assert_int_equal(*fake_used_flags(&f->d, 0), 0);
}

static void test_virtq_not_ready_does_nothing(void **state)
{
	struct fixture *f = *state;

	(void)fake_add(&f->d, 0, FAKE_PARTS({ 0x2000, 1, false }));
	virtq_reset(&f->q);
	assert_int_equal(virtq_pending(&f->q), 0);
	assert_int_equal(virtq_pop(&f->q, &f->chain), VIRTQ_EMPTY);
	assert_false(virtq_push(&f->q, 0, 0));
	assert_false(virtq_should_interrupt(&f->q));
	virtq_publish(&f->q, 1);
	virtq_enable_kicks(&f->q, true);
	assert_int_equal(f->q.size_max, 256);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_virtq_enable_checks_size_alignment_and_place),
		T(test_virtq_pop_gives_parts_in_order),
		T(test_virtq_pop_follows_an_indirect_table),
		T(test_virtq_unpop_gives_the_chain_again),
		T(test_virtq_indexes_wrap_around),
		T(test_virtq_stage_shows_nothing_before_publish),
		T(test_virtq_interrupt_follows_the_flag),
		T(test_virtq_interrupt_follows_the_event_index),
		T(test_virtq_kicks_are_asked_for_and_suppressed),
		T(test_virtq_not_ready_does_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
