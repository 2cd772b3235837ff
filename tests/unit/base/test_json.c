/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/test.h"

#include <string.h>

#include "base/json.h"

static int parse(const char *text, json_t **ret, struct err *e)
{
	return json_parse_strict(text, strlen(text), "test", ret, e);
}

static void test_json_refuses_malformed_duplicate_and_deep(void **state)
{
	char deep[200];
	struct err e = ERR_INIT;
	json_t *j = NULL;

	(void)state;
	assert_true(parse("{\"a\":1,\"a\":2}", &j, &e) < 0);
	assert_string_equal(e.code, "json_invalid");
	assert_true(parse("{\"a\":1} x", &j, &e) < 0);
	assert_true(parse("", &j, &e) < 0);
	assert_true(parse("{\"a\":\"\xff\"}", &j, &e) < 0);
	memset(deep, '[', 100);
	memset(deep + 100, ']', 99);
	deep[199] = '\0';
	assert_true(parse(deep, &j, &e) < 0);
	assert_string_equal(e.code, "json_too_deep");
	assert_int_equal(parse("{\"s\":\"[[[[[[\\\"[[[[\"}", &j, &e), 0);
	json_decref(j);
}

static void test_json_getters_check_type_range_and_presence(void **state)
{
	struct err e = ERR_INIT;
	json_t *j = NULL;
	uint64_t n = 5;
	bool b = false;
	const char *s = NULL;
	const json_t *sub = NULL;

	(void)state;
	assert_int_equal(parse("{\"n\":7,\"neg\":-1,\"r\":1.5,\"s\":\"abc\","
			       "\"b\":true,\"nil\":null,\"a\":[1,2]}",
			       &j, &e),
			 0);
	assert_int_equal(json_get_u64(j, "t", "n", true, 0, 10, &n, &e), 0);
	assert_int_equal(n, 7);
	assert_true(json_get_u64(j, "t", "n", true, 8, 10, &n, &e) < 0);
	assert_string_equal(e.code, "out_of_range");
	assert_true(json_get_u64(j, "t", "neg", true, 0, 10, &n, &e) < 0);
	assert_true(json_get_u64(j, "t", "r", true, 0, 10, &n, &e) < 0);
	assert_string_equal(e.code, "wrong_type");
	assert_true(json_get_u64(j, "t", "gone", true, 0, 1, &n, &e) < 0);
	assert_string_equal(e.code, "missing_field");
	n = 5;
	assert_int_equal(json_get_u64(j, "t", "nil", false, 0, 1, &n, &e), 0);
	assert_int_equal(n, 5);
	assert_int_equal(json_get_bool(j, "t", "b", true, &b, &e), 0);
	assert_true(b);
	assert_int_equal(json_get_string(j, "t", "s", true, 3, &s, &e), 0);
	assert_string_equal(s, "abc");
	assert_true(json_get_string(j, "t", "s", true, 2, &s, &e) < 0);
	assert_true(json_get_array(j, "t", "a", true, 1, &sub, &e) < 0);
	assert_int_equal(json_get_array(j, "t", "a", true, 2, &sub, &e), 0);
	assert_true(json_get_object(j, "t", "a", true, &sub, &e) < 0);
	json_decref(j);
}

static void test_json_only_fields_names_the_stranger(void **state)
{
	static const char *const allowed[] = { "a", "b", NULL };
	struct err e = ERR_INIT;
	json_t *j = NULL;

	(void)state;
	assert_int_equal(parse("{\"a\":1,\"b\":2}", &j, &e), 0);
	assert_int_equal(json_only_fields(j, "cfg", allowed, &e), 0);
	json_decref(j);
	assert_int_equal(parse("{\"a\":1,\"zz\":2}", &j, &e), 0);
	assert_true(json_only_fields(j, "cfg", allowed, &e) < 0);
	assert_non_null(strstr(e.msg, "zz"));
	json_decref(j);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			test_json_refuses_malformed_duplicate_and_deep),
		cmocka_unit_test(
			test_json_getters_check_type_range_and_presence),
		cmocka_unit_test(test_json_only_fields_names_the_stranger),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
