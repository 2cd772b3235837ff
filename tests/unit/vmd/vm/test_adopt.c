/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon goes, VMs stay; a new daemon judges what it finds. */
#include "tests/unit/test.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/process.h"
#include "rig.h"
#include "vmd/id.h"
#include "vmd/store/store_sql.h"

static struct vm *only_vm(struct rig *r)
{
	return LIST_FIRST(&r->d.vms);
}

static bool is_ready(struct rig *r, const char *id)
{
	struct vm *vm = vm_find_id(&r->d, id);

	return vm && vm->row.state == API_VM_READY;
}

static void test_running_vms_are_adopted(void **state)
{
	struct rig *r = *state;
	struct answer a;
	char *ids[3];

	for (int i = 0; i < 3; i++) {
		ids[i] = rig_create(r, "", &a);
		answer_done(&a);
	}
	for (int round = 0; round < 3; round++) {
		rig_drop(r);
		assert_int_equal(fake_running(), 3);
		rig_start(r);
		assert_int_equal(r->d.count.vms_adopted, 3);
		for (int i = 0; i < 3; i++)
			RIG_UNTIL(r, is_ready(r, ids[i]));
	}
	assert_int_equal(fake_starts, 3);
	for (int i = 0; i < 3; i++) {
		char path[96];

		(void)snprintf(path, sizeof(path), "/v1/vms/%s/stop?wait=5",
			       ids[i]);
		rig_expect(r, "POST", path, NULL, "state", "succeeded");
		free(ids[i]);
	}
	assert_int_equal(fake_running(), 0);
}

static void test_ends_while_away_are_told(void **state)
{
	struct rig *r = *state;
	struct answer a;
	AUTO(free) char *off = rig_create(r, "\"name\":\"off\"", &a);
	AUTO(free) char *crash = NULL, *gone = NULL;

	answer_done(&a);
	crash = rig_create(r, "\"name\":\"crash\"", &a);
	answer_done(&a);
	gone = rig_create(r, "\"ephemeral\":true", &a);
	answer_done(&a);
	rig_drop(r);
	fake_end(off, VM_END_POWEROFF);
	fake_end(crash, VM_END_CRASH);
	fake_end(gone, VM_END_POWEROFF);
	rig_start(r);
	assert_int_equal(r->d.vm_count, 2);
	rig_expect(r, "GET", "/v1/vms/off", NULL, "state", "stopped");
	rig_expect(r, "GET", "/v1/vms/crash", NULL, "state", "failed");
	assert_int_equal(rig_entries(r, "state/vms"), 2);
}

