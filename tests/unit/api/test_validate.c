/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/validate.h"
#include "base/cleanup.h"
#include "base/json.h"

struct row {
	const struct api_object *object;
	const char *text;
	const char *code; /* NULL: valid */
	const char *where; /* in the message */
};

static const struct row rows[] = {
	{ &api_vm_create, "{\"image\":\"tiny\"}", NULL, NULL },
	{ &api_vm_create, "{}", "missing_field", "image" },
	{ &api_vm_create, "", "missing_field", "image" },
	{ &api_vm_create, "{", "json_invalid", NULL },
	{ &api_vm_create, "[]", NULL, "VmCreate" },
	{ &api_vm_create, "{\"image\":null}", "missing_field", "image" },
	{ &api_vm_create, "{\"image\":7}", "wrong_type", "image" },
	{ &api_vm_create, "{\"image\":\"\"}", "out_of_range", "image" },
	{ &api_vm_create, "{\"image\":\"../etc\"}", "bad_value", "image" },
	{ &api_vm_create, "{\"image\":\"a\",\"image\":\"b\"}", "json_invalid",
	  NULL },
	{ &api_vm_create, "{\"image\":\"a\",\"nope\":1}", "unknown_field",
	  "nope" },
	{ &api_vm_create, "{\"image\":\"a\",\"vcpus\":0}", "out_of_range",
	  "vcpus" },
	{ &api_vm_create, "{\"image\":\"a\",\"vcpus\":33}", "out_of_range",
	  "vcpus" },
	{ &api_vm_create, "{\"image\":\"a\",\"vcpus\":-1}", "out_of_range",
	  "vcpus" },
	{ &api_vm_create, "{\"image\":\"a\",\"vcpus\":1.5}", "wrong_type",
	  "vcpus" },
	{ &api_vm_create, "{\"image\":\"a\",\"vcpus\":\"1\"}", "wrong_type",
	  "vcpus" },
	{ &api_vm_create, "{\"image\":\"a\",\"vcpus\":null}", NULL, NULL },
	{ &api_vm_create, "{\"image\":\"a\",\"memory_bytes\":16777215}",
	  "out_of_range", "memory_bytes" },
	{ &api_vm_create,
	  "{\"image\":\"a\",\"memory_bytes\":99999999999999999999}",
	  "json_invalid", NULL },
	{ &api_vm_create, "{\"image\":\"a\",\"name\":\"Up\"}", "bad_value",
	  "name" },
	{ &api_vm_create, "{\"image\":\"a\",\"name\":\"a/b\"}", "bad_value",
	  "name" },
	{ &api_vm_create, "{\"image\":\"a\",\"name\":\"a\\u0000b\"}", NULL,
	  "" },
	{ &api_vm_create, "{\"image\":\"a\",\"engine\":\"xen\"}", "bad_value",
	  "auto, microvm, qemu" },
	{ &api_vm_create, "{\"image\":\"a\",\"labels\":{\"k\":1}}",
	  "wrong_type", "labels.k" },
	{ &api_vm_create, "{\"image\":\"a\",\"labels\":{\"\":\"v\"}}",
	  "bad_value", "labels." },
	{ &api_vm_create, "{\"image\":\"a\",\"labels\":[]}", "wrong_type",
	  "labels" },
	{ &api_vm_create, "{\"image\":\"a\",\"ephemeral\":1}", "wrong_type",
	  "ephemeral" },
	{ &api_vm_create, "{\"image\":\"a\",\"ttl_seconds\":0}", "out_of_range",
	  "ttl_seconds" },
	{ &api_vm_create, "{\"image\":\"a\",\"network\":{\"mode\":\"bridge\"}}",
	  "bad_value", "network.mode" },
	{ &api_vm_create, "{\"image\":\"a\",\"network\":{\"x\":1}}",
	  "unknown_field", "network.x" },
	{ &api_vm_create, "{\"image\":\"a\",\"network\":{\"ports\":[7]}}",
	  "wrong_type", "network.ports[0]" },
	{ &api_vm_create,
	  "{\"image\":\"a\",\"network\":{\"ports\":[{\"host_port\":1,"
	  "\"guest_port\":1},{\"host_port\":70000,\"guest_port\":1}]}}",
	  "out_of_range", "network.ports[1].host_port" },
	{ &api_vm_create,
	  "{\"image\":\"a\",\"network\":{\"ports\":[{\"host_port\":1,"
	  "\"guest_port\":1,\"host_address\":\"localhost\"}]}}",
	  "bad_value", "host_address" },
	{ &api_vm_create,
	  "{\"image\":\"a\",\"network\":{\"ports\":[{\"host_port\":1,"
	  "\"guest_port\":1,\"host_address\":\"::1\"}]}}",
	  NULL, NULL },
	{ &api_vm_create, "{\"image\":\"a\",\"command\":[]}", "out_of_range",
	  "command" },
	{ &api_vm_create, "{\"image\":\"a\",\"command\":\"ls\"}", "wrong_type",
	  "command" },
	{ &api_vm_create, "{\"image\":\"a\",\"command\":[\"ls\",1]}",
	  "wrong_type", "command[1]" },
	{ &api_vm_create, "{\"image\":\"a\",\"env\":{\"A=B\":\"x\"}}",
	  "bad_value", "env.A=B" },
	{ &api_vm_create, "{\"image\":\"a\",\"cwd\":\"tmp\"}", "bad_value",
	  "cwd" },
	{ &api_vm_stop, "", NULL, NULL },
	{ &api_vm_stop, "{\"timeout_seconds\":3601}", "out_of_range",
	  "timeout_seconds" },
	{ &api_image_create, "{\"name\":\"x\",\"recipe\":\"windows\"}",
	  "bad_value", "recipe" },
	{ &api_exec_request, "{\"command\":[\"a\"],\"tty\":\"yes\"}",
	  "wrong_type", "tty" },
	{ &api_exec_control, "{\"resize\":{\"rows\":1}}", "missing_field",
	  "resize.columns" },
	{ &api_exec_control, "{\"signal\":\"SEGV\"}", "bad_value", "signal" },
	{ &api_exec_control, "{\"signal\":\"INT\"}", NULL, NULL },
};

