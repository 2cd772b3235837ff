/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Nothing may be left: not after many lives of a VM, not when any write to the
 * database fails, not when the daemon dies at any of them.
 */
#include "tests/unit/test.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "rig.h"
#include "vmd/store/store_sql.h"
#include "vmd/task.h"

/* A fork with the shadow memory of a sanitizer is slow. */
#ifdef __SANITIZE_ADDRESS__
#define CYCLES 60
#else
#define CYCLES 300
#endif

enum {
	POINTS_MAX = 60
};

static void one_life(struct rig *r)
{
	struct answer a;

	free(rig_create(r, "\"name\":\"a\"", &a));
	assert_string_equal(answer_text(&a, "vm.state"), "ready");
	answer_done(&a);
	rig_expect(r, "POST", "/v1/vms/a/stop?wait=5", "{}", "state",
		   "succeeded");
	rig_expect(r, "POST", "/v1/vms/a/start?wait=5", NULL, "state",
		   "succeeded");
	rig_expect(r, "DELETE", "/v1/vms/a?force=true&wait=5", NULL, "state",
		   "succeeded");
}

static void test_many_lives_leave_nothing(void **state)
{
	struct rig *r = *state;
	size_t fds;

	one_life(r);
	RIG_UNTIL(r, rig_swept(r) && http_connections(r->http) == 0);
	fds = rig_open_fds();
	for (int i = 0; i < CYCLES; i++)
		one_life(r);
	rig_assert_nothing_left(r);
	RIG_UNTIL(r, rig_open_fds() == fds);
	assert_int_equal(fake_starts, 2 * (CYCLES + 1));
	/* Pruned now and then: a sixteenth more may be there. */
	assert_in_range(rig_rows(r, "SELECT count(*) FROM operation"),
			r->config.keep_operations,
			r->config.keep_operations * 17 / 16);
}

/* The k-th commit from now on fails, or is the last thing that happens. */
static struct {
	unsigned left;
	bool dies, forever;
} fault;

static int on_commit(void *data)
{
	(void)data;
	if (fault.left == 0)
		return fault.forever;
	if (--fault.left > 0)
		return 0;
	if (fault.dies)
		_exit(7);
	return 1;
}

static void set_fault(struct rig *r, unsigned k, bool dies, bool forever)
{
	fault.left = k;
	fault.dies = dies;
	fault.forever = forever;
	(void)sqlite3_commit_hook(r->d.store->db, k ? on_commit : NULL, NULL);
}

static void assert_agrees(struct rig *r)
{
	size_t vms = r->d.vm_count;

	assert_int_equal(rig_rows(r, "SELECT count(*) FROM vm"), vms);
	assert_true(rig_entries(r, "state/vms") <= vms);
	assert_true(rig_entries(r, "run/vms") <= vms);
	/* What could not be written is tried again. */
	RIG_UNTIL(r, rig_rows(r, "SELECT count(*) FROM journal WHERE owner NOT "
				 "IN (SELECT id FROM vm)") == 0);
}

static void life_with_faults(struct rig *r, const char *image)
{
	char body[128];
	struct answer a;

	(void)snprintf(body, sizeof(body),
		       "{\"image\":\"%s\",\"name\":\"a\",\"ephemeral\":true,"
		       "\"command\":[\"work\"]}",
		       image);
	rig_call(r, "POST", "/v1/vms?wait=5", "", body, &a);
	assert_non_null(a.json); /* an answer, whatever happened */
	answer_done(&a);
	rig_call(r, "POST", "/v1/vms/a/restart?wait=5", "", NULL, &a);
	assert_non_null(a.json);
	answer_done(&a);
	rig_call(r, "DELETE", "/v1/vms/a?force=true&wait=5", "", NULL, &a);
	assert_non_null(a.json);
	answer_done(&a);
}

