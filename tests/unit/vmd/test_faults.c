/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Nothing may be left: not after many lives of a VM, not when any write to the
 * database fails, not when the daemon dies at any of them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "rig.h"
#include "vmd/store_sql.h"
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

static size_t open_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	size_t n = 0;

	assert_non_null(dir);
	while (readdir(dir))
		n++;
	(void)closedir(dir);
	return n;
}

static size_t journal_rows(struct rig *r)
{
	struct journal_row *rows = NULL;
	size_t count = 0;

	assert_int_equal(
		store_journal_list(r->d.store, NULL, &rows, &count, NULL), 0);
	free(rows);
	return count;
}

static size_t table_rows(struct rig *r, const char *sql)
{
	AUTO(stmt) sqlite3_stmt *stmt = NULL;

	assert_int_equal(store_prepare(r->d.store, sql, &stmt, NULL), 0);
	assert_int_equal(store_step(r->d.store, stmt, NULL), 1);
	return (size_t)sqlite3_column_int64(stmt, 0);
}

static void assert_nothing_left(struct rig *r)
{
	assert_int_equal(r->d.vm_count, 0);
	assert_int_equal(fake_living(), 0);
	assert_int_equal(rig_entries(r, "state/vms"), 0);
	assert_int_equal(rig_entries(r, "run/vms"), 0);
	assert_int_equal(journal_rows(r), 0);
	assert_int_equal(table_rows(r, "SELECT count(*) FROM vm"), 0);
}

static void call_ok(struct rig *r, const char *method, const char *path,
		    const char *body)
{
	struct answer a;

	rig_call(r, method, path, "", body, &a);
	if (strcmp(answer_text(&a, "state"), "succeeded") != 0)
		fail_msg("%s %s: %s", method, path, a.body);
	answer_done(&a);
}

static void one_life(struct rig *r)
{
	struct answer a;

	free(rig_create(r, "\"name\":\"a\"", &a));
	assert_string_equal(answer_text(&a, "vm.state"), "ready");
	answer_done(&a);
	call_ok(r, "POST", "/v1/vms/a/stop?wait=5", "{}");
	call_ok(r, "POST", "/v1/vms/a/start?wait=5", NULL);
	call_ok(r, "DELETE", "/v1/vms/a?force=true&wait=5", NULL);
}

static void test_many_lives_leave_nothing(void **state)
{
	struct rig *r = *state;
	size_t fds;

	one_life(r);
	rig_until(r, rig_swept, NULL);
	rig_spin(r, 20);
	fds = open_fds();
	for (int i = 0; i < CYCLES; i++)
		one_life(r);
	rig_spin(r, 20);
	assert_nothing_left(r);
	assert_int_equal(open_fds(), fds);
	assert_int_equal(fake_starts, 2 * (CYCLES + 1));
	assert_int_equal(table_rows(r, "SELECT count(*) FROM operation"),
			 r->config.keep_operations);
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

/* What could not be written is tried again. */
static bool no_orphan_rows(struct rig *r, void *arg)
{
	(void)arg;
	return table_rows(r, "SELECT count(*) FROM journal WHERE owner NOT IN "
			     "(SELECT id FROM vm)") == 0;
}

static void assert_agrees(struct rig *r)
{
	size_t vms = r->d.vm_count;

	assert_int_equal(table_rows(r, "SELECT count(*) FROM vm"), vms);
	assert_true(rig_entries(r, "state/vms") <= vms);
	assert_true(rig_entries(r, "run/vms") <= vms);
	rig_until(r, no_orphan_rows, NULL);
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
			assert_nothing_left(r);
			assert_true(k < POINTS_MAX);
		}
		set_fault(r, 0, false, false);
		assert_true(k > 10); /* it has met them */
		assert_nothing_left(r);
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

/* Children that were left to us; they are dead or they are leaks. */
static unsigned count_left_children(void)
{
	uint64_t end = 500;
	unsigned living = 0;
	siginfo_t info;

	do {
		info.si_pid = 0;
		if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG) < 0)
			return 0;
		if (!info.si_pid) {
			living = 1;
			(void)usleep(10000);
		}
	} while (end-- > 0);
	return living;
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
		rig_spin(r, 20);
		assert_agrees(r);
		assert_int_equal(
			table_rows(r, "SELECT count(*) FROM operation WHERE "
				      "state='running'"),
			0);
		remove_all(r);
		assert_nothing_left(r);
		assert_int_equal(count_left_children(), 0);
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
	before = table_rows(r, count);
	rig_drop(r);
	for (; dies_at(r, k, ask); k++) {
		rig_start(r);
		ask(r, k);
		assert_int_equal(table_rows(r, count), ++before);
		remove_all(r);
		assert_nothing_left(r);
		assert_int_equal(count_left_children(), 0);
		rig_drop(r);
		assert_true(k < POINTS_MAX);
	}
	assert_true(k > 3); /* it has died */
	rig_start(r);
	remove_all(r);
	rig_drop(r);
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