static void test_validate_matrix(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct row *r = &rows[i];
		AUTO(json) json_t *value = NULL;
		struct err e = ERR_INIT;
		int rc = api_parse(r->object, r->text, strlen(r->text), &value,
				   &e);
		bool refused = r->code || r->where;

		if ((rc < 0) != refused)
			print_error("row %zu: %s: %s\n", i, r->text, e.msg);
		assert_int_equal(rc < 0, refused);
		assert_int_equal(value == NULL, refused);
		if (!refused)
			continue;
		assert_int_equal(e.kind, ERR_INVALID);
		if (r->code)
			assert_string_equal(e.code, r->code);
		if (r->where && !strstr(e.msg, r->where))
			print_error("row %zu: %s\n", i, e.msg);
		if (r->where)
			assert_non_null(strstr(e.msg, r->where));
	}
}

static void test_parse_fills_defaults_at_every_depth(void **state)
{
	static const char text[] =
		"{\"image\":\"a\",\"vcpus\":null,\"network\":{\"ports\":["
		"{\"host_port\":1,\"guest_port\":2}]}}";
	AUTO(json) json_t *value = NULL;
	const char *address, *mode;
	json_int_t vcpus;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(api_parse(&api_vm_create, text, sizeof(text) - 1,
				   &value, &e),
			 0);
	assert_int_equal(json_unpack(value, "{s:I, s:{s:s, s:[{s:s}]}}",
				     "vcpus", &vcpus, "network", "mode", &mode,
				     "ports", "host_address", &address),
			 0);
	assert_int_equal(vcpus, 1);
	assert_string_equal(mode, "user");
	assert_string_equal(address, "127.0.0.1");
	assert_int_equal(api_validate(&api_vm_create, value, &e), 0);
}

static void test_parse_limits(void **state)
{
	size_t len = API_COMMAND_TEXT_MAX + 1;
	AUTO(free) char *text = malloc(len);
	AUTO(json) json_t *value = NULL;
	struct err e = ERR_INIT;

	(void)state;
	assert_non_null(text);
	memset(text, ' ', len);
	assert_true(api_parse(&api_vm_create, text, len, &value, &e) < 0);
	assert_string_equal(e.code, "body_too_large");
	memset(text, '[', len - 1);
	assert_true(api_parse(&api_vm_create, text, len - 1, &value, &e) < 0);
	assert_int_equal(e.kind, ERR_INVALID);
}

static void test_array_count_has_a_limit(void **state)
{
	AUTO(json)
	json_t *value = json_pack("{s:s, s:[]}", "image", "a", "command");
	json_t *command = json_object_get(value, "command");
	struct err e = ERR_INIT;

	(void)state;
	for (int i = 0; i < API_ARGS_MAX; i++)
		(void)json_array_append_new(command, json_string("x"));
	assert_int_equal(api_validate(&api_vm_create, value, &e), 0);
	(void)json_array_append_new(command, json_string("x"));
	assert_true(api_validate(&api_vm_create, value, &e) < 0);
	assert_string_equal(e.code, "out_of_range");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_validate_matrix),
		cmocka_unit_test(test_parse_fills_defaults_at_every_depth),
		cmocka_unit_test(test_parse_limits),
		cmocka_unit_test(test_array_count_has_a_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
