/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/test.h"

#include <string.h>

#include "api/problem.h"
#include "api/schema.h"
#include "api/validate.h"
#include "base/cleanup.h"
#include "base/json.h"

static void test_problem_round_trip_of_every_kind(void **state)
{
	(void)state;
	for (unsigned k = ERR_NONE + 1; k < ERR_KIND_COUNT; k++) {
		struct err in = ERR_INIT, out = ERR_INIT, e = ERR_INIT;
		AUTO(json) json_t *problem = NULL;

		(void)err_set(&in, (enum err_kind)k, "some_code", 0, "why %u",
			      k);
		problem = api_problem_new(&in, NULL);
		assert_non_null(problem);
		assert_int_equal(api_validate(&api_problem, problem, &e), 0);
		assert_true(api_problem_to_err(problem, 0, &out) < 0);
		assert_int_equal(out.kind, in.kind);
		assert_string_equal(out.code, in.code);
		assert_string_equal(out.msg, in.msg);
		assert_true(api_problem_status(&in) >= 400);
	}
}

static void test_problem_status_of_codes(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	(void)err_set(&e, ERR_TIMEOUT, "wait_timeout", 0, "x");
	assert_int_equal(api_problem_status(&e), 408);
	(void)err_set(&e, ERR_TIMEOUT, "guest_not_ready", 0, "x");
	assert_int_equal(api_problem_status(&e), 504);
	(void)err_set(&e, ERR_UNSUPPORTED, "method_not_allowed", 0, "x");
	assert_int_equal(api_problem_status(&e), 405);
	(void)err_set(&e, ERR_NO_SPACE, "disk_full", 0, "x");
	assert_int_equal(api_problem_status(&e), 507);
}

/* Console lines of a guest end up in messages. */
static void test_problem_text_that_is_no_utf8(void **state)
{
	struct err e = ERR_INIT, out = ERR_INIT;
	AUTO(json) json_t *problem = NULL;

	(void)state;
	(void)err_set(&e, ERR_TIMEOUT, "guest_not_ready", 0, "a\xff\xfe\x1b z");
	problem = api_problem_new(&e, NULL);
	assert_non_null(problem);
	(void)api_problem_to_err(problem, 0, &out);
	assert_string_equal(out.msg, "a??\x1b z");
}

static void test_problem_keeps_rejections(void **state)
{
	AUTO(json) json_t *list = json_pack("[s,s]", "one", "two");
	AUTO(json) json_t *problem = NULL;
	struct err e = ERR_INIT;

	(void)state;
	(void)err_set(&e, ERR_LIMIT, "no_memory", 0, "x");
	problem = api_problem_new(&e, list);
	assert_true(json_equal(json_object_get(problem, "rejections"), list));
	assert_true(json_is_true(json_object_get(problem, "retryable")));
}

static void test_problem_keeps_what_it_is_about(void **state)
{
	struct err e = ERR_INIT, out = ERR_INIT, valid = ERR_INIT;
	AUTO(json) json_t *problem = NULL;
	int rc = err_set(&e, ERR_LIMIT, "no_memory", 0, "x");

	(void)state;
	(void)err_field(&e, rc, "memory_bytes");
	(void)err_field(&e, rc, "body"); /* the innermost stays */
	(void)err_subject(&e, rc, "we\xff", "web");
	(void)err_amounts(&e, rc, 4096, ERR_UNKNOWN, 0);
	problem = api_problem_new(&e, NULL);
	assert_int_equal(api_validate(&api_problem, problem, &valid), 0);
	assert_null(json_object_get(problem, "limit"));
	assert_true(api_problem_to_err(problem, 0, &out) < 0);
	assert_string_equal(out.field, "memory_bytes");
	assert_string_equal(out.subject, "we?");
	assert_string_equal(out.suggestion, "web");
	assert_true(out.amounts);
	assert_true(out.asked == 4096 && out.limit == ERR_UNKNOWN &&
		    out.available == 0);
	/* The next error knows nothing of this one. */
	(void)err_set(&e, ERR_LIMIT, "no_memory", 0, "x");
	json_decref(problem);
	problem = api_problem_new(&e, NULL);
	assert_null(json_object_get(problem, "field"));
	assert_null(json_object_get(problem, "available"));
}

static void test_problem_from_hostile_peer(void **state)
{
	static const char long_code[] =
		"{\"code\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\","
		"\"detail\":\"x\"}";
	static const char *const texts[] = {
		"{}",
		"[]",
		"7",
		"{\"code\":7,\"detail\":\"x\"}",
		"{\"code\":\"Bad Code\",\"detail\":\"x\"}",
		"{\"code\":\"ok\",\"detail\":\"\"}",
		long_code,
	};
	struct err e = ERR_INIT;

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		AUTO(json)
		json_t *j = json_loads(texts[i], JSON_DECODE_ANY, NULL);

		assert_true(api_problem_to_err(j, 500, &e) < 0);
		assert_string_equal(e.code, "bad_problem");
	}
	assert_true(api_problem_to_err(NULL, 404, &e) < 0);
	assert_string_equal(e.code, "bad_problem");
}

static void test_problem_kind_by_status_when_unnamed(void **state)
{
	AUTO(json)
	json_t *j =
		json_pack("{s:s, s:s}", "code", "vm_not_found", "detail", "x");
	struct err e = ERR_INIT;

	(void)state;
	assert_true(api_problem_to_err(j, 404, &e) < 0);
	assert_int_equal(e.kind, ERR_NOT_FOUND);
	assert_true(api_problem_to_err(j, 599, &e) < 0);
	assert_int_equal(e.kind, ERR_INTERNAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_problem_round_trip_of_every_kind),
		cmocka_unit_test(test_problem_status_of_codes),
		cmocka_unit_test(test_problem_text_that_is_no_utf8),
		cmocka_unit_test(test_problem_keeps_rejections),
		cmocka_unit_test(test_problem_keeps_what_it_is_about),
		cmocka_unit_test(test_problem_from_hostile_peer),
		cmocka_unit_test(test_problem_kind_by_status_when_unnamed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
