/* SPDX-License-Identifier: Apache-2.0 */
/* The life of a VM through the API, with the fake engine. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "api/validate.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "rig.h"

static void assert_nothing_left(struct rig *r)
{
	struct journal_row *rows = NULL;
	size_t count = 0;

	assert_int_equal(r->d.vm_count, 0);
	assert_int_equal(fake_running(), 0);
	assert_int_equal(rig_entries(r, "state/vms"), 0);
	assert_int_equal(rig_entries(r, "run/vms"), 0);
	assert_int_equal(
		store_journal_list(r->d.store, NULL, &rows, &count, NULL), 0);
	free(rows);
	assert_int_equal(count, 0);
}

static void assert_valid(const struct api_object *object,
			 const struct answer *a)
{
	struct err e = ERR_INIT;

	if (api_validate(object, a->json, &e) < 0)
		fail_msg("%s: %s", e.msg, a->body);
}

static void test_create_becomes_ready(void **state)
{
	struct rig *r = *state;
	struct answer a;
	AUTO(free) char *id = rig_create(r, "\"name\":\"web\"", &a);

	assert_int_equal(a.status, 202);
	assert_string_equal(answer_text(&a, "operation.state"), "succeeded");
	assert_string_equal(answer_text(&a, "vm.state"), "ready");
	assert_string_equal(answer_text(&a, "vm.agent.release"), "6.1.0-fake");
	assert_non_null(strstr(a.head, "Location: /v1/operations/"));
	assert_valid(&api_vm_created, &a);
	answer_done(&a);
	rig_call(r, "GET", "/v1/vms/web", "", NULL, &a);
	assert_string_equal(answer_text(&a, "id"), id);
	assert_int_equal(fake_running(), 1);
	answer_done(&a);
	rig_call(r, "POST", "/v1/vms/web/stop?wait=5", "", "{}", &a);
	assert_string_equal(answer_text(&a, "state"), "succeeded");
	assert_int_equal(fake_shutdowns, 1);
	answer_done(&a);
	assert_int_equal(fake_running(), 0);
	rig_call(r, "DELETE", "/v1/vms/web?wait=5", "", NULL, &a);
	assert_string_equal(answer_text(&a, "state"), "succeeded");
	answer_done(&a);
	assert_nothing_left(r);
}

static void set_mode(struct rig *r, const char *mode)
{
	char path[128];
	FILE *f;

	(void)snprintf(path, sizeof(path), "%s/mode", r->dir);
	f = fopen(path, "w");
	assert_non_null(f);
	(void)fputs(mode, f);
	(void)fclose(f);
}

static void assert_failed_create(struct rig *r, const char *extra,
				 const char *code)
{
	struct answer a;
	free(rig_create(r, extra, &a));
	assert_string_equal(answer_text(&a, "operation.state"), "failed");
	assert_string_equal(answer_text(&a, "operation.error.code"), code);
	answer_done(&a);
}

static void test_create_ephemeral_fails_leaves_nothing(void **state)
{
	static const struct {
		enum fake_fault fault;
		const char *code;
	} cases[] = { { FAKE_START_REFUSED, "fake_refused" },
		      { FAKE_DIES_STARTING, "fake_died" },
		      { FAKE_NEVER_READY, "guest_not_ready" } };
	struct rig *r = *state;

	for (size_t i = 0; i < 3; i++) {
		fake_fault = cases[i].fault;
		assert_failed_create(
			r, "\"ephemeral\":true,\"ready_timeout_seconds\":1",
			cases[i].code);
		assert_nothing_left(r);
	}
}

static void test_create_not_ready_shows_console_and_stays_failed(void **state)
{
	struct rig *r = *state;
	struct answer a;
	AUTO(free) char *id = NULL;

	fake_fault = FAKE_NEVER_READY;
	id = rig_create(r, "\"ready_timeout_seconds\":1", &a);
	assert_string_equal(answer_text(&a, "vm.state"), "failed");
	assert_string_equal(answer_text(&a, "vm.error.code"),
			    "guest_not_ready");
	/* without the escape sequences of the guest */
	assert_non_null(
		strstr(answer_text(&a, "vm.error.detail"), "booting fake"));
	answer_done(&a);
	assert_int_equal(fake_running(), 0);
	assert_int_equal(r->d.vm_count, 1);
	fake_fault = FAKE_OK;
	rig_call(r, "POST", "/v1/vms/", "", NULL, &a);
	answer_done(&a);
	{
		char path[96];

		(void)snprintf(path, sizeof(path), "/v1/vms/%s/start?wait=5",
			       id);
		rig_call(r, "POST", path, "", NULL, &a);
		assert_string_equal(answer_text(&a, "state"), "succeeded");
		answer_done(&a);
		(void)snprintf(path, sizeof(path), "/v1/vms/%s", id);
		rig_call(r, "GET", path, "", NULL, &a);
		assert_string_equal(answer_text(&a, "state"), "ready");
		assert_string_equal(answer_text(&a, "error"), "null");
		answer_done(&a);
	}
}

