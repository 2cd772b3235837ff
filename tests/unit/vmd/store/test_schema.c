/* SPDX-License-Identifier: Apache-2.0 */
/* Databases of every version, columns as SQLite sees them, and damaged ones. */
#include "tests/unit/test.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/checked.h"
#include "schema_1.h"
#include "vmd/store/store_sql.h"

static const char *const old_schemas[] = { schema_1 };

static char path[64];

static void forget(void)
{
	char name[80];

	(void)unlink(path);
	(void)snprintf(name, sizeof(name), "%s-wal", path);
	(void)unlink(name);
	(void)snprintf(name, sizeof(name), "%s-shm", path);
	(void)unlink(name);
}

static int setup(void **state)
{
	int fd;

	(void)state;
	(void)strcpy(path, "/tmp/vmd-schema-XXXXXX");
	fd = mkstemp(path);
	assert_true(fd >= 0);
	close(fd);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	forget();
	return 0;
}

static void run_sql(const char *sql)
{
	char *why = NULL;
	sqlite3 *db;

	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	if (sqlite3_exec(db, sql, NULL, NULL, &why) != SQLITE_OK)
		fail_msg("%s: %s", sql, why);
	(void)sqlite3_close(db);
}

static unsigned seen;

static void check_vm(void *ctx, struct vm_row *row)
{
	(void)ctx;
	seen++;
	assert_string_equal(row->id, "aaaaaaaaaaaaaaaaaaaaaaaaaa");
	assert_string_equal(row->name, "old");
	assert_string_equal(row->image_id, "f00");
	assert_int_equal(row->state, API_VM_FAILED);
	assert_string_equal(row->engine_reason, "because");
	assert_true(row->emulated);
	assert_false(row->ephemeral);
	assert_true(row->has_exit);
	assert_int_equal(row->exit_status, 7);
	assert_int_equal(row->exit_signal, 9);
	assert_int_equal(row->memory_bytes, 1048576);
	assert_int_equal(row->expires_ms, 14);
	assert_string_equal(row->agent_version, "0.1");
	assert_int_equal(row->error.kind, ERR_TIMEOUT);
	assert_string_equal(row->error.code, "guest_not_ready");
	assert_string_equal(row->error.msg, "too late");
	assert_string_equal(row->error.subject, "");
	assert_false(row->error.amounts);
	assert_int_equal(row->revision, 5);
	assert_string_equal(row->spec, "{\"vcpus\":1}");
}

static void check_rest(struct store *s)
{
	struct journal_row *rows;
	struct stored_answer answer;
	struct op_row op;
	struct err e = ERR_INIT;
	char text[32];
	size_t count;
	bool found;

	assert_int_equal(store_op_get(s, "bbbbbbbbbbbbbbbbbbbbbbbbbb", &op, &e),
			 0);
	assert_string_equal(op.kind, "vm_create");
	assert_int_equal(op.state, API_OP_SUCCEEDED);
	assert_int_equal(op.total, 2);
	assert_int_equal(op.finished_ms, 4);
	assert_int_equal(op.error.kind, ERR_NONE);
	assert_int_equal(store_journal_list(s, NULL, &rows, &count, &e), 0);
	assert_int_equal(count, 1);
	assert_int_equal(rows[0].kind, JOURNAL_PROCESS);
	assert_int_equal(rows[0].pid, 42);
	assert_int_equal(rows[0].start_time, 4711);
	free(rows);
	assert_int_equal(store_answer_get(s, "k", &answer, &found, &e), 0);
	assert_true(found);
	assert_int_equal(answer.status, 202);
	assert_string_equal(answer.body, "{}");
	free(answer.body);
	assert_int_equal(store_meta_get(s, "boot_id", text, sizeof(text), &e),
			 0);
	assert_string_equal(text, "abc");
}

static void test_every_older_schema_is_brought_here(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(old_schemas); i++) {
		struct err e = ERR_INIT;
		struct store *s;

		forget();
		run_sql(old_schemas[i]);
		s = store_open(path, &e);
		if (!s)
			fail_msg("version %zu: %s", i + 1, e.msg);
		seen = 0;
		assert_int_equal(store_vm_each(s, check_vm, NULL, &e), 0);
		assert_int_equal(seen, 1);
		check_rest(s);
		store_close(s);
		/* A second time there is nothing to migrate. */
		s = store_open(path, &e);
		assert_non_null(s);
		check_rest(s);
		store_close(s);
	}
}

