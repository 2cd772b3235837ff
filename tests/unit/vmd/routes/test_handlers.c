/* SPDX-License-Identifier: Apache-2.0 */
/* Lists, the host and images through the API. */
#include "tests/unit/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rig.h"

static void test_lists(void **state)
{
	struct rig *r = *state;
	struct answer a;
	char path[160];

	for (int i = 0; i < 5; i++) {
		free(rig_create(r, "\"start\":false,\"labels\":{\"a\":\"b\"}",
				&a));
		answer_done(&a);
	}
	rig_call(r, "GET", "/v1/vms?limit=3&label=a%3Db", "", NULL, &a);
	assert_int_equal(json_array_size(json_object_get(a.json, "items")), 3);
	(void)snprintf(path, sizeof(path), "/v1/vms?limit=3&cursor=%s",
		       answer_text(&a, "next_cursor"));
	answer_done(&a);
	rig_call(r, "GET", path, "", NULL, &a);
	assert_int_equal(json_array_size(json_object_get(a.json, "items")), 2);
	assert_string_equal(answer_text(&a, "next_cursor"), "null");
	answer_done(&a);
	rig_call(r, "GET", "/v1/vms?label=a%3Dc", "", NULL, &a);
	assert_int_equal(json_array_size(json_object_get(a.json, "items")), 0);
	answer_done(&a);
	rig_call(r, "GET", "/v1/operations?limit=2", "", NULL, &a);
	rig_assert_valid(&api_operation_list, &a);
	assert_int_equal(json_array_size(json_object_get(a.json, "items")), 2);
	answer_done(&a);
	rig_expect(r, "DELETE", "/v1/images/tiny", NULL, "code",
		   "image_in_use");
	rig_call(r, "GET", "/v1/images", "", NULL, &a);
	rig_assert_valid(&api_image_list, &a);
	answer_done(&a);
	rig_call(r, "GET", "/v1/host", "", NULL, &a);
	rig_assert_valid(&api_host, &a);
	answer_done(&a);
	rig_call(r, "GET", "/metrics", "", NULL, &a);
	assert_non_null(strstr(a.body, "vmd_vms{state=\"stopped\"} 5\n"));
	answer_done(&a);
	rig_call(r, "GET", "/openapi.json", "", NULL, &a);
	assert_non_null(a.json);
	answer_done(&a);
}

/* An id means what it was given to, whatever others are named. */
static void test_problems_say_what_they_are_about(void **state)
{
	struct rig *r = *state;
	struct answer a;
	char *id = rig_create(r, "\"start\":false,\"name\":\"webserver\"", &a);

	answer_done(&a);
	rig_expect(r, "GET", "/v1/vms/websrever", NULL, "suggestion",
		   "webserver");
	rig_expect(r, "GET", "/v1/vms/websrever", NULL, "subject", "websrever");
	rig_expect(r, "POST", "/v1/vms", "{\"image\":\"tinny\"}", "suggestion",
		   "tiny");
	rig_expect(r, "POST", "/v1/vms",
		   "{\"image\":\"tiny\",\"network\":{\"ports\":"
		   "[{\"guest_port\":1,\"host_port\":1,\"protocol\":\"x\"}]}}",
		   "field", "network.ports[0].protocol");
	rig_expect(r, "GET", "/v1/vms?limit=x", NULL, "field", "limit");
	free(id);
}

static void test_an_id_identifies(void **state)
{
	struct rig *r = *state;
	struct answer a;
	struct vm *vm;
	char path[160], body[160];
	char *first = rig_create(r, "\"start\":false,\"name\":\"one\"", &a);
	char *second, *op = strdup(answer_text(&a, "operation.id"));

	answer_done(&a);
	(void)snprintf(body, sizeof(body),
		       "{\"image\":\"tiny\",\"name\":\"%s\"}", first);
	rig_expect(r, "POST", "/v1/vms", body, "code", "name_like_id");
	second = rig_create(r, "\"start\":false,\"name\":\"two\"", &a);
	answer_done(&a);
	/* As an old daemon made it: named by the other's id. */
	vm = vm_find_id(&r->d, second);
	(void)snprintf(vm->row.name, sizeof(vm->row.name), "%s", first);
	assert_int_equal(vm_save(vm, NULL), 0);
	rig_drop(r);
	rig_start(r);
	(void)snprintf(path, sizeof(path), "/v1/vms/%s", first);
	rig_expect(r, "GET", path, NULL, "name", "one");
	(void)snprintf(path, sizeof(path), "/v1/vms/%s", second);
	rig_expect(r, "GET", path, NULL, "id", second);
	/* A name comes before the beginning of an id. */
	vm = vm_find_id(&r->d, second);
	(void)snprintf(vm->row.name, sizeof(vm->row.name), "%.6s", first);
	(void)snprintf(path, sizeof(path), "/v1/vms/%.6s", first);
	rig_expect(r, "GET", path, NULL, "id", second);
	(void)snprintf(path, sizeof(path), "/v1/vms/%.7s", first);
	rig_expect(r, "GET", path, NULL, "id", first);
	(void)snprintf(path, sizeof(path), "/v1/vms/%.3s", first);
	rig_expect(r, "GET", path, NULL, "code", "vm_not_found");
	/* Operations by the same rule; they have no names. */
	(void)snprintf(path, sizeof(path), "/v1/operations/%.8s", op);
	rig_expect(r, "GET", path, NULL, "id", op);
	(void)snprintf(path, sizeof(path), "/v1/operations/%.8s/wait", op);
	rig_expect(r, "GET", path, NULL, "id", op);
	rig_expect(r, "GET", "/v1/operations/one", NULL, "code",
		   "operation_not_found");
	free(first);
	free(second);
	free(op);
}

static void test_image_delete(void **state)
{
	struct rig *r = *state;
	struct answer a;

	rig_call(r, "DELETE", "/v1/images/disk", "", NULL, &a);
	assert_int_equal(a.status, 204);
	assert_int_equal(a.body_len, 0);
	answer_done(&a);
	rig_expect(r, "DELETE", "/v1/images/disk", NULL, "code",
		   "image_not_found");
	assert_int_equal(rig_rows(r, "SELECT count(*) FROM operation"), 0);
}

static void test_image_build_and_cancel(void **state)
{
	struct rig *r = *state;
	struct answer a;
	char path[96];

	rig_expect(r, "POST", "/v1/images?wait=5",
		   "{\"name\":\"new\",\"recipe\":\"tiny\"}", "state",
		   "succeeded");
	rig_call(r, "GET", "/v1/operations", "", NULL, &a);
	assert_non_null(strstr(a.body, "\"succeeded\""));
	answer_done(&a);
	rig_file(r, "mode", "hang");
	rig_call(r, "POST", "/v1/images", "",
		 "{\"name\":\"new\",\"recipe\":\"tiny\"}", &a);
	assert_int_equal(a.status, 202);
	(void)snprintf(path, sizeof(path), "/v1/operations/%s",
		       answer_text(&a, "id"));
	answer_done(&a);
	rig_expect(r, "POST", "/v1/images",
		   "{\"name\":\"new\",\"recipe\":\"tiny\"}", "code",
		   "operation_running");
	rig_expect(r, "DELETE", path, NULL, "state", "cancelled");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(test_lists),
		RIG_TEST(test_problems_say_what_they_are_about),
		RIG_TEST(test_an_id_identifies),
		RIG_TEST(test_image_delete),
		RIG_TEST(test_image_build_and_cancel),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
