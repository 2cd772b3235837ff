/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attacks on the rings, against every device: each is seen (the device asks
 * for its reset), does no harm, and after the reset the device works.
 */
#include "tests/unit/test.h"

#include <string.h>

#include "victim.h"

enum {
	F_NEXT = VRING_DESC_F_NEXT,
	F_WRITE = VRING_DESC_F_WRITE,
	F_INDIRECT = VRING_DESC_F_INDIRECT,
	BUFFER = 0x80000, /* guest memory that no ring uses */
	TABLE = 0x90000
};

typedef void attack_fn(struct fake_driver *d, uint16_t q);

static void put(struct fake_driver *d, uint16_t q, uint16_t at, uint64_t addr,
		uint32_t len, unsigned flags, uint16_t next)
{
	fake_put_desc(d, q, at,
		      (struct vring_desc){ addr, len, (uint16_t)flags, next });
}

/* One descriptor of an indirect table at TABLE. */
static void put_table(struct fake_driver *d, uint16_t at, uint64_t addr,
		      uint32_t len, unsigned flags, uint16_t next)
{
	struct vring_desc desc = { addr, len, (uint16_t)flags, next };

	memcpy(fake_ptr(d, TABLE + 16ull * at, 16), &desc, 16);
}

static void chain_of_itself(struct fake_driver *d, uint16_t q)
{
	put(d, q, 0, BUFFER, 16, F_NEXT, 0);
	fake_offer(d, q, 0);
}

static void chain_with_a_cycle(struct fake_driver *d, uint16_t q)
{
	put(d, q, 0, BUFFER, 16, F_NEXT, 1);
	put(d, q, 1, BUFFER, 16, F_NEXT, 2);
	put(d, q, 2, BUFFER, 16, F_NEXT, 1);
	fake_offer(d, q, 0);
}

static void cycle_of_empty_descriptors(struct fake_driver *d, uint16_t q)
{
	put(d, q, 0, 0, 0, F_NEXT, 1);
	put(d, q, 1, 0, 0, F_NEXT, 0);
	fake_offer(d, q, 0);
}

static void next_out_of_the_table(struct fake_driver *d, uint16_t q)
{
	put(d, q, 0, BUFFER, 16, F_NEXT, d->queues[q].size);
	fake_offer(d, q, 0);
}

static void next_far_out_of_the_table(struct fake_driver *d, uint16_t q)
{
	put(d, q, 0, BUFFER, 16, F_NEXT, UINT16_MAX);
	fake_offer(d, q, 0);
}

static void head_out_of_the_table(struct fake_driver *d, uint16_t q)
{
	fake_offer(d, q, d->queues[q].size);
}

static void head_far_out_of_the_table(struct fake_driver *d, uint16_t q)
{
	fake_offer(d, q, UINT16_MAX);
}

static void buffer_in_the_hole(struct fake_driver *d, uint16_t q)
{
	put(d, q, 0, FAKE_LOW_LEN + 4096, 16, 0, 0);
	fake_offer(d, q, 0);
}

static void buffer_over_the_end(struct fake_driver *d, uint16_t q)
{
	put(d, q, 0, FAKE_LOW_LEN - 15, 16, 0, 0);
	fake_offer(d, q, 0);
}

static void buffer_that_wraps(struct fake_driver *d, uint16_t q)
{
	put(d, q, 0, UINT64_MAX - 15, 32, F_WRITE, 0);
	fake_offer(d, q, 0);
}

static void buffer_of_all_lengths(struct fake_driver *d, uint16_t q)
{
	put(d, q, 0, 0, UINT32_MAX, F_WRITE, 0);
	fake_offer(d, q, 0);
}

/* Each part is memory, but together they have more than 2^32 bytes: the same
 * megabyte as often as the longest chain allows cannot reach that, so this
 * attack is about the largest sum there is. It must not break anything. */
static void largest_sum(struct fake_driver *d, uint16_t q)
{
	for (uint16_t i = 0; i < 256; i++)
		put_table(d, i, FAKE_HIGH_GPA, FAKE_HIGH_LEN,
			  F_WRITE | (i < 255 ? F_NEXT : 0), (uint16_t)(i + 1));
	put_table(d, 0, BUFFER, 16, F_NEXT, 1);
	put(d, q, 0, TABLE, 256 * 16, F_INDIRECT, 0);
	fake_offer(d, q, 0);
}

static void read_after_write(struct fake_driver *d, uint16_t q)
{
	put(d, q, 0, BUFFER, 16, F_NEXT, 1);
	put(d, q, 1, BUFFER, 16, F_NEXT | F_WRITE, 2);
	put(d, q, 2, BUFFER, 16, 0, 0);
	fake_offer(d, q, 0);
}

