/* SPDX-License-Identifier: Apache-2.0 */
/* VMs that come to be, or do not, with the fake engine. */
#include "tests/unit/test.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "rig.h"

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
		rig_assert_nothing_left(r);
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
		rig_expect(r, "POST", path, NULL, "state", "succeeded");
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

	rig_file(r, "mode", "fail");
	rig_call(r, "POST", "/v1/vms?wait=10", "",
		 "{\"image\":\"disk\",\"ephemeral\":true}", &a);
	if (a.status != 202)
		fail_msg("%s", a.body);
	assert_string_equal(answer_text(&a, "operation.error.code"),
			    "disk_full");
	answer_done(&a);
	rig_assert_nothing_left(r);
	rig_file(r, "mode", "crash");
	rig_call(r, "POST", "/v1/vms?wait=10", "",
		 "{\"image\":\"disk\",\"ephemeral\":true}", &a);
	assert_non_null(strstr(answer_text(&a, "operation.error.detail"),
			       "tool says no"));
	answer_done(&a);
	rig_assert_nothing_left(r);
	rig_file(r, "mode", "ok");
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

	rig_file(r, "mode", "hang");
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
	rig_assert_nothing_left(r);
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
	RIG_UNTIL(r, fake_running() == 1);
	rig_expect(r, "DELETE", path, NULL, "state", "cancelled");
	rig_assert_nothing_left(r);
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
		rig_assert_valid(&api_problem, &a);
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
	rig_assert_nothing_left(r);
	close(fd);
	free(rig_create(r, extra, &a));
	assert_string_equal(answer_text(&a, "vm.state"), "ready");
	answer_done(&a);
}

static void test_a_port_published_twice(void **state)
{
	static const struct {
		const char *first; /* besides the port */
		const char *second;
		int next; /* the second port is another one */
		int status;
	} cases[] = {
		{ "", "", 0, 400 },
		{ ",\"host_address\":\"0.0.0.0\"", "", 0, 400 },
		{ "", "", 1, 202 },
		{ "", ",\"protocol\":\"udp\"", 0, 202 },
		{ "", ",\"host_address\":\"127.0.0.2\"", 0, 202 },
		{ ",\"host_address\":\"::1\"", "", 0, 202 },
	};
	int ports[2] = { rig_free_port(), rig_free_port() };
	struct rig *r = *state;
	char name[32];

	(void)snprintf(name, sizeof(name), "%d/tcp", ports[0]);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct answer a;
		char body[400];

		(void)snprintf(body, sizeof(body),
			       "{\"image\":\"tiny\",\"start\":false,"
			       "\"network\":{\"ports\":["
			       "{\"host_port\":%d%s,\"guest_port\":80},"
			       "{\"host_port\":%d%s,\"guest_port\":81}]}}",
			       ports[0], cases[i].first, ports[cases[i].next],
			       cases[i].second);
		rig_call(r, "POST", "/v1/vms", "", body, &a);
		if (a.status != cases[i].status)
			fail_msg("%s: %d %s", body, a.status, a.body);
		if (a.status == 400) {
			assert_string_equal(answer_code(&a), "bad_value");
			assert_non_null(
				strstr(answer_text(&a, "detail"), name));
		}
		answer_done(&a);
	}
	assert_int_equal(r->d.vm_count, 4);
}

static void test_address_of_another_host(void **state)
{
	struct rig *r = *state;
	struct answer a;

	/* Refused for the address: the port does not matter. */
	free(rig_create(r,
			"\"network\":{\"ports\":[{\"host_port\":18080,"
			"\"guest_port\":80,\"host_address\":"
			"\"192.0.2.1\"}]}",
			&a));
	assert_string_equal(answer_code(&a), "address_not_local");
	assert_non_null(strstr(answer_text(&a, "detail"), "192.0.2.1"));
	answer_done(&a);
	rig_assert_nothing_left(r);
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
	answer_done(&b);
	/* How long it waits is no part of what it asks for, and is honoured. */
	rig_call(r, "POST", "/v1/vms?wait=9", "Idempotency-Key: k1\r\n",
		 "{\"image\":\"tiny\"}", &b);
	assert_int_equal(b.status, 202);
	rig_assert_valid(&api_vm_created, &b);
	assert_string_equal(answer_text(&b, "operation.state"), "succeeded");
	assert_string_equal(answer_text(&b, "vm.state"), "ready");
	assert_string_equal(answer_text(&b, "vm.name"),
			    answer_text(&a, "vm.name"));
	answer_done(&a);
	answer_done(&b);
	rig_call(r, "POST", "/v1/images", "Idempotency-Key: k2\r\n",
		 "{\"name\":\"new\",\"recipe\":\"tiny\"}", &a);
	rig_call(r, "POST", "/v1/images?wait=9", "Idempotency-Key: k2\r\n",
		 "{\"name\":\"new\",\"recipe\":\"tiny\"}", &b);
	rig_assert_valid(&api_operation, &b);
	assert_string_equal(answer_text(&b, "state"), "succeeded");
	assert_string_equal(json_string_value(json_object_get(b.json, "id")),
			    json_string_value(json_object_get(a.json, "id")));
	answer_done(&a);
	answer_done(&b);
	/* Another client's key is another key. */
	assert_int_equal(rig_rows(r, "SELECT count(*) FROM answer WHERE "
				     "key LIKE '%:k_'"),
			 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(test_create_ephemeral_fails_leaves_nothing),
		RIG_TEST(test_create_not_ready_shows_console_and_stays_failed),
		RIG_TEST(test_clone_failures),
		RIG_TEST(test_cancel_ends_child_and_leaves_nothing),
		RIG_TEST(test_cancel_of_a_starting_vm),
		RIG_TEST(test_refusals),
		RIG_TEST(test_port_in_use),
		RIG_TEST(test_a_port_published_twice),
		RIG_TEST(test_address_of_another_host),
		RIG_TEST(test_memory_promised_counts),
		RIG_TEST(test_idempotency_key),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
