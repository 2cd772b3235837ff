/* SPDX-License-Identifier: Apache-2.0 */
/* virtio/balloon. */
#include "tests/unit/test.h"

#include <linux/virtio_balloon.h>
#include <string.h>

#include "base/clock.h"
#include "fake_driver.h"
#include "virtio/balloon.h"

enum {
	INFLATE,
	DEFLATE,
	STATS,
	REPORTING_NEXT,
	REPORTING,
	PAGE = 4096,
	LOW_PAGES = FAKE_LOW_LEN / PAGE,
	MMIO_CONFIG = 0x100, /* configuration space: VIRTIO 1.2, 4.2.2 */
	DEADLINE_MS = 10000,
};

static struct fake_driver d;
static struct loop *loop;
/* What was given back: pages of the low region, in all, and in how many calls. */
static bool given[LOW_PAGES];
static uint64_t given_bytes;
static unsigned calls;

static void discard(void *ctx, void *host, size_t len)
{
	uintptr_t at = (uintptr_t)host - (uintptr_t)d.low;

	(void)ctx;
	assert_int_equal((uintptr_t)host % PAGE, 0);
	assert_int_equal(len % PAGE, 0);
	calls++;
	given_bytes += len;
	for (size_t i = at / PAGE; at < FAKE_LOW_LEN && i < (at + len) / PAGE;
	     i++)
		given[i] = true;
}

static struct virtio_device *make(void)
{
	const struct virtio_balloon_setup setup = { .amount_bytes = 8 * PAGE,
						    .deflate_on_oom = true,
						    .reporting = true,
						    .stats_seconds = 1,
						    .discard = discard };
	struct virtio_device *dev = NULL;
	struct err e = ERR_INIT;

	assert_int_equal(virtio_balloon_new(&setup, &d.mem, loop, &dev, &e), 0);
	return dev;
}

static int setup(void **state)
{
	(void)state;
	fake_driver_init(&d);
	loop = loop_new(NULL);
	assert_non_null(loop);
	fake_driver_attach(&d, make());
	memset(given, 0, sizeof(given));
	given_bytes = 0;
	calls = 0;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	fake_driver_done(&d);
	loop_free(loop);
	return 0;
}

static struct virtio_balloon_info info(void)
{
	struct virtio_balloon_info ret;

	virtio_balloon_read(d.dev, &ret);
	return ret;
}

/* The device's turns until the driver has its chain again. */
static void wait_used(uint16_t queue)
{
	uint64_t end = clock_mono_ms() + DEADLINE_MS;
	struct fake_used used;

	while (!fake_take_used(&d, queue, &used)) {
		assert_true(clock_mono_ms() < end);
		(void)loop_run_once(loop, 100);
	}
	assert_int_equal(used.len, 0);
}

static void offer_pages(const uint32_t *pfns, size_t n)
{
	uint64_t gpa = fake_alloc(&d, n * sizeof(*pfns), 4);

	memcpy(fake_ptr(&d, gpa, n * sizeof(*pfns)), pfns, n * sizeof(*pfns));
	(void)fake_add(
		&d, INFLATE,
		FAKE_PARTS({ gpa, (uint32_t)(n * sizeof(*pfns)), false }));
	fake_kick(&d, INFLATE);
}

static void test_pages_are_given_neighbours_together(void **state)
{
	/* Up, down, alone, and twice. */
	const uint32_t pfns[] = { 200, 201, 202, 213, 212, 211, 230, 230 };

	(void)state;
	fake_driver_start(&d, ~0ull);
	offer_pages(pfns, 8);
	wait_used(INFLATE);
	assert_int_equal(calls, 4);
	assert_int_equal(given_bytes, 8 * PAGE);
	assert_true(given[200] && given[202] && given[211] && given[213] &&
		    given[230]);
	assert_false(given[203] || given[210] || given[214]);
	/* What is taken back needs nothing. */
	(void)fake_add(&d, DEFLATE,
		       FAKE_PARTS({ fake_alloc(&d, 4, 4), 4, false }));
	fake_kick(&d, DEFLATE);
	wait_used(DEFLATE);
	assert_int_equal(calls, 4);
}

static void test_pages_on_both_sides_of_the_hole(void **state)
{
	uint32_t high = (uint32_t)(FAKE_HIGH_GPA / PAGE);
	const uint32_t pfns[] = { high + 1, high, LOW_PAGES - 1 };

	(void)state;
	fake_driver_start(&d, ~0ull);
	offer_pages(pfns, 3);
	wait_used(INFLATE);
	assert_int_equal(given_bytes, 3 * PAGE);
	assert_true(given[LOW_PAGES - 1]);
	assert_false(fake_needs_reset(&d));
}