static void index_jumps_ahead(struct fake_driver *d, uint16_t q)
{
	*fake_avail_idx(d, q) = (uint16_t)(d->queues[q].size + 1);
}

static void index_jumps_back(struct fake_driver *d, uint16_t q)
{
	*fake_avail_idx(d, q) = UINT16_MAX;
}

static void indirect_in_indirect(struct fake_driver *d, uint16_t q)
{
	put(d, q, 0, TABLE, 16, F_INDIRECT, 0);
	put_table(d, 0, TABLE, 16, F_INDIRECT, 0);
	fake_offer(d, q, 0);
}

static void indirect_with_next(struct fake_driver *d, uint16_t q)
{
	put(d, q, 0, TABLE, 16, F_INDIRECT | F_NEXT, 1);
	put(d, q, 1, BUFFER, 16, 0, 0);
	put_table(d, 0, BUFFER, 16, 0, 0);
	fake_offer(d, q, 0);
}

static void indirect_empty(struct fake_driver *d, uint16_t q)
{
	put(d, q, 0, TABLE, 0, F_INDIRECT, 0);
	fake_offer(d, q, 0);
}

static void indirect_of_broken_length(struct fake_driver *d, uint16_t q)
{
	/* Two good descriptors and half a one. */
	put(d, q, 0, TABLE, 40, F_INDIRECT, 0);
	put_table(d, 0, BUFFER, 16, F_NEXT, 1);
	put_table(d, 1, BUFFER + 64, 21, F_WRITE, 0);
	fake_offer(d, q, 0);
}

static void indirect_outside_memory(struct fake_driver *d, uint16_t q)
{
	put(d, q, 0, FAKE_LOW_LEN - 16, 32, F_INDIRECT, 0);
	fake_offer(d, q, 0);
}

static void indirect_huge(struct fake_driver *d, uint16_t q)
{
	put(d, q, 0, 0, 0xfffffff0, F_INDIRECT, 0);
	fake_offer(d, q, 0);
}

static void indirect_next_out_of_it(struct fake_driver *d, uint16_t q)
{
	put(d, q, 0, TABLE, 32, F_INDIRECT, 0);
	put_table(d, 0, BUFFER, 16, F_NEXT, 2);
	put_table(d, 2, BUFFER, 16, 0, 0);
	fake_offer(d, q, 0);
}

static void indirect_with_a_cycle(struct fake_driver *d, uint16_t q)
{
	put(d, q, 0, TABLE, 32, F_INDIRECT, 0);
	put_table(d, 0, BUFFER, 1, F_NEXT, 1);
	put_table(d, 1, BUFFER, 1, F_NEXT, 0);
	fake_offer(d, q, 0);
}

static void indirect_too_long(struct fake_driver *d, uint16_t q)
{
	for (uint16_t i = 0; i < 257; i++)
		put_table(d, i, BUFFER, 1, i < 256 ? F_NEXT : 0,
			  (uint16_t)(i + 1));
	put(d, q, 0, TABLE, 257 * 16, F_INDIRECT, 0);
	fake_offer(d, q, 0);
}

static void rings_as_buffers(struct fake_driver *d, uint16_t q)
{
	struct fake_queue *fq = &d->queues[q];

	/* The device overwrites its own rings: the guest's loss only. */
	put(d, q, 0, BUFFER, 16, F_NEXT, 1);
	put(d, q, 1, fq->desc_gpa, 16u * fq->size, F_WRITE | F_NEXT, 2);
	put(d, q, 2, fq->avail_gpa, 6u + 2u * fq->size, F_WRITE | F_NEXT, 3);
	put(d, q, 3, fq->used_gpa, 6u + 8u * fq->size, F_WRITE, 0);
	fake_offer(d, q, 0);
}

static void one_chain_many_times(struct fake_driver *d, uint16_t q)
{
	put(d, q, 0, BUFFER, 16, F_NEXT, 1);
	put(d, q, 1, BUFFER + 64, 21, F_WRITE, 0);
	for (uint16_t i = 0; i < d->queues[q].size; i++)
		fake_offer(d, q, 0);
}

struct attack {
	const char *name;
	attack_fn *run;
	bool harmless; /* allowed, or only the guest's own loss */
};

#define BREAKS(name)               \
	{                          \
#name, name, false \
	}
#define ALLOWED(name)             \
	{                         \
#name, name, true \
	}