/* All of an error comes back, from both tables that have one. */
static void test_error_data_comes_back(void **state)
{
	struct err e = ERR_INIT, want = ERR_INIT;
	struct op_row op = { .state = API_OP_FAILED,
			     .kind = "vm_start",
			     .resource_kind = "vm",
			     .done = UINT64_MAX };
	struct op_row got;
	struct store *s = store_open(path, &e);

	(void)state;
	assert_non_null(s);
	(void)err_set(&want, ERR_LIMIT, "memory_exhausted", 0, "too much");
	(void)strcpy(want.field, "memory_bytes");
	(void)strcpy(want.subject, "a");
	(void)strcpy(want.suggestion, "b");
	want.amounts = true;
	want.asked = UINT64_C(1) << 63;
	want.limit = ERR_UNKNOWN;
	want.available = 3;
	op.error = want;
	(void)strcpy(op.id, "bbbbbbbbbbbbbbbbbbbbbbbbbb");
	assert_int_equal(store_op_put(s, &op, &e), 0);
	assert_int_equal(store_op_get(s, op.id, &got, &e), 0);
	assert_int_equal(got.error.kind, ERR_LIMIT);
	assert_string_equal(got.error.field, "memory_bytes");
	assert_string_equal(got.error.subject, "a");
	assert_string_equal(got.error.suggestion, "b");
	assert_true(got.error.amounts);
	assert_true(got.error.asked == want.asked);
	assert_true(got.error.limit == ERR_UNKNOWN);
	assert_true(got.error.available == 3);
	assert_true(got.done == UINT64_MAX);
	store_close(s);
}

static void expect_refused(const char *sql, const char *code, const char *word)
{
	struct err e = ERR_INIT;
	struct store *s;

	forget();
	s = store_open(path, &e);
	assert_non_null(s);
	store_close(s);
	run_sql(sql);
	s = store_open(path, &e);
	if (s)
		fail_msg("%s: was taken", sql);
	if (strcmp(e.code, code) != 0 || !strstr(e.msg, word) ||
	    !strstr(e.msg, path))
		fail_msg("%s: %s: %s", sql, e.code, e.msg);
}

static void test_columns_that_do_not_agree_are_refused(void **state)
{
	(void)state;
	expect_refused("ALTER TABLE vm DROP COLUMN engine_reason",
		       "database_corrupt", "engine_reason of table vm is");
	expect_refused("ALTER TABLE operation RENAME COLUMN step TO steps",
		       "database_corrupt", "column step of table operation");
	expect_refused("DROP TABLE journal", "database_corrupt",
		       "column owner of table journal is missing");
	expect_refused("ALTER TABLE vm DROP COLUMN has_exit;"
		       "ALTER TABLE vm ADD COLUMN has_exit TEXT NOT NULL "
		       "DEFAULT ''",
		       "database_corrupt", "has_exit of table vm has another");
	expect_refused("ALTER TABLE vm DROP COLUMN has_exit;"
		       "ALTER TABLE vm ADD COLUMN has_exit INTEGER",
		       "database_corrupt", "has_exit of table vm may be NULL");
	expect_refused("PRAGMA user_version=99", "state_too_new", "newer vmd");
	expect_refused("PRAGMA user_version=-1", "database_corrupt",
		       "version -1");
}

static void test_key_that_is_too_long_is_damage(void **state)
{
	struct err e = ERR_INIT;
	struct store *s;

	(void)state;
	run_sql(schema_1);
	run_sql("UPDATE vm SET id=id||id");
	s = store_open(path, &e);
	assert_non_null(s);
	seen = 0;
	assert_true(store_vm_each(s, check_vm, NULL, &e) < 0);
	assert_string_equal(e.code, "database_corrupt");
	assert_int_equal(seen, 0);
	store_close(s);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_every_older_schema_is_brought_here),
		T(test_error_data_comes_back),
		T(test_columns_that_do_not_agree_are_refused),
		T(test_key_that_is_too_long_is_damage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
