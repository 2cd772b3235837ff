/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/test.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "vmctl/ctx.h"
#include "vmctl/spec.h"

static void check_port(const char *text, const char *want)
{
	struct err e = ERR_INIT;
	AUTO(json) json_t *port = spec_port(text, &e);
	AUTO(free) char *got = NULL;

	if (!want) {
		assert_null(port);
		assert_string_equal(e.code, "usage");
		assert_non_null(strstr(e.msg, text));
		return;
	}
	assert_non_null(port);
	got = json_dumps(port, JSON_COMPACT | JSON_SORT_KEYS);
	assert_string_equal(got, want);
}

static void test_port_forms(void **state)
{
	(void)state;
	check_port("8080:80", "{\"guest_port\":80,\"host_address\":"
			      "\"127.0.0.1\",\"host_port\":8080,"
			      "\"protocol\":\"tcp\"}");
	check_port("0.0.0.0:53:5353/udp",
		   "{\"guest_port\":5353,\"host_address\":\"0.0.0.0\","
		   "\"host_port\":53,\"protocol\":\"udp\"}");
	check_port("[::1]:1:2/tcp",
		   "{\"guest_port\":2,\"host_address\":\"::1\","
		   "\"host_port\":1,\"protocol\":\"tcp\"}");
}

static void test_port_refused(void **state)
{
	static const char *const bad[] = {
		"",	 "80",	      ":",	    ":80",	 "80:",
		"0:1",	 "1:0",	      "65536:1",    "1:65536",	 "a:1",
		"1:2/x", "::1:80:80", "[::1:80:80", "[]:80:80",	 " 1:2",
		"-1:2",	 "1:2/",      ":1:2",	    "1:2/udp/x",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		check_port(bad[i], NULL);
}

static void test_env_value_or_ours(void **state)
{
	AUTO(json) json_t *env = json_object();
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(setenv("VMCTL_TEST_X", "from us", 1), 0);
	assert_int_equal(unsetenv("VMCTL_TEST_Y"), 0);
	assert_int_equal(spec_env(env, "A=b=c", &e), 0);
	assert_int_equal(spec_env(env, "VMCTL_TEST_X", &e), 0);
	assert_int_equal(spec_env(env, "VMCTL_TEST_Y", &e), 0);
	assert_int_equal(spec_env(env, "E=", &e), 0);
	assert_true(spec_env(env, "=x", &e) < 0);
	assert_true(spec_env(env, "U=\xff\xfe", &e) < 0);
	assert_string_equal(text_of(env, "A"), "b=c");
	assert_string_equal(text_of(env, "VMCTL_TEST_X"), "from us");
	assert_null(json_object_get(env, "VMCTL_TEST_Y"));
	assert_non_null(json_object_get(env, "E"));
}

static void test_guest_exit_status(void **state)
{
	(void)state;
	assert_int_equal(guest_exit_status(0, 0), 0);
	assert_int_equal(guest_exit_status(7, 0), 7);
	assert_int_equal(guest_exit_status(255, 0), 255);
	assert_int_equal(guest_exit_status(0, 9), 137);
	assert_int_equal(guest_exit_status(0, 5000), 125);
	assert_int_equal(guest_exit_status(UINT64_MAX, 0), 255);
}

static void test_exec_error_status(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	(void)err_set(&e, ERR_NOT_FOUND, "command_not_found", 0, "x");
	assert_int_equal(exec_error_status(&e), 127);
	(void)err_set(&e, ERR_PERMISSION, "command_not_executable", 0, "x");
	assert_int_equal(exec_error_status(&e), 126);
	(void)err_set(&e, ERR_NOT_FOUND, "vm_not_found", 0, "x");
	assert_int_equal(exec_error_status(&e), 125);
}

static void test_socket_path_order(void **state)
{
	char path[512];

	(void)state;
	assert_int_equal(setenv("VMD_SOCKET", "/env", 1), 0);
	assert_string_equal(ctx_socket_path("/option", path), "/option");
	assert_string_equal(ctx_socket_path(NULL, path), "/env");
	assert_int_equal(unsetenv("VMD_SOCKET"), 0);
	assert_int_equal(setenv("XDG_RUNTIME_DIR", "/nonexistent", 1), 0);
	assert_string_equal(ctx_socket_path(NULL, path), "/run/vmd/vmd.sock");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_port_forms),
		cmocka_unit_test(test_port_refused),
		cmocka_unit_test(test_env_value_or_ours),
		cmocka_unit_test(test_guest_exit_status),
		cmocka_unit_test(test_exec_error_status),
		cmocka_unit_test(test_socket_path_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
