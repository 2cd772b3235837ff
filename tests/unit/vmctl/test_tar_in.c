/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/test.h"

#include <string.h>

#include "vmctl/tar_in.h"

static void test_path_below_the_top(void **state)
{
	char top[256] = "", out[64];

	(void)state;
	assert_true(tar_in_path("./tree/", top, "new", out, sizeof(out)));
	assert_string_equal(out, "new/");
	assert_string_equal(top, "tree");
	assert_true(tar_in_path("tree/a/b", top, "new", out, sizeof(out)));
	assert_string_equal(out, "new/a/b");
	assert_true(tar_in_path("tree/..a/b..", top, "new", out, sizeof(out)));
	assert_true(tar_in_path("tree", top, "new", out, sizeof(out)));
	assert_string_equal(out, "new");
}

static void test_path_outside_is_refused(void **state)
{
	static const char *const bad[] = {
		"",	     "/",	  "/tree/a",
		"..",	     "../tree",	  "tree/..",
		"tree/../x", "tree/./a",  "tree//a",
		"other",     "tre",	  "trees",
		".",	     "./",	  "./..",
		"./../x",    "tree/a/..", "tree/a/../../b",
	};
	char out[64];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char top[256] = "tree";

		assert_false(tar_in_path(bad[i], top, "new", out, sizeof(out)));
	}
}

static void test_path_too_long_is_refused(void **state)
{
	char top[256] = "", out[16], path[600];

	(void)state;
	memset(path, 'a', sizeof(path));
	path[sizeof(path) - 1] = '\0';
	assert_false(tar_in_path(path, top, "new", out, sizeof(out)));
	assert_false(tar_in_path("tree/0123456789abcdef", top, "new", out,
				 sizeof(out)));
}

static void test_first_is_directory_of_garbage(void **state)
{
	char block[1024] = "not a tar header";

	(void)state;
	assert_int_equal(tar_first_is_directory(block, 16), -1);
	assert_int_equal(tar_first_is_directory(block, sizeof(block)), -1);
	assert_int_equal(tar_first_is_directory("", 0), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_path_below_the_top),
		cmocka_unit_test(test_path_outside_is_refused),
		cmocka_unit_test(test_path_too_long_is_refused),
		cmocka_unit_test(test_first_is_directory_of_garbage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