static void test_clone_failures(void **state)
{
	struct rig *r = *state;
	struct answer a;

	set_mode(r, "fail");
	rig_call(r, "POST", "/v1/vms?wait=10", "",
		 "{\"image\":\"disk\",\"ephemeral\":true}", &a);
	if (a.status != 202)
		fail_msg("%s", a.body);
	assert_string_equal(answer_text(&a, "operation.error.code"),
			    "disk_full");
	answer_done(&a);
	assert_nothing_left(r);
	set_mode(r, "crash");
	rig_call(r, "POST", "/v1/vms?wait=10", "",
		 "{\"image\":\"disk\",\"ephemeral\":true}", &a);
	assert_non_null(strstr(answer_text(&a, "operation.error.detail"),
			       "tool says no"));
	answer_done(&a);
	assert_nothing_left(r);
	set_mode(r, "ok");
	rig_call(r, "POST", "/v1/vms?wait=10", "",
		 "{\"image\":\"disk\",\"disk_bytes\":8388608}", &a);
	assert_string_equal(answer_text(&a, "vm.state"), "ready");
	assert_string_equal(answer_text(&a, "vm.disk_bytes"), "8388608");
	answer_done(&a);
}

static void test_cancel_ends_child_and_leaves_nothing(void **state)
{
	struct rig *r = *state;
	char path[96];
	struct answer a;
	uint64_t begin;

	set_mode(r, "hang");
	rig_call(r, "POST", "/v1/vms?wait=1", "", "{\"image\":\"disk\"}", &a);
	assert_string_equal(answer_text(&a, "operation.state"), "running");
	(void)snprintf(path, sizeof(path), "/v1/operations/%s",
		       answer_text(&a, "operation.id"));
	answer_done(&a);
	begin = clock_mono_ms();
	rig_call(r, "DELETE", path, "", NULL, &a);
	assert_true(clock_mono_ms() - begin < 2000);
	assert_string_equal(answer_text(&a, "state"), "cancelled");
	assert_string_equal(answer_text(&a, "error.code"),
			    "operation_cancelled");
	answer_done(&a);
	assert_nothing_left(r);
	rig_call(r, "DELETE", path, "", NULL, &a);
	assert_int_equal(a.status, 409);
	answer_done(&a);
}

static void test_cancel_of_a_starting_vm(void **state)
{
	struct rig *r = *state;
	char path[96];
	struct answer a;

	fake_fault = FAKE_NEVER_READY;
	rig_call(r, "POST", "/v1/vms", "", "{\"image\":\"tiny\"}", &a);
	(void)snprintf(path, sizeof(path), "/v1/operations/%s",
		       answer_text(&a, "operation.id"));
	answer_done(&a);
	rig_spin(r, 50);
	assert_int_equal(fake_running(), 1);
	rig_call(r, "DELETE", path, "", NULL, &a);
	assert_string_equal(answer_text(&a, "state"), "cancelled");
	answer_done(&a);
	assert_nothing_left(r);
}

