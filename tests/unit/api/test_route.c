/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/test.h"

#include <stdio.h>
#include <string.h>

#include "api/route.h"

/* Every row is found by its own method and path. */
static void test_match_every_route(void **state)
{
	(void)state;
	for (size_t i = 0; i < API_ROUTE_COUNT; i++) {
		const struct api_route *r = &api_routes[i], *found = NULL;
		const char *brace = strchr(r->path, '{');
		struct err e = ERR_INIT;
		struct api_params params;
		char path[128], allow[64];

		if (brace)
			(void)snprintf(path, sizeof(path), "%.*sthe.one%s",
				       (int)(brace - r->path), r->path,
				       strchr(brace, '}') + 1);
		else
			(void)snprintf(path, sizeof(path), "%s", r->path);
		assert_int_equal(api_route_match(r->method, path, &found,
						 &params, allow, &e),
				 0);
		assert_ptr_equal(found, r);
		assert_string_equal(params.value, brace ? "the.one" : "");
	}
}

static void check_refused(const char *method, const char *path,
			  const char *code)
{
	const struct api_route *found = NULL;
	struct err e = ERR_INIT;
	struct api_params params;
	char allow[64];

	assert_true(api_route_match(method, path, &found, &params, allow, &e) <
		    0);
	assert_string_equal(e.code, code);
	assert_null(found);
	if (strcmp(code, "method_not_allowed") == 0)
		assert_true(allow[0]);
}

static void test_match_refusals(void **state)
{
	char longest[400];

	(void)state;
	check_refused("GET", "/", "route_unknown");
	check_refused("GET", "", "route_unknown");
	check_refused("GET", "/v1/vms/", "route_unknown");
	check_refused("GET", "/v1/vms//start", "route_unknown");
	check_refused("GET", "/v2/vms", "route_unknown");
	check_refused("PATCH", "/v1/vms", "method_not_allowed");
	check_refused("get", "/v1/vms", "method_not_allowed");
	check_refused("GET", "/v1/vms/a/start", "method_not_allowed");
	check_refused("GET", "/v1/vms/..", "bad_path");
	check_refused("GET", "/v1/vms/%2e%2e", "bad_path");
	check_refused("GET", "/v1/vms/a%2fb", "bad_path");
	check_refused("GET", "/v1/vms/a%00b", "bad_path");
	check_refused("GET", "/v1/vms/a%zz", "bad_path");
	check_refused("GET", "/v1/vms/a%2", "bad_path");
	check_refused("GET", "/v1/vms/a b", "bad_path");
	memset(longest, 'a', sizeof(longest));
	memcpy(longest, "/v1/vms/", 8);
	longest[sizeof(longest) - 1] = '\0';
	check_refused("GET", longest, "bad_path");
}

static void test_match_lists_methods(void **state)
{
	const struct api_route *found = NULL;
	struct api_params params;
	char allow[64];

	(void)state;
	(void)api_route_match("PATCH", "/v1/vms/x", &found, &params, allow,
			      NULL);
	assert_string_equal(allow, "GET, HEAD, DELETE");
}

static void test_percent_decode(void **state)
{
	char out[8];

	(void)state;
	assert_true(api_percent_decode("a%20b", 5, out, sizeof(out)));
	assert_string_equal(out, "a b");
	assert_true(api_percent_decode("%41", 3, out, sizeof(out)));
	assert_string_equal(out, "A");
	assert_true(api_percent_decode("1234567", 7, out, sizeof(out)));
	assert_false(api_percent_decode("12345678", 8, out, sizeof(out)));
	assert_false(api_percent_decode("%4", 2, out, sizeof(out)));
	assert_false(api_percent_decode("%", 1, out, sizeof(out)));
	assert_false(api_percent_decode("%00", 3, out, sizeof(out)));
	assert_false(api_percent_decode("", 0, out, 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_match_every_route),
		cmocka_unit_test(test_match_refusals),
		cmocka_unit_test(test_match_lists_methods),
		cmocka_unit_test(test_percent_decode),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
