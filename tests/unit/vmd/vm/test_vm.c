/* SPDX-License-Identifier: Apache-2.0 */
/* The life of a VM through the API, with the fake engine. */
#include "tests/unit/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "rig.h"
#include "vmd/store/store_sql.h"

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
	rig_assert_valid(&api_vm_created, &a);
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
	rig_expect(r, "DELETE", "/v1/vms/web?wait=5", NULL, "state",
		   "succeeded");
	rig_assert_nothing_left(r);
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
	rig_expect(r, "POST", "/v1/vms/deaf/stop?wait=9",
		   "{\"timeout_seconds\":1}", "state", "succeeded");
	assert_int_equal(fake_running(), 0);
	fake_fault = FAKE_OK;
	rig_expect(r, "POST", "/v1/vms/deaf/restart?wait=9", NULL, "state",
		   "succeeded");
	rig_call(r, "POST", "/v1/vms/deaf/restart?wait=9", "", NULL, &a);
	assert_string_equal(answer_text(&a, "kind"), "vm_restart");
	assert_string_equal(answer_text(&a, "state"), "succeeded");
	answer_done(&a);
	assert_int_equal(fake_starts, 3);
	rig_expect(r, "DELETE", "/v1/vms/deaf?force=true&wait=9", NULL, "state",
		   "succeeded");
	rig_assert_nothing_left(r);
}

/* force and timeout_seconds mean for a restart what they mean for a stop. */
static void test_restart_obeys_its_body(void **state)
{
	static const char *const bodies[] = {
		"{\"force\":true}",
		"{\"timeout_seconds\":0}",
		"{\"timeout_seconds\":1}",
	};
	struct rig *r = *state;
	struct answer a;

	fake_fault = FAKE_IGNORES_SHUTDOWN;
	free(rig_create(r, "\"name\":\"deaf\"", &a));
	answer_done(&a);
	for (unsigned i = 0; i < 3; i++) {
		fake_shutdowns = 0;
		rig_expect(r, "POST", "/v1/vms/deaf/restart?wait=9", bodies[i],
			   "state", "succeeded");
		/* Only a guest that has time is asked. */
		assert_int_equal(fake_shutdowns, i == 2);
		assert_int_equal(fake_starts, i + 2);
	}
	/* A stop that waits is taken over by force, by a restart too. */
	rig_call(r, "POST", "/v1/vms/deaf/stop", "", "{}", &a);
	answer_done(&a);
	rig_expect(r, "POST", "/v1/vms/deaf/restart", NULL, "code",
		   "operation_running");
	rig_expect(r, "POST", "/v1/vms/deaf/restart?wait=9", bodies[0], "state",
		   "succeeded");
	rig_expect(r, "GET", "/v1/vms/deaf", NULL, "state", "ready");
}

static void test_stop_that_ends_otherwise_says_so(void **state)
{
	struct rig *r = *state;
	struct answer a;
	char *id;

	fake_fault = FAKE_IGNORES_SHUTDOWN;
	id = rig_create(r, "\"name\":\"a\"", &a);
	answer_done(&a);
	rig_call(r, "POST", "/v1/vms/a/stop", "", "{}", &a);
	answer_done(&a);
	fake_end(id, VM_END_FAILED);
	rig_expect(r, "GET", "/v1/vms/a", NULL, "state", "stopped");
	rig_expect(r, "GET", "/v1/vms/a", NULL, "reason",
		   "the engine failed: the fake engine died");
	free(id);
}

static void ask(struct rig *r, const char *method, const char *path,
		const char *body, const char *code)
{
	struct answer a;

	rig_call(r, method, path, "", body, &a);
	if (strcmp(code, a.status == 202 ? "" : answer_code(&a)) != 0)
		fail_msg("%s %s: %s", method, path, a.body);
	answer_done(&a);
}

