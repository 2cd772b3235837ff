/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/test.h"

#include "base/suggest.h"

static void test_edit_distance_counts_slips(void **state)
{
	(void)state;
	assert_int_equal(edit_distance("stop", "stop"), 0);
	assert_int_equal(edit_distance("sotp", "stop"), 1);
	assert_int_equal(edit_distance("sto", "stop"), 1);
	assert_int_equal(edit_distance("", "stop"), 4);
	assert_int_equal(
		edit_distance("0123456789012345678901234567890123456789", "a"),
		255);
}

static void test_suggest_near_or_nothing(void **state)
{
	static const char *const words[] = { "stop", "start", "ls", "console",
					     NULL };

	(void)state;
	assert_string_equal(suggest("strat", words), "start");
	assert_string_equal(suggest("consle", words), "console");
	assert_null(suggest("elephant", words));
	assert_null(suggest("xx", words));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_edit_distance_counts_slips),
		cmocka_unit_test(test_suggest_near_or_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