static void test_refusals(void **state)
{
	static const struct {
		const char *body;
		int status;
		const char *code;
	} cases[] = {
		{ "{\"image\":\"nope\"}", 404, "image_not_found" },
		{ "{\"image\":\"tiny\",\"name\":\"taken\"}", 409,
		  "name_taken" },
		{ "{\"image\":\"tiny\",\"memory_bytes\":9000000000}", 409,
		  "no_memory" },
		{ "{\"image\":\"tiny\",\"start\":false,"
		  "\"memory_bytes\":1099511627776}",
		  409, "no_memory" },
		{ "{\"image\":\"tiny\",\"memory_bytes\":16777216}", 400,
		  "memory_too_small" },
		{ "{\"image\":\"tiny\",\"disk_bytes\":16777216}", 400,
		  "no_disk" },
		{ "{\"image\":\"tiny\",\"vcpus\":0}", 400, "out_of_range" },
		{ "{\"image\":\"tiny\",\"colour\":1}", 400, "unknown_field" },
		{ "{\"image\":\"tiny\",\"image\":\"tiny\"}", 400, NULL },
		{ "[]", 400, NULL },
		{ "", 400, "body_missing" },
	};
	struct rig *r = *state;
	struct answer a;

	free(rig_create(r, "\"name\":\"taken\"", &a));
	answer_done(&a);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		rig_call(r, "POST", "/v1/vms", "", cases[i].body, &a);
		if (a.status != cases[i].status)
			fail_msg("%s: %d %s", cases[i].body, a.status, a.body);
		if (cases[i].code)
			assert_string_equal(answer_code(&a), cases[i].code);
		assert_valid(&api_problem, &a);
		answer_done(&a);
		assert_int_equal(r->d.vm_count, 1);
	}
}

static void test_port_in_use(void **state)
{
	struct sockaddr_in in = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(in);
	struct rig *r = *state;
	struct answer a;
	char extra[160];
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&in, sizeof(in)), 0);
	assert_int_equal(listen(fd, 1), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &len), 0);
	(void)snprintf(extra, sizeof(extra),
		       "\"network\":{\"ports\":[{\"host_port\":%d,"
		       "\"guest_port\":80}]}",
		       ntohs(in.sin_port));
	free(rig_create(r, extra, &a));
	assert_string_equal(answer_code(&a), "port_in_use");
	answer_done(&a);
	assert_nothing_left(r);
	close(fd);
	free(rig_create(r, extra, &a));
	assert_string_equal(answer_text(&a, "vm.state"), "ready");
	answer_done(&a);
}

static void test_memory_promised_counts(void **state)
{
	struct rig *r = *state;
	struct answer a;

	/* Three of 256 MiB and overhead fit, the fourth does not. */
	rig_memory = UINT64_C(788) << 20;
	for (int i = 0; i < 3; i++) {
		free(rig_create(r, "", &a));
		assert_string_equal(answer_text(&a, "vm.state"), "ready");
		answer_done(&a);
	}
	free(rig_create(r, "", &a));
	assert_string_equal(answer_code(&a), "no_memory");
	assert_non_null(strstr(answer_text(&a, "detail"), "256 MiB"));
	answer_done(&a);
	assert_int_equal(r->d.vm_count, 3);
}

static void test_idempotency_key(void **state)
{
	struct rig *r = *state;
	struct answer a, b;

	rig_call(r, "POST", "/v1/vms", "Idempotency-Key: k1\r\n",
		 "{\"image\":\"tiny\"}", &a);
	rig_call(r, "POST", "/v1/vms", "Idempotency-Key: k1\r\n",
		 "{\"image\":\"tiny\"}", &b);
	assert_int_equal(b.status, 202);
	assert_string_equal(a.body, b.body);
	assert_int_equal(r->d.vm_count, 1);
	answer_done(&b);
	rig_call(r, "POST", "/v1/vms", "Idempotency-Key: k1\r\n",
		 "{\"image\":\"disk\"}", &b);
	assert_int_equal(b.status, 409);
	assert_string_equal(answer_code(&b), "idempotency_key_reused");
	answer_done(&a);
	answer_done(&b);
}

