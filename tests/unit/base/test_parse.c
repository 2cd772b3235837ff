/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/test.h"

#include <string.h>

#include "base/checked.h"
#include "base/clock.h"
#include "base/parse.h"

static void test_parse_u64_accepts_whole_numbers_in_range_only(void **state)
{
	static const char *const bad[] = { "",	  "-1",
					   "+1",  " 1",
					   "1 ",  "0x1",
					   "1.5", "18446744073709551616",
					   "9",	  "101" };
	uint64_t v = 7;

	(void)state;
	assert_int_equal(parse_u64("10", 10, 100, "n", &v, NULL), 0);
	assert_int_equal(v, 10);
	assert_int_equal(parse_u64("18446744073709551615", 0, UINT64_MAX, "n",
				   &v, NULL),
			 0);
	assert_true(v == UINT64_MAX);
	v = 7;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_true(parse_u64(bad[i], 10, 100, "n", &v, NULL) < 0);
	assert_int_equal(v, 7);
}

static void test_parse_size_knows_binary_units(void **state)
{
	uint64_t v = 0;

	(void)state;
	assert_int_equal(parse_size("512M", "s", &v, NULL), 0);
	assert_int_equal(v, 512ull << 20);
	assert_int_equal(parse_size("2GiB", "s", &v, NULL), 0);
	assert_int_equal(v, 2ull << 30);
	assert_int_equal(parse_size("4096", "s", &v, NULL), 0);
	assert_int_equal(v, 4096);
	assert_true(parse_size("16777217T", "s", &v, NULL) < 0);
	assert_true(parse_size("5X", "s", &v, NULL) < 0);
	assert_true(parse_size("M", "s", &v, NULL) < 0);
}

static void test_parse_duration_plain_number_is_seconds(void **state)
{
	uint64_t v = 0;

	(void)state;
	assert_int_equal(parse_duration_ms("90", "d", &v, NULL), 0);
	assert_int_equal(v, 90000);
	assert_int_equal(parse_duration_ms("250ms", "d", &v, NULL), 0);
	assert_int_equal(v, 250);
	assert_int_equal(parse_duration_ms("2h", "d", &v, NULL), 0);
	assert_int_equal(v, 7200000);
	assert_int_equal(parse_duration_ms("1h30M5s10ms", "d", &v, NULL), 0);
	assert_int_equal(v, 5405010);
}

static void test_parse_duration_refuses(void **state)
{
	static const char *const bad[] = {
		"",
		"1w",
		"s",
		"-1s",
		"1.5h",
		"1h30",
		"1h x",
		"30m ",
		"1h-1",
		"1 h",
		"18446744073709551616",
		"18446744073709551615s",
		"18446744073709551615ms1ms",
	};
	uint64_t v = 7;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		assert_true(parse_duration_ms(bad[i], "d", &v, NULL) < 0);
		assert_int_equal(v, 7);
	}
}

static void test_parse_mac_refuses_multicast_null_and_garbage(void **state)
{
	static const char *const bad[] = {
		"01:00:00:00:00:01", "00:00:00:00:00:00",
		"02:00:00:00:00",    "",
		"02-00-00-00-00-01", "02:00:00:00:00:0g",
		"02:00:00:00:00:011"
	};
	uint8_t mac[6];

	(void)state;
	assert_int_equal(parse_mac("02:aB:00:00:00:01", mac, NULL), 0);
	assert_int_equal(mac[1], 0xab);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_true(parse_mac(bad[i], mac, NULL) < 0);
}

static void test_parse_name_ok_is_safe_for_paths(void **state)
{
	char longest[65];

	(void)state;
	assert_true(parse_name_ok("debian-12.x_y"));
	assert_false(parse_name_ok(""));
	assert_false(parse_name_ok("."));
	assert_false(parse_name_ok("../x"));
	assert_false(parse_name_ok("a/b"));
	assert_false(parse_name_ok("-x"));
	assert_false(parse_name_ok("Abc"));
	memset(longest, 'a', 64);
	longest[64] = '\0';
	assert_false(parse_name_ok(longest));
	longest[63] = '\0';
	assert_true(parse_name_ok(longest));
}

static void test_checked_arithmetic_reports_overflow(void **state)
{
	uint64_t v = 0;

	(void)state;
	assert_false(checked_add(UINT64_MAX, 1, &v));
	assert_false(checked_mul(UINT64_MAX, 2, &v));
	assert_false(checked_align_up(UINT64_MAX, 4096, &v));
	assert_true(checked_align_up(4097, 4096, &v));
	assert_int_equal(v, 8192);
	assert_true(range_fits(10, 0, 10));
	assert_false(range_fits(11, 0, 10));
	assert_false(range_fits(1, UINT64_MAX, 10));
}

static void test_format_rfc3339_and_size(void **state)
{
	char when[32], size[24];

	(void)state;
	assert_string_equal(clock_format_rfc3339(1700000000123, when),
			    "2023-11-14T22:13:20.123Z");
	assert_string_equal(clock_format_rfc3339(-1, when),
			    "1969-12-31T23:59:59.999Z");
	assert_string_equal(format_size(512ull << 20, size), "512 MiB");
	assert_string_equal(format_size(1536, size), "1.5 KiB");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			test_parse_u64_accepts_whole_numbers_in_range_only),
		cmocka_unit_test(test_parse_size_knows_binary_units),
		cmocka_unit_test(test_parse_duration_plain_number_is_seconds),
		cmocka_unit_test(test_parse_duration_refuses),
		cmocka_unit_test(
			test_parse_mac_refuses_multicast_null_and_garbage),
		cmocka_unit_test(test_parse_name_ok_is_safe_for_paths),
		cmocka_unit_test(test_checked_arithmetic_reports_overflow),
		cmocka_unit_test(test_format_rfc3339_and_size),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