static const struct attack attacks[] = {
	BREAKS(chain_of_itself),
	BREAKS(chain_with_a_cycle),
	BREAKS(cycle_of_empty_descriptors),
	BREAKS(next_out_of_the_table),
	BREAKS(next_far_out_of_the_table),
	BREAKS(head_out_of_the_table),
	BREAKS(head_far_out_of_the_table),
	BREAKS(buffer_in_the_hole),
	BREAKS(buffer_over_the_end),
	BREAKS(buffer_that_wraps),
	BREAKS(buffer_of_all_lengths),
	BREAKS(read_after_write),
	BREAKS(index_jumps_ahead),
	BREAKS(index_jumps_back),
	BREAKS(indirect_in_indirect),
	BREAKS(indirect_with_next),
	BREAKS(indirect_empty),
	BREAKS(indirect_of_broken_length),
	BREAKS(indirect_outside_memory),
	BREAKS(indirect_huge),
	BREAKS(indirect_next_out_of_it),
	BREAKS(indirect_with_a_cycle),
	BREAKS(indirect_too_long),
	ALLOWED(largest_sum),
	ALLOWED(rings_as_buffers),
	ALLOWED(one_chain_many_times),
};

static void attack_all(enum victim_kind kind)
{
	for (size_t i = 0; i < sizeof(attacks) / sizeof(attacks[0]); i++) {
		const struct attack *a = &attacks[i];
		struct victim v;

		victim_init(&v, kind);
		fake_driver_start(&v.d, ~0ull);
		a->run(&v.d, v.queue);
		fake_kick(&v.d, v.queue);
		if (!a->harmless && !fake_needs_reset(&v.d))
			fail_msg("%s was not seen", a->name);
		if (!a->harmless && v.d.dev->guest_errors == 0)
			fail_msg("%s was not counted", a->name);
		/* However often it is kicked. */
		for (int n = 0; n < 3; n++) {
			fake_kick(&v.d, v.queue);
			assert_true(loop_run_once(v.loop, 0) >= 0);
		}
		if (!victim_recovers(&v))
			fail_msg("no recovery from %s", a->name);
		victim_done(&v);
	}
}

static void test_rings_of_a_block_device_under_attack(void **state)
{
	(void)state;
	attack_all(VICTIM_BLK);
}

static void test_rings_of_an_entropy_device_under_attack(void **state)
{
	(void)state;
	attack_all(VICTIM_RNG);
}

static void test_rings_of_a_console_under_attack(void **state)
{
	(void)state;
	attack_all(VICTIM_CONSOLE);
}

static void test_rings_indirect_not_negotiated_is_an_attack(void **state)
{
	struct victim v;

	(void)state;
	victim_init(&v, VICTIM_RNG);
	fake_driver_start(&v.d, 0);
	(void)fake_add_indirect(&v.d, 0, FAKE_PARTS({ BUFFER, 16, true }));
	fake_kick(&v.d, 0);
	assert_true(fake_needs_reset(&v.d));
	assert_true(victim_recovers(&v));
	victim_done(&v);
}

static void test_rings_block_request_without_its_frame(void **state)
{
	/* Header too short, no status byte, nothing at all. */
	static const struct fake_part parts[][2] = {
		{ { BUFFER, 15, false }, { BUFFER + 64, 1, true } },
		{ { BUFFER, 16, false }, { BUFFER + 64, 1, false } },
		{ { BUFFER, 0, false }, { BUFFER, 0, true } },
	};

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		struct victim v;

		victim_init(&v, VICTIM_BLK);
		fake_driver_start(&v.d, ~0ull);
		(void)fake_add(&v.d, 0, parts[i], 2);
		fake_kick(&v.d, 0);
		assert_true(fake_needs_reset(&v.d));
		assert_true(victim_recovers(&v));
		victim_done(&v);
	}
}

static void test_rings_of_every_size_work(void **state)
{
	(void)state;
	for (uint16_t size = 2; size <= 64; size = (uint16_t)(size * 2)) {
		struct victim v;
		struct fake_used used;

		victim_init(&v, VICTIM_RNG);
		fake_driver_start_sized(&v.d, ~0ull, size);
		for (int i = 0; i < 200; i++) {
			(void)fake_add(&v.d, 0,
				       FAKE_PARTS({ BUFFER, 16, true },
						  { BUFFER + 64, 16, true }));
			(void)fake_kick_if_wanted(&v.d, 0);
			assert_true(fake_take_used(&v.d, 0, &used));
			assert_int_equal(used.len, 32);
		}
		victim_done(&v);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rings_of_a_block_device_under_attack),
		cmocka_unit_test(test_rings_of_an_entropy_device_under_attack),
		cmocka_unit_test(test_rings_of_a_console_under_attack),
		cmocka_unit_test(
			test_rings_indirect_not_negotiated_is_an_attack),
		cmocka_unit_test(test_rings_block_request_without_its_frame),
		cmocka_unit_test(test_rings_of_every_size_work),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