static void remove_all(struct rig *r)
{
	struct answer a;

	while (r->d.vm_count) {
		rig_call(r, "DELETE", "/v1/vms/a?force=true&wait=5", "", NULL,
			 &a);
		if (strcmp(answer_text(&a, "state"), "succeeded") != 0)
			fail_msg("%s", a.body);
		answer_done(&a);
	}
}

static void test_every_write_may_fail(void **state)
{
	struct rig *r = *state;

	for (int forever = 0; forever < 2; forever++) {
		unsigned k = 1;

		for (;; k++) {
			set_fault(r, k, false, forever);
			life_with_faults(r, k % 2 ? "tiny" : "disk");
			if (fault.left > 0)
				break;
			set_fault(r, 0, false, false);
			assert_agrees(r);
			remove_all(r);
			rig_assert_nothing_left(r);
			assert_true(k < POINTS_MAX);
		}
		set_fault(r, 0, false, false);
		assert_true(k > 10); /* it has met them */
		rig_assert_nothing_left(r);
	}
}

static void whole_life(struct rig *r, unsigned k)
{
	life_with_faults(r, k % 2 ? "tiny" : "disk");
	if (fake_running() != 0)
		_exit(1);
}

/* In a child: it dies at the k-th commit, its children stay. */
static bool dies_at(struct rig *r, unsigned k,
		    void (*work)(struct rig *r, unsigned k))
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0) {
		rig_start(r);
		set_fault(r, k, true, false);
		work(r, k);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_true(WEXITSTATUS(status) == 7 || WEXITSTATUS(status) == 0);
	return WEXITSTATUS(status) == 7;
}

/* Of the children that were left to us none lives, or they are leaks. */
static bool all_children_ended(void)
{
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
	return errno == ECHILD;
}

static void test_death_at_every_write(void **state)
{
	struct rig *r = *state;
	unsigned k = 1;

	assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
	rig_drop(r);
	/* Processes of the dead daemon are found by working directory too. */
	fake_program(r->dir);
	for (; dies_at(r, k, whole_life); k++) {
		rig_start(r);
		RIG_UNTIL(r, rig_rows(r, "SELECT count(*) FROM operation WHERE "
					 "state='running'") == 0);
		assert_agrees(r);
		remove_all(r);
		rig_assert_nothing_left(r);
		RIG_UNTIL(r, rig_swept(r) && all_children_ended());
		rig_drop(r);
		assert_true(k < POINTS_MAX);
	}
	assert_true(k > 10);
	fake_program(NULL);
	(void)prctl(PR_SET_CHILD_SUBREAPER, 0);
}

static void ask_with_key(struct rig *r, unsigned k, const char *path,
			 const char *body, struct answer *ret)
{
	char header[48];

	(void)snprintf(header, sizeof(header), "Idempotency-Key: k%u-%zu\r\n",
		       k, strlen(path));
	rig_call(r, "POST", path, header, body, ret);
}

static void ask_for_vm(struct rig *r, unsigned k)
{
	struct answer a;

	ask_with_key(r, k, "/v1/vms?wait=5",
		     "{\"image\":\"tiny\",\"name\":\"a\"}", &a);
	answer_done(&a);
}

static void ask_for_image(struct rig *r, unsigned k)
{
	struct answer a;

	ask_with_key(r, k, "/v1/images?wait=5",
		     "{\"name\":\"new\",\"recipe\":\"tiny\"}", &a);
	answer_done(&a);
}

/* The daemon dies at any write; the client asks again with its key. */
static void once_for_a_key(struct rig *r,
			   void (*ask)(struct rig *r, unsigned k),
			   const char *count)
{
	unsigned k = 1;
	size_t before;

	rig_start(r);
	before = rig_rows(r, count);
	rig_drop(r);
	for (; dies_at(r, k, ask); k++) {
		rig_start(r);
		ask(r, k);
		assert_int_equal(rig_rows(r, count), ++before);
		remove_all(r);
		rig_assert_nothing_left(r);
		RIG_UNTIL(r, rig_swept(r) && all_children_ended());
		rig_drop(r);
		assert_true(k < POINTS_MAX);
	}
	assert_true(k > 3); /* it has died */
	rig_start(r);
	remove_all(r);
	rig_drop(r);
}