static void test_pages_that_are_none_are_the_guests_error(void **state)
{
	const uint32_t bad[][2] = {
		{ LOW_PAGES - 1, LOW_PAGES }, /* over the end */
		{ UINT32_MAX, UINT32_MAX - 1 },
		{ UINT32_MAX, 0 },
		{ LOW_PAGES + 7, 1 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		fake_reset(&d);
		fake_driver_start(&d, ~0ull);
		offer_pages(bad[i], 2);
		assert_true(fake_needs_reset(&d));
	}
}

/* A chain of any length takes turns, and ends. */
static void test_long_chain_takes_turns(void **state)
{
	enum {
		N = 5000
	};
	uint32_t pfns[N];

	(void)state;
	for (uint32_t i = 0; i < N; i++)
		pfns[i] = i % 2 ? 100 : 200; /* no neighbours */
	fake_driver_start(&d, ~0ull);
	offer_pages(pfns, N);
	assert_true(calls <= 1024);
	wait_used(INFLATE);
	assert_int_equal(calls, N);
	/* The next one begins at its own beginning. */
	offer_pages(pfns, 2);
	wait_used(INFLATE);
	assert_int_equal(calls, N + 2);
}

static void test_target_is_told(void **state)
{
	uint32_t actual = 3;

	(void)state;
	fake_driver_start(&d, ~0ull);
	assert_int_equal(fake_config(&d, 0, 4), 8);
	virtio_balloon_set(d.dev, 100 * PAGE + 1);
	assert_true(fake_ack(&d) & VIRTIO_INT_CONFIG);
	assert_int_equal(fake_config(&d, 0, 4), 100);
	fake_write(&d, MMIO_CONFIG + 4, actual);
	fake_write(&d, MMIO_CONFIG, 77); /* not the driver's */
	assert_int_equal(info().actual_bytes, 3 * PAGE);
	assert_int_equal(info().target_bytes, 100 * PAGE);
}

static void put_stats(uint64_t gpa, uint64_t available)
{
	struct virtio_balloon_stat stats[] = {
		{ .tag = VIRTIO_BALLOON_S_AVAIL, .val = available },
		{ .tag = 999, .val = 1 }, /* of a newer driver */
		{ .tag = VIRTIO_BALLOON_S_MEMTOT, .val = 4096 },
	};

	memcpy(fake_ptr(&d, gpa, sizeof(stats)), stats, sizeof(stats));
	(void)fake_add(&d, STATS, FAKE_PARTS({ gpa, sizeof(stats), false }));
	fake_kick(&d, STATS);
}

static void test_numbers_are_read_at_once_and_asked_for_again(void **state)
{
	uint64_t gpa = fake_alloc(&d, 64, 1);
	struct fake_used used;

	(void)state;
	fake_driver_start(&d, ~0ull);
	put_stats(gpa, 77);
	assert_true(info().known[BALLOON_AVAILABLE]);
	assert_int_equal(info().stats[BALLOON_AVAILABLE], 77);
	assert_int_equal(info().stats[BALLOON_TOTAL], 4096);
	assert_false(info().known[BALLOON_FREE]);
	/* Kept until the next look, a second later. */
	assert_false(fake_take_used(&d, STATS, &used));
	wait_used(STATS);
	put_stats(gpa, 78);
	assert_int_equal(info().stats[BALLOON_AVAILABLE], 78);
	/* Garbage of any length is just no number. */
	(void)fake_add(&d, STATS,
		       FAKE_PARTS({ fake_alloc(&d, 70000, 1), 70000, false }));
	fake_kick(&d, STATS);
	wait_used(STATS);
	assert_false(fake_needs_reset(&d));
}

static void test_free_pages_are_given_whole_ones_only(void **state)
{
	const uint16_t queues[] = { REPORTING_NEXT, REPORTING };

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		uint64_t gpa = 0x40000 + i * 0x10000;

		fake_reset(&d);
		fake_driver_start(&d, ~0ull);
		(void)fake_add(&d, queues[i],
			       FAKE_PARTS({ gpa, 2 * PAGE, true },
					  { gpa + 0x4100, 2 * PAGE, true },
					  { gpa + 0x8001, PAGE, true }));
		fake_kick(&d, queues[i]);
		wait_used(queues[i]);
		assert_true(given[gpa / PAGE] && given[gpa / PAGE + 1] &&
			    given[gpa / PAGE + 5]);
		assert_false(given[gpa / PAGE + 4] || given[gpa / PAGE + 6] ||
			     given[gpa / PAGE + 8]);
	}
	assert_int_equal(info().reported_bytes, 6 * PAGE);
}

static void test_moves_in_the_middle_of_a_chain(void **state)
{
	enum {
		N = 3000
	};
	uint32_t pfns[N];
	struct err e = ERR_INIT;

	(void)state;
	for (uint32_t i = 0; i < N; i++)
		pfns[i] = i % 2 ? 100 : 200;
	fake_driver_start(&d, ~0ull);
	virtio_balloon_set(d.dev, 5 * PAGE);
	offer_pages(pfns, N);
	assert_true(calls < N);
	assert_int_equal(fake_move_to(&d, make(), &e), 0);
	assert_int_equal(info().target_bytes, 5 * PAGE);
	wait_used(INFLATE);
	assert_int_equal(calls, N);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_pages_are_given_neighbours_together),
		T(test_pages_on_both_sides_of_the_hole),
		T(test_pages_that_are_none_are_the_guests_error),
		T(test_long_chain_takes_turns),
		T(test_target_is_told),
		T(test_numbers_are_read_at_once_and_asked_for_again),
		T(test_free_pages_are_given_whole_ones_only),
		T(test_moves_in_the_middle_of_a_chain),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
