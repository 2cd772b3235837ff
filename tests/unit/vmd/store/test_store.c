/* SPDX-License-Identifier: Apache-2.0 */
/* The store: rows come back as they went in; versions; identifiers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmd/http/ws.h"
#include "vmd/store/store.h"

static char path[64];

static int setup(void **state)
{
	struct err e = ERR_INIT;
	int fd;

	(void)strcpy(path, "/tmp/vmd-store-XXXXXX");
	fd = mkstemp(path);
	assert_true(fd >= 0);
	close(fd);
	*state = store_open(path, &e);
	assert_non_null(*state);
	return 0;
}

static int teardown(void **state)
{
	char name[80];

	store_close(*state);
	(void)unlink(path);
	(void)snprintf(name, sizeof(name), "%s-wal", path);
	(void)unlink(name);
	(void)snprintf(name, sizeof(name), "%s-shm", path);
	(void)unlink(name);
	return 0;
}

static struct vm_row sample(const char *name)
{
	struct vm_row r = { .state = API_VM_READY,
			    .emulated = true,
			    .has_exit = true,
			    .exit_status = 7,
			    .exit_signal = 9,
			    .memory_bytes = UINT64_C(1) << 40,
			    .disk_bytes = 5,
			    .created_ms = 1,
			    .started_ms = 2,
			    .ready_ms = 3,
			    .expires_ms = 4,
			    .revision = 11,
			    .error = {
				    .kind = ERR_TIMEOUT,
				    .code = "guest_not_ready",
				    .msg = "it's \"quoted\"; DROP TABLE vm" } };

	id_new(r.id);
	(void)snprintf(r.name, sizeof(r.name), "%s", name);
	(void)strcpy(r.image, "tiny");
	(void)strcpy(r.image_id, "abc");
	(void)strcpy(r.reason, "why");
	(void)strcpy(r.engine, "qemu");
	(void)strcpy(r.engine_reason, "because");
	(void)strcpy(r.agent_release, "6.1");
	(void)strcpy(r.agent_version, "0.1");
	r.spec = strdup("{\"vcpus\":1}");
	return r;
}

static void compare(void *ctx, struct vm_row *row)
{
	struct vm_row *want = ctx;
	char *spec = row->spec;

	assert_string_equal(spec, want->spec);
	row->spec = want->spec;
	row->error.sys = want->error.sys;
	assert_string_equal(row->error.msg, want->error.msg);
	row->error = want->error;
	assert_memory_equal(row, want, offsetof(struct vm_row, state));
	assert_int_equal(row->state, want->state);
	assert_string_equal(row->reason, want->reason);
	assert_string_equal(row->engine_reason, want->engine_reason);
	assert_int_equal(row->emulated, want->emulated);
	assert_int_equal(row->exit_status, 7);
	assert_int_equal(row->exit_signal, 9);
	assert_int_equal(row->memory_bytes, want->memory_bytes);
	assert_int_equal(row->expires_ms, 4);
	assert_int_equal(row->ready_ms, 3);
	assert_int_equal(row->revision, want->revision);
	assert_string_equal(row->agent_version, "0.1");
	row->spec = spec;
}

static void test_vm_rows(void **state)
{
	struct vm_row row = sample("a"), twin = sample("a");
	struct err e = ERR_INIT;

	assert_int_equal(store_vm_insert(*state, &row, &e), 0);
	assert_true(store_vm_insert(*state, &twin, &e) < 0);
	assert_string_equal(e.code, "name_taken");
	assert_int_equal(store_vm_each(*state, compare, &row, &e), 0);
	row.state = API_VM_FAILED;
	row.revision++;
	assert_int_equal(store_vm_update(*state, &row, &e), 0);
	assert_int_equal(store_vm_each(*state, compare, &row, &e), 0);
	assert_int_equal(store_vm_delete(*state, row.id, &e), 0);
	assert_int_equal(store_vm_insert(*state, &twin, &e), 0);
	vm_row_done(&row);
	vm_row_done(&twin);
}

static void count_row(void *ctx, const struct op_row *row)
{
	(void)row;
	(*(unsigned *)ctx)++;
}

static void test_operations_are_pruned(void **state)
{
	struct op_row op = { .state = API_OP_SUCCEEDED,
			     .kind = "vm_stop",
			     .resource_kind = "vm",
			     .created_ms = 1 };
	struct op_row running = op, got;
	unsigned n = 0;

	running.state = API_OP_RUNNING;
	id_new(running.id);
	assert_int_equal(store_op_put(*state, &running, NULL), 0);
	for (int i = 0; i < 50; i++) {
		id_new(op.id);
		assert_int_equal(store_op_put(*state, &op, NULL), 0);
	}
	assert_int_equal(store_prune(*state, 10, NULL), 0);
	assert_int_equal(store_op_each(*state, 0, 1000, count_row, &n, NULL),
			 11); /* a running one is never forgotten */
	assert_int_equal(n, 11);
	assert_int_equal(store_op_get(*state, running.id, &got, NULL), 0);
	assert_int_equal(got.state, API_OP_RUNNING);
}

static void test_newer_file_is_refused(void **state)
{
	struct err e = ERR_INIT;
	sqlite3 *db;

	store_close(*state);
	*state = NULL;
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "PRAGMA user_version=99", NULL, NULL,
				      NULL),
			 SQLITE_OK);
	(void)sqlite3_close(db);
	assert_null(store_open(path, &e));
	assert_string_equal(e.code, "state_too_new");
}

static void test_garbage_is_refused(void **state)
{
	struct err e = ERR_INIT;
	FILE *f;

	store_close(*state);
	*state = NULL;
	f = fopen(path, "w");
	for (int i = 0; i < 1000; i++)
		(void)fputs("this is no database ", f);
	(void)fclose(f);
	assert_null(store_open(path, &e));
	assert_string_equal(e.code, "database_corrupt");
}

static void test_ids_and_keys(void **state)
{
	char a[ID_LEN + 1], b[ID_LEN + 1], accept[29];

	(void)state;
	id_new(a);
	id_new(b);
	assert_string_not_equal(a, b);
	assert_true(api_id_ok(a));
	assert_false(api_id_ok("../etc"));
	assert_false(api_id_ok("ABCDEFGHIJKLMNOPQRSTUVWXYZ"));
	assert_true(ws_accept_key("dGhlIHNhbXBsZSBub25jZQ==", accept));
	assert_string_equal(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
	assert_false(ws_accept_key("dGhlIHNhbXBsZSBub25jZQ=", accept));
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_vm_rows),
		TEST(test_operations_are_pruned),
		TEST(test_newer_file_is_refused),
		TEST(test_garbage_is_refused),
		TEST(test_ids_and_keys),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