static void test_stop_forces_after_timeout(void **state)
{
	struct rig *r = *state;
	struct answer a;

	fake_fault = FAKE_IGNORES_SHUTDOWN;
	free(rig_create(r, "\"name\":\"deaf\"", &a));
	answer_done(&a);
	rig_call(r, "DELETE", "/v1/vms/deaf", "", NULL, &a);
	assert_int_equal(a.status, 409);
	assert_string_equal(answer_code(&a), "wrong_state");
	answer_done(&a);
	rig_call(r, "POST", "/v1/vms/deaf/stop", "If-Match: \"0\"\r\n", "{}",
		 &a);
	assert_int_equal(a.status, 412);
	answer_done(&a);
	rig_call(r, "POST", "/v1/vms/deaf/stop?wait=9", "",
		 "{\"timeout_seconds\":1}", &a);
	assert_string_equal(answer_text(&a, "state"), "succeeded");
	answer_done(&a);
	assert_int_equal(fake_running(), 0);
	fake_fault = FAKE_OK;
	rig_call(r, "POST", "/v1/vms/deaf/restart?wait=9", "", NULL, &a);
	assert_string_equal(answer_text(&a, "state"), "succeeded");
	answer_done(&a);
	rig_call(r, "POST", "/v1/vms/deaf/restart?wait=9", "", NULL, &a);
	assert_string_equal(answer_text(&a, "kind"), "vm_restart");
	assert_string_equal(answer_text(&a, "state"), "succeeded");
	answer_done(&a);
	assert_int_equal(fake_starts, 3);
	rig_call(r, "DELETE", "/v1/vms/deaf?force=true&wait=9", "", NULL, &a);
	assert_string_equal(answer_text(&a, "state"), "succeeded");
	answer_done(&a);
	assert_nothing_left(r);
}

static void test_guest_ends_by_itself(void **state)
{
	struct rig *r = *state;
	struct answer a;
	AUTO(free) char *id = rig_create(r, "\"name\":\"own\"", &a);

	answer_done(&a);
	fake_end(id, VM_END_POWEROFF);
	rig_call(r, "GET", "/v1/vms/own/wait?state=stopped", "", NULL, &a);
	assert_string_equal(answer_text(&a, "state"), "stopped");
	assert_string_equal(answer_text(&a, "reason"), "the guest powered off");
	answer_done(&a);
	rig_call(r, "POST", "/v1/vms/own/start?wait=9", "", NULL, &a);
	answer_done(&a);
	fake_end(id, VM_END_RESET); /* a reboot is a new start */
	rig_call(r, "GET", "/v1/vms/own/wait?state=ready", "", NULL, &a);
	assert_string_equal(answer_text(&a, "state"), "ready");
	answer_done(&a);
	assert_int_equal(fake_starts, 3);
	fake_end(id, VM_END_CRASH);
	rig_call(r, "GET", "/v1/vms/own", "", NULL, &a);
	assert_string_equal(answer_text(&a, "state"), "failed");
	assert_string_equal(answer_text(&a, "error.code"), "vm_crashed");
	answer_done(&a);
	rig_call(r, "GET", "/v1/vms/own/wait?state=ready", "", NULL, &a);
	assert_string_equal(answer_code(&a), "vm_crashed");
	answer_done(&a);
}

static void test_main_command_ends_ephemeral(void **state)
{
	struct rig *r = *state;
	struct answer a;
	AUTO(free) char *id = NULL;
	char path[96];

	r->config.lease_ms = 100; /* must not matter: it has a command */
	id = rig_create(r, "\"ephemeral\":true,\"command\":[\"work\"]", &a);
	assert_string_equal(answer_text(&a, "vm.state"), "ready");
	answer_done(&a);
	rig_spin(r, 300);
	assert_int_equal(fake_running(), 1);
	fake_command_ends(id, 7);
	(void)snprintf(path, sizeof(path), "/v1/vms/%s/wait?state=exited", id);
	rig_call(r, "GET", path, "", NULL, &a);
	assert_string_equal(answer_text(&a, "exit.status"), "7");
	answer_done(&a);
	rig_spin(r, 50);
	assert_nothing_left(r);
}

