/* SPDX-License-Identifier: Apache-2.0 */
/* A VM whose engine paused it for want of room on the disk. */
#include "tests/unit/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "rig.h"

static int setup(void **state)
{
	fake_room = false;
	fake_resumes = 0;
	return rig_setup(state);
}

static char *make(struct rig *r, const char *extra)
{
	struct answer a;
	char *id = rig_create(r, extra, &a);

	answer_done(&a);
	return id;
}

static void test_full_disk_pauses_and_room_resumes(void **state)
{
	struct rig *r = *state;
	AUTO(free) char *id = make(r, "\"name\":\"a\"");
	struct wsc *c;

	rig_expect(r, "GET", "/v1/vms/a", NULL, "state", "ready");
	fake_pause(id);
	rig_expect(r, "GET", "/v1/vms/a", NULL, "state", "paused");
	rig_expect(r, "GET", "/v1/vms/a", NULL, "reason", "disk full");
	rig_expect(r, "GET", "/v1/vms?state=paused", NULL, "next_cursor",
		   "null");
	/* A command waits, and is told for what. */
	c = wsc_open(r, "/v1/vms/a/exec");
	wsc_text(c, "{\"command\":[\"true\"]}");
	wsc_until(r, c, "paused");
	/* It tries, also when that does not help yet. */
	RIG_UNTIL(r, fake_resumes >= 1);
	rig_expect(r, "GET", "/v1/vms/a", NULL, "state", "paused");
	fake_room = true;
	RIG_UNTIL(r, vm_find_id(&r->d, id)->row.state == API_VM_READY);
	rig_expect(r, "GET", "/v1/vms/a", NULL, "reason", "null");
	wsc_until(r, c, "started");
	wsc_free(c);
	/* Nobody looks at the disk any more. */
	assert_false(loop_timer_armed(&vm_find_id(&r->d, id)->timer));
	rig_expect(r, "POST", "/v1/vms/a/stop?wait=5", NULL, "state",
		   "succeeded");
}

static void test_paused_vm_can_be_stopped_and_removed(void **state)
{
	struct rig *r = *state;
	AUTO(free) char *id = make(r, "\"name\":\"a\"");

	fake_pause(id);
	rig_expect(r, "POST", "/v1/vms/a/stop?wait=5", "{\"force\":true}",
		   "state", "succeeded");
	rig_expect(r, "GET", "/v1/vms/a", NULL, "state", "stopped");
	rig_expect(r, "POST", "/v1/vms/a/start?wait=5", NULL, "state",
		   "succeeded");
	fake_pause(id);
	rig_expect(r, "DELETE", "/v1/vms/a?force=true&wait=5", NULL, "state",
		   "succeeded");
	rig_assert_nothing_left(r);
}

/* The time that a start may take does not run while it is paused. */
static void test_start_that_is_paused_does_not_time_out(void **state)
{
	struct rig *r = *state;
	AUTO(free) char *id = NULL;
	struct answer a;

	fake_fault = FAKE_NEVER_READY;
	rig_call(r, "POST", "/v1/vms", "",
		 "{\"image\":\"tiny\",\"ready_timeout_seconds\":1}", &a);
	id = strdup(answer_text(&a, "vm.id"));
	answer_done(&a);
	RIG_UNTIL(r, vm_find_id(&r->d, id)->row.state == API_VM_RUNNING);
	fake_pause(id);
	rig_spin(r, 1500);
	assert_int_equal(vm_find_id(&r->d, id)->row.state, API_VM_PAUSED);
	fake_room = true;
	RIG_UNTIL(r, vm_find_id(&r->d, id)->row.state == API_VM_RUNNING);
	RIG_UNTIL(r, vm_find_id(&r->d, id)->row.state == API_VM_FAILED);
	fake_fault = FAKE_OK;
}

/* The daemon goes and another comes: it is paused for both. */
static void test_new_daemon_goes_on_with_a_paused_vm(void **state)
{
	struct rig *r = *state;
	AUTO(free) char *id = make(r, "\"name\":\"a\"");

	fake_pause(id);
	rig_drop(r);
	rig_start(r);
	RIG_UNTIL(r, vm_find_id(&r->d, id)->handle);
	fake_pause(id); /* as engines say when they have taken it over */
	rig_expect(r, "GET", "/v1/vms/a", NULL, "state", "paused");
	fake_room = true;
	RIG_UNTIL(r, vm_find_id(&r->d, id)->row.state == API_VM_READY);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, rig_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_full_disk_pauses_and_room_resumes),
		TEST(test_paused_vm_can_be_stopped_and_removed),
		TEST(test_start_that_is_paused_does_not_time_out),
		TEST(test_new_daemon_goes_on_with_a_paused_vm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
