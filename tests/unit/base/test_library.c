/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/test.h"

#include <errno.h>
#include <string.h>

#include "base/library.h"

static const char *const absent[] = { "libvmd-no-such-library.so.9", NULL };
static const char *const second[] = { "libvmd-no-such-library.so.9",
				      "libm.so.6", NULL };

static void test_library_load_absent_names_the_package(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(library_load(absent, NULL, 0, "libvmd9", &e), -ENOENT);
	assert_string_equal(e.code, "library_missing");
	assert_int_equal(e.kind, ERR_UNAVAILABLE);
	assert_non_null(strstr(e.msg, "libvmd-no-such-library.so.9"));
	assert_non_null(strstr(e.msg, "install the package libvmd9"));
}

static void test_library_load_second_name_fills_the_slots(void **state)
{
	double (*cube_root)(double) = NULL;
	struct library_function functions[] = { { "cbrt", &cube_root } };
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(library_load(second, functions, 1, "libc6", &e), 0);
	assert_non_null(cube_root);
	assert_true(cube_root(27.0) > 2.999 && cube_root(27.0) < 3.001);
}

static void test_library_load_missing_function_sets_no_slot(void **state)
{
	double (*cube_root)(double) = NULL;
	void (*other)(void) = NULL;
	struct library_function functions[] = {
		{ "cbrt", &cube_root }, { "vmd_no_such_function", &other }
	};
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(library_load(second, functions, 2, "libc6", &e),
			 -ENOENT);
	assert_string_equal(e.code, "library_missing");
	assert_non_null(strstr(e.msg, "vmd_no_such_function"));
	assert_null(cube_root);
	assert_null(other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_library_load_absent_names_the_package),
		cmocka_unit_test(test_library_load_second_name_fills_the_slots),
		cmocka_unit_test(
			test_library_load_missing_function_sets_no_slot),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