static void test_lease_and_ttl(void **state)
{
	struct rig *r = *state;
	struct answer a;

	r->config.lease_ms = 100;
	free(rig_create(r, "\"ephemeral\":true", &a));
	answer_done(&a);
	rig_spin(r, 300);
	assert_nothing_left(r);
	free(rig_create(r, "\"ttl_seconds\":1", &a));
	assert_string_equal(answer_text(&a, "vm.state"), "ready");
	answer_done(&a);
	rig_spin(r, 500);
	assert_int_equal(fake_running(), 1);
	rig_drop(r); /* it holds across a restart */
	rig_start(r);
	rig_spin(r, 900);
	assert_nothing_left(r);
}

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
	assert_valid(&api_operation_list, &a);
	assert_int_equal(json_array_size(json_object_get(a.json, "items")), 2);
	answer_done(&a);
	rig_call(r, "DELETE", "/v1/images/tiny", "", NULL, &a);
	assert_string_equal(answer_code(&a), "image_in_use");
	answer_done(&a);
	rig_call(r, "GET", "/v1/images", "", NULL, &a);
	assert_valid(&api_image_list, &a);
	answer_done(&a);
	rig_call(r, "GET", "/v1/host", "", NULL, &a);
	assert_valid(&api_host, &a);
	answer_done(&a);
	rig_call(r, "GET", "/metrics", "", NULL, &a);
	assert_non_null(strstr(a.body, "vmd_vms{state=\"stopped\"} 5\n"));
	answer_done(&a);
	rig_call(r, "GET", "/openapi.json", "", NULL, &a);
	assert_non_null(a.json);
	answer_done(&a);
}

static void test_image_build_and_cancel(void **state)
{
	struct rig *r = *state;
	struct answer a;
	char path[96];

	rig_call(r, "POST", "/v1/images?wait=5", "",
		 "{\"name\":\"new\",\"recipe\":\"tiny\"}", &a);
	assert_string_equal(answer_text(&a, "state"), "succeeded");
	answer_done(&a);
	rig_call(r, "GET", "/v1/operations", "", NULL, &a);
	assert_non_null(strstr(a.body, "\"succeeded\""));
	answer_done(&a);
	set_mode(r, "hang");
	rig_call(r, "POST", "/v1/images", "",
		 "{\"name\":\"new\",\"recipe\":\"tiny\"}", &a);
	assert_int_equal(a.status, 202);
	(void)snprintf(path, sizeof(path), "/v1/operations/%s",
		       answer_text(&a, "id"));
	answer_done(&a);
	rig_call(r, "POST", "/v1/images", "",
		 "{\"name\":\"new\",\"recipe\":\"tiny\"}", &a);
	assert_string_equal(answer_code(&a), "operation_running");
	answer_done(&a);
	rig_call(r, "DELETE", path, "", NULL, &a);
	assert_string_equal(answer_text(&a, "state"), "cancelled");
	answer_done(&a);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, rig_setup, rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_create_becomes_ready),
		TEST(test_create_ephemeral_fails_leaves_nothing),
		TEST(test_create_not_ready_shows_console_and_stays_failed),
		TEST(test_clone_failures),
		TEST(test_cancel_ends_child_and_leaves_nothing),
		TEST(test_cancel_of_a_starting_vm),
		TEST(test_refusals),
		TEST(test_port_in_use),
		TEST(test_memory_promised_counts),
		TEST(test_idempotency_key),
		TEST(test_stop_forces_after_timeout),
		TEST(test_guest_ends_by_itself),
		TEST(test_main_command_ends_ephemeral),
		TEST(test_lease_and_ttl),
		TEST(test_lists),
		TEST(test_image_build_and_cancel),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
