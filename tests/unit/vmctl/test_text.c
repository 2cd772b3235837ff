/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/test.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "vmctl/text.h"

static void check_safe(const char *text, int lines, const char *want)
{
	AUTO(free) char *got = NULL;
	size_t len;
	FILE *f = open_memstream(&got, &len);

	assert_non_null(f);
	print_safe(f, text, lines);
	(void)fclose(f);
	assert_string_equal(got, want);
}

static void test_print_safe_drops_control_characters(void **state)
{
	(void)state;
	check_safe("a\x1b[31mb", 0, "a?[31mb");
	check_safe("a\nb", 0, "a?b");
	check_safe("a\nb\tc", 1, "a\nb\tc");
	check_safe("x\xc2\x9b"
		   "31m",
		   1, "x?31m");
	check_safe("gr\xc3\xbc\xc3\x9f", 0, "gr\xc3\xbc\xc3\x9f");
	check_safe("end\xc2", 0, "end\xc2");
	check_safe("\x7f\r", 0, "? ");
}

static void test_format_age_units(void **state)
{
	static const struct {
		int64_t seconds;
		const char *want;
	} rows[] = { { 0, "0s" },      { 1, "1s" },	 { 119, "119s" },
		     { 120, "2m" },    { 7199, "119m" }, { 7200, "2h" },
		     { 200000, "2d" }, { -50, "0s" } };
	int64_t then = parse_rfc3339_ms("2026-01-02T03:04:05.678Z");
	char out[24];

	(void)state;
	assert_int_equal(then, INT64_C(1767323045000));
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_string_equal(format_age("2026-01-02T03:04:05.678Z",
					       then + rows[i].seconds * 1000,
					       out),
				    rows[i].want);
	assert_string_equal(format_age("yesterday", then, out), "-");
	assert_string_equal(format_age("", then, out), "-");
}

static void test_print_table_aligns(void **state)
{
	static const char *const cells[] = {
		"NAME", "X", "gr\xc3\xbc\xc3\x9f\x65", "yy", "a", "z"
	};
	AUTO(free) char *got = NULL;
	size_t len;
	FILE *f = open_memstream(&got, &len);

	(void)state;
	assert_non_null(f);
	print_table(f, cells, 3, 2);
	(void)fclose(f);
	assert_string_equal(got, "NAME   X\n"
				 "gr\xc3\xbc\xc3\x9f\x65  yy\n"
				 "a      z\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_print_safe_drops_control_characters),
		cmocka_unit_test(test_format_age_units),
		cmocka_unit_test(test_print_table_aligns),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
