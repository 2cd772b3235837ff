/* SPDX-License-Identifier: Apache-2.0 */
/* virtio/rng. */
#include "tests/unit/test.h"

#include <string.h>

#include "fake_driver.h"
#include "virtio/rng.h"

static struct fake_driver d;
static struct loop *loop;

static struct virtio_device *make(void)
{
	struct virtio_device *dev = NULL;
	struct err e = ERR_INIT;

	assert_int_equal(virtio_rng_new(&d.mem, loop, &dev, &e), 0);
	return dev;
}

static int setup(void **state)
{
	(void)state;
	fake_driver_init(&d);
	loop = loop_new(NULL);
	assert_non_null(loop);
	fake_driver_attach(&d, make());
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	fake_driver_done(&d);
	loop_free(loop);
	return 0;
}

/* The chance that 32 random bytes are all zero is not worth a thought. */
static bool filled(uint64_t gpa, size_t len)
{
	static const uint8_t zero[32];

	return memcmp(fake_ptr(&d, gpa, len), zero, len) != 0;
}

static void test_rng_fills_buffers(void **state)
{
	uint64_t gpa = fake_alloc(&d, 128, 1);
	struct fake_used used;

	(void)state;
	fake_driver_start(&d, ~0ull);
	(void)fake_add(&d, 0,
		       FAKE_PARTS({ gpa, 32, true }, { gpa + 64, 32, true }));
	fake_kick(&d, 0);
	assert_true(fake_take_used(&d, 0, &used));
	assert_int_equal(used.len, 64);
	assert_true(filled(gpa, 32));
	assert_false(filled(gpa + 32, 32));
	assert_true(filled(gpa + 64, 32));
	assert_false(filled(gpa + 96, 32));
	assert_int_equal(fake_ack(&d), VIRTIO_INT_USED);
}

static void test_rng_answers_large_and_empty_requests_in_part(void **state)
{
	uint64_t gpa = fake_alloc(&d, 65536, 1);
	struct fake_used used;

	(void)state;
	fake_driver_start(&d, ~0ull);
	(void)fake_add(&d, 0, FAKE_PARTS({ gpa, 65536, true }));
	(void)fake_add(&d, 0, FAKE_PARTS({ gpa, 64, false }));
	(void)fake_add(&d, 0, FAKE_PARTS({ gpa, 0, true }));
	fake_kick(&d, 0);
	assert_true(fake_take_used(&d, 0, &used));
	assert_int_equal(used.len, 4096);
	assert_true(fake_take_used(&d, 0, &used));
	assert_int_equal(used.len, 0);
	assert_true(fake_take_used(&d, 0, &used));
	assert_int_equal(used.len, 0);
	assert_false(fake_needs_reset(&d));
}

static void test_rng_moved_before_its_kick_answers_after(void **state)
{
	uint64_t gpa = fake_alloc(&d, 32, 1);
	struct fake_used used;
	struct err e = ERR_INIT;

	(void)state;
	fake_driver_start(&d, ~0ull);
	(void)fake_add(&d, 0, FAKE_PARTS({ gpa, 32, true }));
	/* The kick is lost between the guest and the saved state. */
	assert_int_equal(fake_move_to(&d, make(), &e), 0);
	assert_true(fake_take_used(&d, 0, &used));
	assert_int_equal(used.len, 32);
	assert_true(d.irq);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_rng_fills_buffers),
		T(test_rng_answers_large_and_empty_requests_in_part),
		T(test_rng_moved_before_its_kick_answers_after),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
