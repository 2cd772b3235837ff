/* SPDX-License-Identifier: Apache-2.0 */
/* agent/user.c: the forms of a user, read from this machine's files. */
#include <string.h>
#include <unistd.h>

#include "agent/agent.h"
#include "tests/unit/test.h"

static struct user u;

static void test_user_empty_is_own(void **state)
{
	(void)state;
	assert_true(user_find("", &u));
	assert_int_equal(u.uid, geteuid());
}

static void test_user_by_name_found(void **state)
{
	(void)state;
	assert_true(user_find("root", &u));
	assert_int_equal(u.uid, 0);
	assert_int_equal(u.gid, 0);
	assert_string_equal(u.name, "root");
	assert_string_equal(u.home, "/root");
	assert_true(u.group_count >= 1);
}

static void test_user_numbers_need_no_entry(void **state)
{
	(void)state;
	assert_true(user_find("64123", &u));
	assert_int_equal(u.uid, 64123);
	assert_string_equal(u.home, "/");
	assert_true(user_find("0:64123", &u));
	assert_int_equal(u.uid, 0);
	assert_int_equal(u.gid, 64123);
	assert_int_equal(u.groups[0], 64123);
}

static void test_user_unknown_or_malformed_refused(void **state)
{
	static const char *const bad[] = {
		"no-such-user", "0:",	      "0:x",	    ":",
		"-1",		"4294967295", "root:root:1"
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(user_find(bad[i], &u));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_user_empty_is_own),
		cmocka_unit_test(test_user_by_name_found),
		cmocka_unit_test(test_user_numbers_need_no_entry),
		cmocka_unit_test(test_user_unknown_or_malformed_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
