/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A VM that cannot be judged, with processes that cannot be ended: those of a vmd
 * from before vmd-priv run as root, and are none of its. Nothing may claim that
 * they are gone, or start a second guest on their disk.
 */
#include "tests/unit/test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "rig.h"
#include "vmd/priv/privops.h"

static int refused; /* -errno, or 0: they are ended */

/* NOLINTBEGIN(bugprone-reserved-identifier) */
int __real_privops_process_end(pid_t pid, uint64_t start_time);
int __wrap_privops_process_end(pid_t pid, uint64_t start_time);

int __wrap_privops_process_end(pid_t pid, uint64_t start_time)
{
	return refused ? refused : __real_privops_process_end(pid, start_time);
}
/* NOLINTEND(bugprone-reserved-identifier) */

static void assert_stays(struct rig *r, const char *method, const char *path,
			 const char *body)
{
	rig_expect(r, method, path, body, "code", "process_not_ended");
	rig_expect(r, "GET", "/v1/vms/old", NULL, "state", "unknown");
	assert_int_equal(fake_running(), 1);
	assert_int_equal(fake_starts, 1);
}

static void test_unknown_with_foreign_processes_is_not_stopped(void **state)
{
	static const char force[] = "{\"force\":true}";
	static const int errors[] = { -EPERM, -ENOTCONN };
	struct rig *r = *state;
	struct answer a;

	free(rig_create(r, "\"name\":\"old\"", &a));
	answer_done(&a);
	rig_drop(r);
	fake_fault = FAKE_ADOPT_FAILS;
	rig_start(r);
	for (size_t i = 0; i < 2; i++) {
		refused = errors[i];
		assert_stays(r, "POST", "/v1/vms/old/stop", force);
		assert_stays(r, "POST", "/v1/vms/old/restart", force);
		assert_stays(r, "DELETE", "/v1/vms/old?force=true", NULL);
	}
	refused = 0;
	rig_expect(r, "POST", "/v1/vms/old/stop?wait=5", force, "state",
		   "succeeded");
	rig_expect(r, "GET", "/v1/vms/old", NULL, "state", "stopped");
	assert_int_equal(fake_living(), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(test_unknown_with_foreign_processes_is_not_stopped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