static void append_console(struct rig *r, const char *id, const char *text)
{
	char path[160];
	FILE *f;

	(void)snprintf(path, sizeof(path), "%s/run/vms/%s/console.log", r->dir,
		       id);
	f = fopen(path, "ae");
	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

/* Both ask for a reset: the console's log tells them apart. */
static void test_panic_while_away_is_no_reboot(void **state)
{
	struct rig *r = *state;
	struct answer a;
	AUTO(free) char *panic = rig_create(r, "\"name\":\"panic\"", &a);
	AUTO(free) char *reboot = NULL;

	answer_done(&a);
	reboot = rig_create(r, "\"name\":\"reboot\"", &a);
	answer_done(&a);
	rig_drop(r);
	append_console(r, panic,
		       "[ 8.0] Kernel panic - not syncing: sysrq\r\n");
	append_console(r, reboot, "[ 8.0] reboot: Restarting system\r\n");
	fake_end(panic, VM_END_RESET);
	fake_end(reboot, VM_END_RESET);
	rig_start(r);
	RIG_UNTIL(r, is_ready(r, reboot));
	assert_int_equal(fake_starts, 3);
	rig_call(r, "GET", "/v1/vms/panic", "", NULL, &a);
	assert_string_equal(answer_text(&a, "state"), "failed");
	assert_string_equal(answer_text(&a, "error.code"), "guest_crashed");
	assert_non_null(strstr(answer_text(&a, "error.detail"), "sysrq"));
	answer_done(&a);
}

static void test_cannot_be_judged_is_unknown(void **state)
{
	struct rig *r = *state;
	AUTO(free) char *id = NULL;
	struct answer a;

	id = rig_create(r, "\"name\":\"odd\"", &a);
	answer_done(&a);
	rig_drop(r);
	fake_fault = FAKE_ADOPT_FAILS;
	rig_start(r);
	rig_call(r, "GET", "/v1/vms/odd", "", NULL, &a);
	assert_string_equal(answer_text(&a, "state"), "unknown");
	assert_non_null(strstr(answer_text(&a, "reason"), "nonsense"));
	answer_done(&a);
	assert_int_equal(fake_running(), 1); /* nothing was touched */
	rig_expect(r, "POST", "/v1/vms/odd/start", NULL, "code", "wrong_state");
	rig_expect(r, "DELETE", "/v1/vms/odd", NULL, "code", "wrong_state");
	rig_drop(r);
	fake_fault = FAKE_OK;
	rig_start(r);
	RIG_UNTIL(r, is_ready(r, id));
	rig_drop(r);
	fake_fault = FAKE_ADOPT_FAILS;
	rig_start(r);
	rig_expect(r, "POST", "/v1/vms/odd/stop", NULL, "code", "wrong_state");
	rig_expect(r, "POST", "/v1/vms/odd/stop?wait=5", "{\"force\":true}",
		   "state", "succeeded");
	assert_int_equal(fake_living(), 0);
	rig_expect(r, "GET", "/v1/vms/odd", NULL, "reason",
		   "it was ended by force");
	rig_expect(r, "POST", "/v1/vms/odd/start?wait=5", NULL, "state",
		   "succeeded");
	rig_drop(r);
	rig_start(r);
	rig_expect(r, "DELETE", "/v1/vms/odd?force=true&wait=5", NULL, "state",
		   "succeeded");
	assert_int_equal(fake_living(), 0);
	assert_int_equal(rig_entries(r, "state/vms"), 0);
}

/* Whatever its row says of its state: nothing of it is touched. */
static void test_damaged_record_is_unknown(void **state)
{
	struct rig *r = *state;
	struct answer a;

	free(rig_create(r, "\"name\":\"web\"", &a));
	answer_done(&a);
	rig_expect(r, "POST", "/v1/vms/web/stop?wait=5", NULL, "state",
		   "succeeded");
	assert_int_equal(
		store_exec(r->d.store, NULL, "UPDATE vm SET spec='{'", ""), 0);
	rig_drop(r);
	rig_start(r);
	assert_int_equal(only_vm(r)->state, VM_UNKNOWN);
	assert_non_null(strstr(only_vm(r)->row.reason, "is damaged"));
	/* What was wished for it is not known, and is not made up. */
	rig_call(r, "GET", "/v1/vms/web", "", NULL, &a);
	assert_int_equal(a.status, 200);
	assert_true(json_is_null(json_object_get(a.json, "vcpus")));
	answer_done(&a);
	rig_expect(r, "POST", "/v1/vms/web/stop?wait=5", "{\"force\":true}",
		   "state", "succeeded");
	rig_expect(r, "POST", "/v1/vms/web/start?wait=5", NULL, "error.code",
		   "record_damaged");
	rig_expect(r, "GET", "/v1/vms/web", NULL, "state", "failed");
	rig_expect(r, "DELETE", "/v1/vms/web?force=true&wait=5", NULL, "state",
		   "succeeded");
	rig_assert_nothing_left(r);
}

/* One with a command has no lease; whether it has one is not known. */
static void test_damaged_record_ends_no_lease(void **state)
{
	struct rig *r = *state;
	struct answer a;

	free(rig_create(r, "\"ephemeral\":true,\"command\":[\"work\"]", &a));
	answer_done(&a);
	assert_int_equal(
		store_exec(r->d.store, NULL, "UPDATE vm SET spec='{'", ""), 0);
	r->config.lease_ms = 100;
	rig_drop(r);
	rig_start(r);
	rig_spin(r, 300);
	assert_int_equal(fake_running(), 1);
	assert_int_equal(only_vm(r)->state, VM_UNKNOWN);
}

/* As kill -9 leaves it: the child still runs, the rows say "creating". */
static void test_half_made_vm_is_rolled_back(void **state)
{
	struct rig *r = *state;
	struct journal_row *rows = NULL;
	struct process_exit end;
	struct process p = PROCESS_INIT;
	struct answer a;
	size_t count;
	char op[64];
	struct vm *vm;

	rig_file(r, "mode", "hang");
	rig_call(r, "POST", "/v1/vms", "", "{\"image\":\"disk\"}", &a);
	(void)snprintf(op, sizeof(op), "/v1/operations/%s",
		       answer_text(&a, "operation.id"));
	answer_done(&a);
	RIG_UNTIL(r, rig_rows(r, "SELECT count(*) FROM journal") == 3);
	vm = LIST_FIRST(&r->d.vms);
	assert_non_null(vm->clone);
	assert_int_equal(
		store_journal_list(r->d.store, NULL, &rows, &count, NULL), 0);
	assert_int_equal(count, 3); /* two directories and the task */
	assert_int_equal(rows[2].kind, JOURNAL_TASK);
	assert_int_equal(
		process_adopt(rows[2].pid, rows[2].start_time, &p, NULL), 0);
	free(rows);
	task_abandon(vm->clone); /* the daemon forgets, the child does not */
	vm->clone = NULL;
	rig_drop(r);
	rig_start(r);
	assert_int_equal(process_wait(&p, 2000, &end), 0);
	process_close(&p);
	(void)waitpid(-1, NULL, WNOHANG);
	assert_int_equal(r->d.vm_count, 0);
	assert_int_equal(rig_entries(r, "state/vms"), 0);
	assert_int_equal(
		store_journal_list(r->d.store, NULL, &rows, &count, NULL), 0);
	free(rows);
	assert_int_equal(count, 0);
	rig_call(r, "GET", op, "", NULL, &a);
	assert_string_equal(answer_text(&a, "state"), "failed");
	assert_string_equal(answer_text(&a, "error.code"), "daemon_restarted");
	answer_done(&a);
}

static void test_orphans_are_swept(void **state)
{
	static const char *const argv[] = { "sleep", "1000", NULL };
	const char *owner = "abcdefghijklmnopqrstuvwxyz";
	struct process_spec spec = { .argv = argv };
	struct process ours = PROCESS_INIT, reused = PROCESS_INIT;
	struct process_exit end;
	struct rig *r = *state;
	char path[160];
	struct journal_row row = { .kind = JOURNAL_PROCESS, .name = "monitor" };

	(void)snprintf(path, sizeof(path), "%s/vms/%s/x", r->run, owner);
	assert_int_equal(file_make_dirs(path, 0700, NULL), 0);
	(void)snprintf(path, sizeof(path), "%s/vms/%s", r->state, owner);
	assert_int_equal(file_make_dirs(path, 0700, NULL), 0);
	assert_int_equal(process_spawn(&spec, &ours, NULL), 0);
	assert_int_equal(process_spawn(&spec, &reused, NULL), 0);
	memcpy(row.owner, owner, sizeof(row.owner));
	row.pid = ours.pid;
	row.start_time = ours.start_time;
	assert_int_equal(store_journal_add(r->d.store, &row, NULL), 0);
	(void)strcpy(row.name, "passt");
	row.pid = reused.pid;
	row.start_time = reused.start_time - 1; /* somebody else's pid now */
	assert_int_equal(store_journal_add(r->d.store, &row, NULL), 0);
	rig_drop(r);
	rig_start(r);
	assert_int_equal(rig_entries(r, "state/vms"), 0);
	assert_int_equal(rig_entries(r, "run/vms"), 0);
	assert_int_equal(process_wait(&ours, 2000, &end), 0);
	assert_int_equal(end.signal, 9);
	assert_false(process_reap(&reused, &end));
	(void)process_signal(&reused, 9);
	(void)process_wait(&reused, 2000, &end);
	process_close(&ours);
	process_close(&reused);
}

static void test_second_daemon_is_refused(void **state)
{
	struct rig *r = *state;
	struct err e = ERR_INIT;
	struct daemon other;

	assert_true(daemon_open(&other, r->loop, &r->config, &e) < 0);
	assert_string_equal(e.code, "already_running");
	daemon_close(&other);
}

static void test_command_is_not_run_twice(void **state)
{
	struct rig *r = *state;
	struct answer a;
	AUTO(free)
	char *id = rig_create(r, "\"name\":\"job\",\"command\":[\"work\"]", &a);

	answer_done(&a);
	rig_drop(r);
	rig_start(r);
	RIG_UNTIL(r, is_ready(r, id));
	rig_spin(r, 50); /* time for a second one */
	assert_int_equal(fake_detached, 1);
	fake_command_ends(id, 3);
	rig_call(r, "GET", "/v1/vms/job/wait?state=exited", "", NULL, &a);
	assert_string_equal(answer_text(&a, "exit.status"), "3");
	assert_string_equal(answer_text(&a, "state"), "ready");
	answer_done(&a);
}

/* A guest that never gets ready: its time is up under the next daemon, too, and
 * then what happens is what happens without a restart. */
static void test_adopted_start_keeps_its_deadline(void **state)
{
	static const char *const extra[] = { "", ",\"ephemeral\":true,"
						 "\"command\":[\"work\"]" };
	struct rig *r = *state;
	struct answer a;

	fake_fault = FAKE_NEVER_READY;
	for (size_t i = 0; i < ARRAY_LEN(extra); i++) {
		char body[160];

		(void)snprintf(body, sizeof(body),
			       "{\"image\":\"tiny\",\"name\":\"w\","
			       "\"ready_timeout_seconds\":3%s}",
			       extra[i]);
		rig_call(r, "POST", "/v1/vms", "", body, &a);
		assert_int_equal(a.status, 202);
		answer_done(&a);
		RIG_UNTIL(r, only_vm(r)->row.state == API_VM_RUNNING);
		rig_drop(r);
		rig_start(r);
		assert_non_null(only_vm(r)->handle);
		assert_true(loop_timer_armed(&only_vm(r)->timer));
		if (i == 1) {
			RIG_UNTIL(r, !only_vm(r));
			break;
		}
		RIG_UNTIL(r, only_vm(r)->row.state == API_VM_FAILED);
		assert_string_equal(only_vm(r)->row.error.code,
				    "guest_not_ready");
		rig_expect(r, "DELETE", "/v1/vms/w?wait=5", NULL, "state",
			   "succeeded");
	}
	assert_int_equal(fake_running(), 0);
}

/* One that was ready once is not on trial again. */
static void test_adopted_ready_vm_has_no_deadline(void **state)
{
	struct rig *r = *state;
	struct answer a;
	AUTO(free)
	char *id = rig_create(r, "\"ready_timeout_seconds\":1", &a);

	answer_done(&a);
	rig_drop(r);
	rig_start(r);
	assert_false(loop_timer_armed(&only_vm(r)->timer));
	RIG_UNTIL(r, is_ready(r, id));
	assert_false(loop_timer_armed(&only_vm(r)->timer));
}

/* The guest ends before it was ready, while no daemon runs: a failed start. */
static void test_start_that_ends_while_away_has_failed(void **state)
{
	struct rig *r = *state;
	struct answer a;
	char id[ID_LEN + 1];

	fake_fault = FAKE_NEVER_READY;
	rig_call(r, "POST", "/v1/vms", "", "{\"image\":\"tiny\"}", &a);
	answer_done(&a);
	RIG_UNTIL(r, only_vm(r)->row.state == API_VM_RUNNING);
	memcpy(id, only_vm(r)->row.id, sizeof(id));
	rig_drop(r);
	fake_end(id, VM_END_POWEROFF);
	rig_start(r);
	assert_int_equal(only_vm(r)->row.state, API_VM_FAILED);
	assert_string_equal(only_vm(r)->row.error.code, "guest_ended");
	assert_null(only_vm(r)->console); /* kept by those that run only */
}

static uint64_t thread_cpu_us(void)
{
	struct timespec t;

	assert_int_equal(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t), 0);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* What judging so many more stopped VMs takes of the processor. */
static uint64_t start_with_more(struct rig *r, unsigned more)
{
	struct err e = ERR_INIT;
	uint64_t before;

	assert_int_equal(store_begin(r->d.store, &e), 0);
	for (unsigned i = 0; i < more; i++) {
		struct vm_row row = { .state = API_VM_STOPPED, .revision = 1 };
		struct journal_row dir = { .kind = JOURNAL_STATE_DIR };
		char spec[] = "{\"image\":\"tiny\"}";

		id_new(row.id);
		(void)snprintf(row.name, sizeof(row.name), "n-%.30s", row.id);
		(void)snprintf(row.image, sizeof(row.image), "tiny");
		row.spec = spec;
		memcpy(dir.owner, row.id, sizeof(dir.owner));
		memcpy(dir.name, row.id, sizeof(row.id));
		assert_true(store_vm_insert(r->d.store, &row, &e) >= 0);
		assert_true(store_journal_add(r->d.store, &dir, &e) >= 0);
	}
	assert_int_equal(store_commit(r->d.store, &e), 0);
	rig_drop(r);
	before = thread_cpu_us();
	rig_start(r);
	return thread_cpu_us() - before;
}

/* Twenty times the records may take about twenty times the work, not 400. */
static void test_judging_grows_with_the_records(void **state)
{
	struct rig *r = *state;
	uint64_t few = start_with_more(r, 500);
	uint64_t many = start_with_more(r, 9500);

	assert_int_equal(r->d.vm_count, 10000);
	print_message("500 records: %llu us, 10000: %llu us\n",
		      (unsigned long long)few, (unsigned long long)many);
	assert_true(many < few * 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(test_running_vms_are_adopted),
		RIG_TEST(test_ends_while_away_are_told),
		RIG_TEST(test_panic_while_away_is_no_reboot),
		RIG_TEST(test_cannot_be_judged_is_unknown),
		RIG_TEST(test_damaged_record_is_unknown),
		RIG_TEST(test_damaged_record_ends_no_lease),
		RIG_TEST(test_half_made_vm_is_rolled_back),
		RIG_TEST(test_orphans_are_swept),
		RIG_TEST(test_second_daemon_is_refused),
		RIG_TEST(test_command_is_not_run_twice),
		RIG_TEST(test_adopted_start_keeps_its_deadline),
		RIG_TEST(test_adopted_ready_vm_has_no_deadline),
		RIG_TEST(test_start_that_ends_while_away_has_failed),
		RIG_TEST(test_judging_grows_with_the_records),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
