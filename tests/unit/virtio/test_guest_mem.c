/* SPDX-License-Identifier: Apache-2.0 */
/* virtio/guest_mem: the edges of regions, and lengths that wrap. */
#include "tests/unit/test.h"

#include <string.h>

#include "virtio/guest_mem.h"

static uint8_t low[64], high[64];

static const struct guest_mem mem = {
	.regions = { { 0x1000, sizeof(low), low },
		     { 0x100000000, sizeof(high), high } },
	.count = 2,
};

static void test_guest_slice_inside_gives_the_host_address(void **unused)
{
	(void)unused;
	assert_ptr_equal(guest_slice(&mem, 0x1000, 64), low);
	assert_ptr_equal(guest_slice(&mem, 0x103f, 1), low + 63);
	assert_ptr_equal(guest_slice(&mem, 0x100000001, 63), high + 1);
}

static void test_guest_slice_outside_gives_null(void **unused)
{
	(void)unused;
	assert_null(guest_slice(&mem, 0xfff, 1));
	assert_null(guest_slice(&mem, 0xfff, 2));
	assert_null(guest_slice(&mem, 0x1000, 65));
	assert_null(guest_slice(&mem, 0x103f, 2));
	assert_null(guest_slice(&mem, 0x1040, 1));
	assert_null(guest_slice(&mem, 0x1000, 0));
	/* Over both regions and the hole between them. */
	assert_null(guest_slice(&mem, 0x1000, 0x100000000));
}

static void test_guest_slice_that_wraps_gives_null(void **unused)
{
	(void)unused;
	assert_null(guest_slice(&mem, 0x1000, UINT64_MAX));
	assert_null(guest_slice(&mem, UINT64_MAX, 2));
	assert_null(guest_slice(&mem, UINT64_MAX - 10, UINT64_MAX));
	assert_null(guest_slice(&mem, 0x1010, UINT64_MAX - 0xf));
}

static void test_guest_read_and_write_copy_or_refuse(void **unused)
{
	char out[4] = "";

	(void)unused;
	assert_true(guest_write(&mem, 0x103c, "abcd", 4));
	assert_memory_equal(low + 60, "abcd", 4);
	assert_true(guest_read(&mem, 0x103c, out, 4));
	assert_memory_equal(out, "abcd", 4);
	assert_false(guest_write(&mem, 0x103d, "abcd", 4));
	assert_false(guest_read(&mem, 0x103d, out, 4));
	assert_true(guest_read(&mem, 0, out, 0));
	assert_true(guest_write(&mem, 0, out, 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			test_guest_slice_inside_gives_the_host_address),
		cmocka_unit_test(test_guest_slice_outside_gives_null),
		cmocka_unit_test(test_guest_slice_that_wraps_gives_null),
		cmocka_unit_test(test_guest_read_and_write_copy_or_refuse),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
