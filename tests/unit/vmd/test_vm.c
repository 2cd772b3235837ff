/* SPDX-License-Identifier: Apache-2.0 */
/* The life of a VM through the API, with the fake engine. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

static void test_create_becomes_ready(void **state)
{
	struct rig *r = *state;
	struct answer a;
	AUTO(free) char *id = rig_create(r, "\"name\":\"web\"", &a);
	struct err e = ERR_INIT;

	assert_int_equal(a.status, 202);
	assert_string_equal(answer_text(&a, "operation.state"), "succeeded");
	assert_string_equal(answer_text(&a, "vm.state"), "ready");
	assert_string_equal(answer_text(&a, "vm.agent.release"), "6.1.0-fake");
	assert_non_null(strstr(a.head, "Location: /v1/operations/"));
	if (api_validate(&api_vm_created, a.json, &e) < 0)
		fail_msg("%s", e.msg);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_create_becomes_ready,
						rig_setup, rig_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
