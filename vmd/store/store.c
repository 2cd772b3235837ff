/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening, migrations and the helpers that the other store_*.c files share.
 * Migration n brings a file of version n to n + 1; they are never edited once
 * released, only added. PRAGMA user_version holds the version.
 */
#include "vmd/store/store.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "vmd/store/store_sql.h"

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
};

int store_fail(struct store *s, const char *doing, struct err *e)
{
	int code = sqlite3_extended_errcode(s->db);

	if ((code & 0xff) == SQLITE_FULL)
		return err_set(e, ERR_NO_SPACE, "disk_full", ENOSPC,
			       "%s in the state database: the disk is full",
			       doing);
	if ((code & 0xff) == SQLITE_CORRUPT || (code & 0xff) == SQLITE_NOTADB)
		return err_set(e, ERR_CORRUPT, "database_corrupt", 0,
			       "%s in the state database: %s", doing,
			       sqlite3_errmsg(s->db));
	return err_set(e, ERR_INTERNAL, "database_failed", 0,
		       "%s in the state database: %s", doing,
		       sqlite3_errmsg(s->db));
}

int store_prepare(struct store *s, const char *sql, sqlite3_stmt **ret,
		  struct err *e)
{
	if (sqlite3_prepare_v2(s->db, sql, -1, ret, NULL) != SQLITE_OK)
		return store_fail(s, "preparing a statement", e);
	return 0;
}

static int bind_va(struct store *s, sqlite3_stmt *stmt, struct err *e,
		   const char *format, va_list ap)
{
	int rc = SQLITE_OK;

	for (int i = 1; *format && rc == SQLITE_OK; format++, i++) {
		if (*format == 's')
			rc = sqlite3_bind_text(stmt, i,
					       va_arg(ap, const char *), -1,
					       SQLITE_TRANSIENT);
		else
			rc = sqlite3_bind_int64(stmt, i, va_arg(ap, int64_t));
	}
	return rc == SQLITE_OK ? 0 : store_fail(s, "binding a value", e);
}

int store_bind(struct store *s, sqlite3_stmt *stmt, struct err *e,
	       const char *format, ...)
{
	va_list ap;
	int rc;

	va_start(ap, format);
	rc = bind_va(s, stmt, e, format, ap);
	va_end(ap);
	return rc;
}

int store_step(struct store *s, sqlite3_stmt *stmt, struct err *e)
{
	int rc = sqlite3_step(stmt);

	if (rc == SQLITE_ROW)
		return 1;
	if (rc == SQLITE_DONE)
		return 0;
	return store_fail(s, "running a statement", e);
}

int store_exec(struct store *s, struct err *e, const char *sql,
	       const char *format, ...)
{
	AUTO(stmt) sqlite3_stmt *stmt = NULL;
	va_list ap;
	int rc = store_prepare(s, sql, &stmt, e);

	if (rc < 0)
		return rc;
	va_start(ap, format);
	rc = bind_va(s, stmt, e, format, ap);
	va_end(ap);
	while (rc >= 0) {
		rc = store_step(s, stmt, e);
		if (rc == 0)
			return 0;
	}
	return rc;
}

void store_column_text(sqlite3_stmt *stmt, int column, char *buf, size_t size)
{
	const char *text = (const char *)sqlite3_column_text(stmt, column);
	size_t len = text ? strlen(text) : 0;

	if (len >= size)
		len = size - 1;
	if (len)
		memcpy(buf, text, len);
	buf[len] = '\0';
}

void store_column_err(sqlite3_stmt *stmt, int column, struct err *ret)
{
	char kind[32];

	err_clear(ret);
	if (sqlite3_column_type(stmt, column) == SQLITE_NULL)
		return;
	store_column_text(stmt, column, kind, sizeof(kind));
	ret->kind = err_kind_from_name(kind);
	store_column_text(stmt, column + 1, ret->code, sizeof(ret->code));
	store_column_text(stmt, column + 2, ret->msg, sizeof(ret->msg));
}

static int run_sql(struct store *s, const char *sql, struct err *e)
{
	if (sqlite3_exec(s->db, sql, NULL, NULL, NULL) != SQLITE_OK)
		return store_fail(s, "running a statement", e);
	return 0;
}

int store_begin(struct store *s, struct err *e)
{
	return run_sql(s, "BEGIN IMMEDIATE", e);
}

int store_commit(struct store *s, struct err *e)
{
	int rc = run_sql(s, "COMMIT", e);

	if (rc < 0)
		store_rollback(s);
	return rc;
}

void store_rollback(struct store *s)
{
	if (!sqlite3_get_autocommit(s->db))
		(void)sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
}

static int migrate(struct store *s, const char *path, struct err *e)
{
	int version, rc;

	{
		AUTO(stmt) sqlite3_stmt *stmt = NULL;

		rc = store_prepare(s, "PRAGMA user_version", &stmt, e);
		if (rc < 0)
			return rc;
		rc = store_step(s, stmt, e);
		if (rc < 0)
			return rc;
		version = sqlite3_column_int(stmt, 0);
	}
	if (version < 0 || version > (int)ARRAY_LEN(migrations))
		return err_set(
			e, ERR_UNSUPPORTED, "state_too_new", 0,
			"%s has version %d, written by a newer vmd; this "
			"one reads up to %d: install the newer vmd again",
			path, version, (int)ARRAY_LEN(migrations));
	for (; version < (int)ARRAY_LEN(migrations); version++) {
		char pragma[48];

		(void)snprintf(pragma, sizeof(pragma), "PRAGMA user_version=%d",
			       version + 1);
		rc = store_begin(s, e);
		if (rc == 0)
			rc = run_sql(s, migrations[version], e);
		if (rc == 0)
			rc = run_sql(s, pragma, e);
		if (rc == 0)
			rc = store_commit(s, e);
		if (rc < 0) {
			store_rollback(s);
			return err_wrap(e, rc, "migration %d of %s", version,
					path);
		}
	}
	return 0;
}

struct store *store_open(const char *path, struct err *e)
{
	struct store *s = calloc(1, sizeof(*s));

	if (!s) {
		(void)err_sys(e, ENOMEM, "opening %s", path);
		return NULL;
	}
	s->wal_fd = -1;
	LIST_INIT(&s->waiters);
	if (sqlite3_open_v2(path, &s->db,
			    SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE |
				    SQLITE_OPEN_NOMUTEX,
			    NULL) != SQLITE_OK) {
		(void)err_set(e, ERR_INTERNAL, "database_failed", 0,
			      "cannot open the state database %s: %s", path,
			      s->db ? sqlite3_errmsg(s->db) : "no memory");
		store_close(s);
		return NULL;
	}
	/* The small cache is most of what SQLite would otherwise hold. */
	if (run_sql(s,
		    "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
		    "PRAGMA foreign_keys=ON; PRAGMA cache_size=-256;"
		    "PRAGMA wal_autocheckpoint=0",
		    e) < 0 ||
	    migrate(s, path, e) < 0 || store_sync_open(s, path, e) < 0) {
		store_close(s);
		return NULL;
	}
	return s;
}

void store_close(struct store *s)
{
	if (!s)
		return;
	store_sync_close(s);
	(void)sqlite3_close_v2(s->db);
	free(s);
}