/* What is asked of a VM while its process is being ended. */
static void test_verbs_while_it_is_killed(void **state)
{
	static const char force[] = "{\"force\":true}";
	struct rig *r = *state;
	struct answer a;

	fake_fault = FAKE_SLOW_KILL;
	free(rig_create(r, "\"name\":\"a\"", &a));
	answer_done(&a);
	/* A deletion cannot be turned into a stop or a start. */
	ask(r, "DELETE", "/v1/vms/a?force=true", NULL, "");
	ask(r, "POST", "/v1/vms/a/stop", force, "operation_running");
	ask(r, "POST", "/v1/vms/a/start", NULL, "wrong_state");
	ask(r, "POST", "/v1/vms/a/restart", NULL, "operation_running");
	ask(r, "DELETE", "/v1/vms/a?force=true", NULL, "operation_running");
	RIG_UNTIL(r, r->d.vm_count == 0);
	rig_assert_nothing_left(r);
	/* But a stop into a deletion. */
	free(rig_create(r, "\"name\":\"b\"", &a));
	answer_done(&a);
	ask(r, "POST", "/v1/vms/b/stop", force, "");
	ask(r, "POST", "/v1/vms/b/start", NULL, "wrong_state");
	ask(r, "DELETE", "/v1/vms/b?force=true", NULL, "");
	RIG_UNTIL(r, r->d.vm_count == 0);
	rig_assert_nothing_left(r);
	assert_int_equal(rig_rows(r, "SELECT count(*) FROM operation WHERE "
				     "kind='vm_delete' AND state='succeeded'"),
			 2);
	assert_int_equal(rig_rows(r, "SELECT count(*) FROM operation WHERE "
				     "state='running'"),
			 0);
	assert_int_equal(memory_promised(&r->d, NULL), 0);
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
	rig_expect(r, "GET", "/v1/vms/own/wait?state=ready", NULL, "state",
		   "ready");
	assert_int_equal(fake_starts, 3);
	fake_end(id, VM_END_CRASH);
	rig_call(r, "GET", "/v1/vms/own", "", NULL, &a);
	assert_string_equal(answer_text(&a, "state"), "failed");
	assert_string_equal(answer_text(&a, "error.code"), "vm_crashed");
	answer_done(&a);
	rig_expect(r, "GET", "/v1/vms/own/wait?state=ready", NULL, "code",
		   "vm_crashed");
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
	rig_spin(r, 300); /* the lease passes */
	assert_int_equal(fake_running(), 1);
	fake_command_ends(id, 7);
	(void)snprintf(path, sizeof(path), "/v1/vms/%s/wait?state=exited", id);
	rig_expect(r, "GET", path, NULL, "exit.status", "7");
	RIG_UNTIL(r, r->d.vm_count == 0);
	rig_assert_nothing_left(r);
}

/* Nobody tells it a second time: neither after a stop that was under way then and
 * is cancelled, nor to the next daemon. */
static void test_command_that_ended_is_remembered(void **state)
{
	struct rig *r = *state;
	AUTO(free) char *id = NULL;
	struct answer a;
	char path[96];

	fake_fault = FAKE_IGNORES_SHUTDOWN;
	id = rig_create(r, "\"ephemeral\":true,\"command\":[\"work\"]", &a);
	answer_done(&a);
	(void)snprintf(path, sizeof(path), "/v1/vms/%s/stop", id);
	rig_call(r, "POST", path, "", "{\"timeout_seconds\":600}", &a);
	assert_int_equal(a.status, 202);
	(void)snprintf(path, sizeof(path), "/v1/operations/%s",
		       answer_text(&a, "id"));
	answer_done(&a);
	fake_command_ends(id, 7);
	RIG_UNTIL(r, LIST_FIRST(&r->d.vms)->row.has_exit);
	assert_int_equal(LIST_FIRST(&r->d.vms)->state, VM_STOPPING);
	rig_call(r, "DELETE", path, "", NULL, &a);
	answer_done(&a);
	RIG_UNTIL(r, r->d.vm_count == 0);
	rig_expect(r, "GET", path, NULL, "error.code", "operation_cancelled");

	free(rig_create(r, "\"ephemeral\":true,\"command\":[\"work\"]", &a));
	answer_done(&a);
	assert_int_equal(store_exec(r->d.store, NULL,
				    "UPDATE vm SET has_exit=1", ""),
			 0);
	rig_drop(r);
	rig_start(r);
	RIG_UNTIL(r, r->d.vm_count == 0);
	rig_assert_nothing_left(r);
}

static void test_lease_and_ttl(void **state)
{
	struct rig *r = *state;
	struct answer a;

	r->config.lease_ms = 100;
	free(rig_create(r, "\"ephemeral\":true", &a));
	answer_done(&a);
	RIG_UNTIL(r, r->d.vm_count == 0);
	rig_assert_nothing_left(r);
	free(rig_create(r, "\"ttl_seconds\":1", &a));
	assert_string_equal(answer_text(&a, "vm.state"), "ready");
	answer_done(&a);
	rig_spin(r, 500); /* half of its time */
	assert_int_equal(fake_running(), 1);
	fake_fault = FAKE_SLOW_KILL;
	rig_drop(r); /* it holds across a restart */
	rig_start(r);
	RIG_UNTIL(r, LIST_FIRST(&r->d.vms)->row.state == API_VM_DELETING);
	assert_non_null(
		strstr(LIST_FIRST(&r->d.vms)->row.reason, "time to live"));
	RIG_UNTIL(r, r->d.vm_count == 0);
	rig_assert_nothing_left(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(test_create_becomes_ready),
		RIG_TEST(test_stop_forces_after_timeout),
		RIG_TEST(test_restart_obeys_its_body),
		RIG_TEST(test_stop_that_ends_otherwise_says_so),
		RIG_TEST(test_verbs_while_it_is_killed),
		RIG_TEST(test_guest_ends_by_itself),
		RIG_TEST(test_main_command_ends_ephemeral),
		RIG_TEST(test_command_that_ended_is_remembered),
		RIG_TEST(test_lease_and_ttl),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
