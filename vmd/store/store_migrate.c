/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Migration n brings a file of version n to n + 1; they are never edited once
 * released, only added (with a file of that version in the tests). PRAGMA
 * user_version holds the version. What comes of them must be what
 * store_tables.c says.
 */
#include "base/checked.h"
#include "base/cleanup.h"
#include "vmd/store/store_sql.h"

#define ERROR_DATA(table)                                         \
	"ALTER TABLE " table " ADD COLUMN error_field TEXT;"      \
	"ALTER TABLE " table " ADD COLUMN error_subject TEXT;"    \
	"ALTER TABLE " table " ADD COLUMN error_suggestion TEXT;" \
	"ALTER TABLE " table                                      \
	" ADD COLUMN error_amounts INTEGER NOT NULL DEFAULT 0;"   \
	"ALTER TABLE " table                                      \
	" ADD COLUMN error_asked INTEGER NOT NULL DEFAULT 0;"     \
	"ALTER TABLE " table                                      \
	" ADD COLUMN error_limit INTEGER NOT NULL DEFAULT 0;"     \
	"ALTER TABLE " table                                      \
	" ADD COLUMN error_available INTEGER NOT NULL DEFAULT 0;"

static const char *const migrations[] = {
	"CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL);"
	"CREATE TABLE vm("
	" id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE,"
	" image TEXT NOT NULL, image_id TEXT NOT NULL,"
	" state TEXT NOT NULL, reason TEXT NOT NULL,"
	" engine TEXT NOT NULL, engine_reason TEXT NOT NULL,"
	" emulated INTEGER NOT NULL, ephemeral INTEGER NOT NULL,"
	" command_started INTEGER NOT NULL,"
	" has_exit INTEGER NOT NULL, exit_status INTEGER NOT NULL,"
	" exit_signal INTEGER NOT NULL,"
	" memory_bytes INTEGER NOT NULL, disk_bytes INTEGER NOT NULL,"
	" created_ms INTEGER NOT NULL, started_ms INTEGER NOT NULL,"
	" ready_ms INTEGER NOT NULL, expires_ms INTEGER NOT NULL,"
	" agent_release TEXT NOT NULL, agent_version TEXT NOT NULL,"
	" error_kind TEXT, error_code TEXT, error_msg TEXT,"
	" revision INTEGER NOT NULL, spec TEXT NOT NULL);"
	"CREATE TABLE operation("
	" seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE,"
	" kind TEXT NOT NULL, state TEXT NOT NULL,"
	" resource_kind TEXT NOT NULL, resource_id TEXT NOT NULL,"
	" step TEXT NOT NULL, done INTEGER NOT NULL, total INTEGER NOT NULL,"
	" created_ms INTEGER NOT NULL, finished_ms INTEGER NOT NULL,"
	" error_kind TEXT, error_code TEXT, error_msg TEXT);"
	"CREATE TABLE journal("
	" seq INTEGER PRIMARY KEY, owner TEXT NOT NULL, kind INTEGER NOT NULL,"
	" name TEXT NOT NULL, pid INTEGER NOT NULL,"
	" start_time INTEGER NOT NULL, UNIQUE(owner, kind, name));"
	"CREATE TABLE answer("
	" seq INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL UNIQUE,"
	" fingerprint TEXT NOT NULL, status INTEGER NOT NULL,"
	" location TEXT NOT NULL, body TEXT NOT NULL);",
	/* What an error is about, as data. */
	ERROR_DATA("vm") ERROR_DATA("operation"),
};

static int read_version(struct store *s, int *ret, struct err *e)
{
	AUTO(stmt) sqlite3_stmt *stmt = NULL;
	int rc = store_prepare(s, "PRAGMA user_version", &stmt, e);

	if (rc == 0)
		rc = store_step(s, stmt, e);
	if (rc < 0)
		return rc;
	*ret = sqlite3_column_int(stmt, 0);
	return 0;
}

static int migrate_one(struct store *s, int version, struct err *e)
{
	char pragma[48];
	int rc = store_begin(s, e);

	if (rc < 0)
		return rc;
	(void)snprintf(pragma, sizeof(pragma), "PRAGMA user_version=%d",
		       version + 1);
	rc = store_run(s, migrations[version], e);
	if (rc == 0)
		rc = store_run(s, pragma, e);
	if (rc == 0)
		return store_commit(s, e);
	store_rollback(s);
	return rc;
}

int store_migrate(struct store *s, const char *path, struct err *e)
{
	int version = 0, rc = read_version(s, &version, e);

	if (rc < 0)
		return err_wrap(e, rc, "%s", path);
	if (version < 0)
		return err_set(e, ERR_CORRUPT, "database_corrupt", 0,
			       "%s says that it has version %d: it is damaged",
			       path, version);
	if (version > (int)ARRAY_LEN(migrations))
		return err_set(
			e, ERR_UNSUPPORTED, "state_too_new", 0,
			"%s has version %d, written by a newer vmd; this "
			"one reads up to %d: install the newer vmd again",
			path, version, (int)ARRAY_LEN(migrations));
	for (; version < (int)ARRAY_LEN(migrations) && rc == 0; version++) {
		rc = migrate_one(s, version, e);
		if (rc < 0)
			return err_wrap(e, rc, "migration %d of %s", version,
					path);
	}
	for (int i = 0; i < TABLE_COUNT; i++) {
		rc = table_check(s, &store_tables[i], e);
		if (rc < 0)
			return err_wrap(e, rc, "%s", path);
	}
	return 0;
}