/* A build, and more operations after it than a page of them holds. */
static void build_and_much_else(struct rig *r, unsigned k)
{
	struct answer a;
	char hangs[128];

	(void)k;
	(void)snprintf(hangs, sizeof(hangs), "%s/hangs", r->dir);
	rig_file(r, "mode", "hang");
	rig_call(r, "POST", "/v1/images", "",
		 "{\"name\":\"new\",\"recipe\":\"tiny\"}", &a);
	assert_int_equal(a.status, 202);
	answer_done(&a);
	RIG_UNTIL(r, access(hangs, F_OK) == 0);
	assert_int_equal(
		sqlite3_exec(r->d.store->db,
			     "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL "
			     "SELECT i+1 FROM n WHERE i<1100) INSERT INTO "
			     "operation(id,kind,state,resource_kind,"
			     "resource_id,step,done,total,created_ms,"
			     "finished_ms) SELECT 'x'||i,'vm_stop',"
			     "'succeeded','vm','y','',0,0,1,1 FROM n",
			     NULL, NULL, NULL),
		SQLITE_OK);
	_exit(7);
}

static void test_old_build_of_a_dead_daemon_is_ended(void **state)
{
	struct rig *r = *state;

	assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
	rig_drop(r);
	assert_true(dies_at(r, 0, build_and_much_else));
	rig_start(r);
	RIG_UNTIL(r, rig_swept(r) && all_children_ended());
	(void)prctl(PR_SET_CHILD_SUBREAPER, 0);
}

static void test_keyed_request_happens_once(void **state)
{
	struct rig *r = *state;

	assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
	rig_drop(r);
	fake_program(r->dir);
	once_for_a_key(r, ask_for_vm,
		       "SELECT count(*) FROM operation WHERE "
		       "kind='vm_create'");
	once_for_a_key(r, ask_for_image,
		       "SELECT count(*) FROM operation WHERE "
		       "kind='image_build'");
	fake_program(NULL);
	(void)prctl(PR_SET_CHILD_SUBREAPER, 0);
}

/* A panic asks for a reset, too, and must not be an endless reboot. */
static void test_panic_is_a_crash(void **state)
{
	struct rig *r = *state;
	struct answer a;
	AUTO(free) char *id = rig_create(r, "\"name\":\"a\"", &a);

	answer_done(&a);
	fake_print(id, "Kernel panic - not syncing: in a file\r\n");
	fake_print(id, "[ 9.0] reboot: Restarting system\r\n");
	fake_end(id, VM_END_RESET);
	rig_expect(r, "GET", "/v1/vms/a/wait?state=ready", NULL, "state",
		   "ready");
	assert_int_equal(fake_starts, 2);
	fake_print(id, "[ 8.0] Kernel panic - not syncing: sysrq\r\n");
	fake_print(id, "[ 8.1] Call Trace:\r\n");
	fake_end(id, VM_END_RESET);
	rig_expect(r, "GET", "/v1/vms/a", NULL, "state", "failed");
	rig_expect(r, "GET", "/v1/vms/a", NULL, "error.code", "guest_crashed");
	rig_expect(r, "GET", "/v1/vms/a", NULL, "error.detail",
		   "the guest of VM 'a' crashed: Kernel panic - not syncing: "
		   "sysrq");
	assert_int_equal(fake_starts, 2);
}

