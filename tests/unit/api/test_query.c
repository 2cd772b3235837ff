/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/test.h"

#include <stdlib.h>
#include <string.h>

#include "api/route.h"
#include "base/cleanup.h"
#include "base/json.h"

/* want starting with '{': the parsed query; else: the code of the refusal. */
static void check(enum api_route_id id, const char *text, const char *want)
{
	AUTO(json) json_t *query = NULL;
	AUTO(free) char *got = NULL;
	struct err e = ERR_INIT;
	int rc = api_query_parse(&api_routes[id], text, &query, &e);

	if (want[0] != '{') {
		assert_true(rc < 0);
		assert_null(query);
		assert_string_equal(e.code, want);
		assert_int_equal(e.kind, ERR_INVALID);
		return;
	}
	assert_int_equal(rc, 0);
	got = json_dumps(query, JSON_COMPACT | JSON_SORT_KEYS);
	assert_string_equal(got, want);
}

static void test_query_defaults_and_types(void **state)
{
	(void)state;
	check(API_GET_VMS, NULL, "{\"limit\":100}");
	check(API_GET_VMS, "", "{\"limit\":100}");
	check(API_GET_VMS, "label=a%3Db+c&label=d=e&state=ready&limit=5",
	      "{\"label\":[\"a=b c\",\"d=e\"],\"limit\":5,"
	      "\"state\":\"ready\"}");
	check(API_DELETE_VM, "force", "{\"force\":true,\"wait\":0}");
	check(API_DELETE_VM, "force=true&wait=5",
	      "{\"force\":true,\"wait\":5}");
	check(API_DELETE_VM, "force=0&", "{\"force\":false,\"wait\":0}");
	check(API_GET_FILES, "path=/a%20b", "{\"path\":\"/a b\"}");
	check(API_GET_VERSION, "", "{}");
}

static void test_query_refusals(void **state)
{
	(void)state;
	check(API_GET_VMS, "nope=1", "unknown_parameter");
	check(API_GET_VERSION, "x", "unknown_parameter");
	check(API_GET_VMS, "limit=1&limit=2", "duplicate_parameter");
	check(API_GET_VMS, "limit=0", "out_of_range");
	check(API_GET_VMS, "limit=1001", "out_of_range");
	check(API_GET_VMS, "state=up", "bad_value");
	check(API_GET_VMS, "label=novalue", "bad_value");
	check(API_GET_VMS, "label=%ff=x", "bad_value");
	check(API_GET_VMS, "label=%zz", "bad_query");
	check(API_GET_VMS, "label=%00", "bad_query");
	check(API_DELETE_VM, "force=maybe", "wrong_type");
	check(API_WAIT_VM, "", "missing_field");
	check(API_WAIT_VM, "state=ready&timeout=999999", "out_of_range");
	check(API_GET_FILES, "path=relative", "bad_value");
}

static void test_query_array_has_a_limit(void **state)
{
	char text[17 * 10 + 1] = "";

	(void)state;
	for (int i = 0; i < 17; i++)
		strcat(text, "label=a=b&");
	check(API_GET_VMS, text, "out_of_range");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_query_defaults_and_types),
		cmocka_unit_test(test_query_refusals),
		cmocka_unit_test(test_query_array_has_a_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