static void assert_vm(struct rig *r, const char *path, const char *what,
		      const char *want)
{
	struct answer a;

	rig_call(r, "GET", path, "", NULL, &a);
	assert_string_equal(answer_text(&a, what), want);
	answer_done(&a);
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
	rig_call(r, "GET", "/v1/vms/a/wait?state=ready", "", NULL, &a);
	assert_string_equal(answer_text(&a, "state"), "ready");
	answer_done(&a);
	assert_int_equal(fake_starts, 2);
	fake_print(id, "[ 8.0] Kernel panic - not syncing: sysrq\r\n");
	fake_print(id, "[ 8.1] Call Trace:\r\n");
	fake_end(id, VM_END_RESET);
	assert_vm(r, "/v1/vms/a", "state", "failed");
	assert_vm(r, "/v1/vms/a", "error.code", "guest_crashed");
	assert_vm(r, "/v1/vms/a", "error.detail",
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
	rig_spin(r, 100);
	assert_vm(r, path, "state", "succeeded"); /* not "running" for ever */
	assert_vm(r, "/v1/vms/a", "state", "stopped");
	rig_call(r, "DELETE", path, "", NULL, &a);
	assert_string_equal(answer_code(&a), "operation_finished");
	answer_done(&a);
	rig_call(r, "POST", "/v1/vms/a/start", "", NULL, &a);
	assert_int_equal(a.status, 500);
	answer_done(&a);
	set_fault(r, 0, false, false);
	remove_all(r);
	assert_nothing_left(r);
}

static void make_file(struct rig *r, const char *name, const char *text)
{
	char path[128];
	FILE *f;

	(void)snprintf(path, sizeof(path), "%s/%s", r->dir, name);
	f = fopen(path, "we");
	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

/* The client waits, loses patience and asks again with its key. */
static void test_build_is_not_asked_for_twice(void **state)
{
	static const char body[] = "{\"name\":\"new\",\"recipe\":\"tiny\"}";
	struct rig *r = *state;
	struct answer first, again;

	make_file(r, "mode", "hang");
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
	assert_int_equal(journal_rows(r), 0);
}

static bool staging_is_empty(struct rig *r, void *arg)
{
	(void)arg;
	return rig_entries(r, "state/images/staging") == 0;
}

/* Removing trees takes long: neither a start nor a request waits for it. */
static void test_sweep_is_not_waited_for(void **state)
{
	struct rig *r = *state;
	char path[128];
	struct answer a;
	pid_t pid;

	rig_until(r, rig_swept, NULL);
	rig_drop(r);
	(void)snprintf(path, sizeof(path), "%s/state/images/staging/x", r->dir);
	assert_int_equal(mkdir(path, 0700), 0);
	make_file(r, "sweep-hangs", "");
	rig_start(r);
	assert_non_null(r->d.sweep);
	pid = task_pid(r->d.sweep);
	make_file(r, "mode", "fail");
	rig_call(r, "POST", "/v1/images?wait=5", "",
		 "{\"name\":\"new\",\"recipe\":\"tiny\"}", &a);
	assert_string_equal(answer_text(&a, "error.code"), "disk_full");
	answer_done(&a);
	assert_int_equal(task_pid(r->d.sweep), pid); /* one at a time */
	assert_false(staging_is_empty(r, NULL));
	/* It goes with the daemon, and the next one does it. */
	rig_drop(r);
	(void)waitpid(pid, NULL, 0);
	assert_int_equal(kill(pid, 0), -1);
	(void)snprintf(path, sizeof(path), "%s/sweep-hangs", r->dir);
	assert_int_equal(unlink(path), 0);
	rig_start(r);
	rig_until(r, staging_is_empty, NULL);
	rig_until(r, rig_swept, NULL);
	assert_int_equal(journal_rows(r), 0);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, rig_setup, rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_many_lives_leave_nothing),
		TEST(test_every_write_may_fail),
		TEST(test_death_at_every_write),
		TEST(test_keyed_request_happens_once),
		TEST(test_panic_is_a_crash),
		TEST(test_full_database_is_survived),
		TEST(test_build_is_not_asked_for_twice),
		TEST(test_sweep_is_not_waited_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
