/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/test.h"

#include <errno.h>
#include <string.h>

#include "base/err.h"

static void test_err_set_fills_and_returns_negative(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(err_set(&e, ERR_NOT_FOUND, "image_not_found", 0,
				 "no image '%s'", "x"),
			 -ENOENT);
	assert_int_equal(e.kind, ERR_NOT_FOUND);
	assert_string_equal(e.code, "image_not_found");
	assert_string_equal(e.msg, "no image 'x'");
	assert_int_equal(err_set(NULL, ERR_TIMEOUT, "t", 0, "m"), -ETIMEDOUT);
	assert_int_equal(err_set(&e, ERR_INVALID, "t", E2BIG, "m"), -E2BIG);
}

static void test_err_sys_maps_errno_to_kind(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(err_sys(&e, ENOSPC, "write disk"), -ENOSPC);
	assert_int_equal(e.kind, ERR_NO_SPACE);
	assert_string_equal(e.code, "disk_full");
	assert_non_null(strstr(e.msg, "write disk: No space left"));
	assert_int_equal(err_sys(&e, EXFULL, "odd"), -EXFULL);
	assert_int_equal(e.kind, ERR_INTERNAL);
}

static void test_err_wrap_puts_context_first_and_stays_bounded(void **state)
{
	struct err e = ERR_INIT;
	char big[1000];

	(void)state;
	(void)err_set(&e, ERR_INVALID, "c", 0, "inner");
	assert_int_equal(err_wrap(&e, -5, "outer %d", 1), -5);
	assert_string_equal(e.msg, "outer 1: inner");
	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	(void)err_set(&e, ERR_INVALID, "c", 0, "%s", big);
	(void)err_wrap(&e, -1, "%s", big);
	assert_true(strlen(e.msg) < sizeof(e.msg));
}

static void test_err_kind_names_round_trip(void **state)
{
	(void)state;
	for (unsigned k = 1; k < ERR_KIND_COUNT; k++)
		assert_int_equal(
			err_kind_from_name(err_kind_name((enum err_kind)k)), k);
	assert_int_equal(err_kind_from_name("nobody"), ERR_INTERNAL);
	assert_int_equal(err_kind_from_name(NULL), ERR_INTERNAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_err_set_fills_and_returns_negative),
		cmocka_unit_test(test_err_sys_maps_errno_to_kind),
		cmocka_unit_test(
			test_err_wrap_puts_context_first_and_stays_bounded),
		cmocka_unit_test(test_err_kind_names_round_trip),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
