/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/test.h"

#include <stdbool.h>

#include "base/lookup.h"

static const struct {
	const char *id, *name;
} things[] = {
	{ "aaaaabbbb", "ccccc" },     { "aaaaacccc", "aaaaa" },
	{ "cccccdddd", "aaaaabbbb" }, /* another one's id */
	{ "ddddddddd", "ddddd" },     { "dddddeeee", NULL },
};

/* The index of what ref means; -1: nothing, -2: several. */
static int find(const char *ref, bool backwards)
{
	size_t n = sizeof(things) / sizeof(things[0]);
	struct err e = ERR_INIT;
	struct lookup l;
	const void *found;

	lookup_begin(&l, ref);
	for (size_t i = 0; i < n; i++) {
		size_t k = backwards ? n - 1 - i : i;

		lookup_offer(&l, things[k].id, things[k].name, &things[k]);
	}
	found = lookup_end(&l, "thing", "thing", &e);
	if (found)
		return (int)((const char *)found - (const char *)things) /
		       (int)sizeof(things[0]);
	if (e.kind == ERR_INVALID) {
		assert_string_equal(e.code, "ambiguous_id");
		return -2;
	}
	assert_int_equal(e.kind, ERR_NOT_FOUND);
	assert_string_equal(e.code, "thing_not_found");
	return -1;
}

static void test_lookup_takes_id_then_name_then_prefix(void **state)
{
	static const struct {
		const char *ref;
		int want;
	} cases[] = {
		{ "aaaaabbbb", 0 }, /* id before name */
		{ "cccccdddd", 2 },   { "ccccc", 0 }, /* name before prefix */
		{ "aaaaa", 1 },	      { "ddddd", 3 },
		{ "aaaaab", 0 }, /* prefix */
		{ "aaaa", -2 },	      { "dddd", -2 },
		{ "aaa", -1 }, /* too short for one */
		{ "cccccddddd", -1 }, { "", -1 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(find(cases[i].ref, false), cases[i].want);
		assert_int_equal(find(cases[i].ref, true), cases[i].want);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lookup_takes_id_then_name_then_prefix),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