/* The end of an operation that cannot be written is told all the same. */
static void test_full_database_is_survived(void **state)
{
	struct rig *r = *state;
	struct answer a;
	char path[96];

	free(rig_create(r, "\"name\":\"a\"", &a));
	answer_done(&a);
	rig_call(r, "POST", "/v1/vms/a/stop", "", "{}", &a);
	(void)snprintf(path, sizeof(path), "/v1/operations/%s",
		       answer_text(&a, "id"));
	answer_done(&a);
	set_fault(r, 1, false, true);
	RIG_UNTIL(r, !fake_running());
	rig_expect(r, "GET", path, NULL, "state",
		   "succeeded"); /* not "running" for ever */
	rig_expect(r, "GET", "/v1/vms/a", NULL, "state", "stopped");
	rig_expect(r, "DELETE", path, NULL, "code", "operation_finished");
	rig_call(r, "POST", "/v1/vms/a/start", "", NULL, &a);
	assert_int_equal(a.status, 500);
	answer_done(&a);
	set_fault(r, 0, false, false);
	remove_all(r);
	rig_assert_nothing_left(r);
}

/* The client waits, loses patience and asks again with its key. */
static void test_build_is_not_asked_for_twice(void **state)
{
	static const char body[] = "{\"name\":\"new\",\"recipe\":\"tiny\"}";
	struct rig *r = *state;
	struct answer first, again;

	rig_file(r, "mode", "hang");
	rig_call(r, "POST", "/v1/images?wait=1", "Idempotency-Key: b\r\n", body,
		 &first);
	rig_call(r, "POST", "/v1/images?wait=1", "Idempotency-Key: b\r\n", body,
		 &again);
	assert_int_equal(again.status, 202);
	assert_string_equal(answer_text(&again, "state"), "running");
	assert_string_equal(
		json_string_value(json_object_get(first.json, "id")),
		json_string_value(json_object_get(again.json, "id")));
	answer_done(&first);
	answer_done(&again);
	/* The daemon goes during the build: so does the build. */
	rig_drop(r);
	rig_start(r);
	assert_int_equal(rig_rows(r, "SELECT count(*) FROM journal"), 0);
}

/* Removing trees takes long: neither a start nor a request waits for it. */
static void test_sweep_is_not_waited_for(void **state)
{
	struct rig *r = *state;
	char path[128];
	struct answer a;
	pid_t pid;

	RIG_UNTIL(r, rig_swept(r));
	rig_drop(r);
	(void)snprintf(path, sizeof(path), "%s/state/images/staging/x", r->dir);
	assert_int_equal(mkdir(path, 0700), 0);
	rig_file(r, "sweep-hangs", "");
	rig_start(r);
	assert_non_null(r->d.sweep);
	pid = task_pid(r->d.sweep);
	rig_file(r, "mode", "fail");
	rig_call(r, "POST", "/v1/images?wait=5", "",
		 "{\"name\":\"new\",\"recipe\":\"tiny\"}", &a);
	assert_string_equal(answer_text(&a, "error.code"), "disk_full");
	answer_done(&a);
	assert_int_equal(task_pid(r->d.sweep), pid); /* one at a time */
	assert_true(rig_entries(r, "state/images/staging") > 0);
	/* It goes with the daemon, and the next one does it. */
	rig_drop(r);
	(void)waitpid(pid, NULL, 0);
	assert_int_equal(kill(pid, 0), -1);
	(void)snprintf(path, sizeof(path), "%s/sweep-hangs", r->dir);
	assert_int_equal(unlink(path), 0);
	rig_start(r);
	RIG_UNTIL(r, rig_entries(r, "state/images/staging") == 0);
	RIG_UNTIL(r, rig_swept(r));
	assert_int_equal(rig_rows(r, "SELECT count(*) FROM journal"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(test_many_lives_leave_nothing),
		RIG_TEST(test_every_write_may_fail),
		RIG_TEST(test_death_at_every_write),
		RIG_TEST(test_old_build_of_a_dead_daemon_is_ended),
		RIG_TEST(test_keyed_request_happens_once),
		RIG_TEST(test_panic_is_a_crash),
		RIG_TEST(test_full_database_is_survived),
		RIG_TEST(test_build_is_not_asked_for_twice),
		RIG_TEST(test_sweep_is_not_waited_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
