/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening, statements and the helpers that the other store_*.c files share. A
 * statement is prepared once, when it is first used.
 */
#include "vmd/store/store.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "vmd/store/store_sql.h"

int store_fail(struct store *s, const char *doing, struct err *e)
{
	int code = sqlite3_extended_errcode(s->db);

	if ((code & 0xff) == SQLITE_FULL)
		return err_set(e, ERR_NO_SPACE, "disk_full", ENOSPC,
			       "%s in the state database: the disk is full",
			       doing);
	if ((code & 0xff) == SQLITE_CORRUPT || (code & 0xff) == SQLITE_NOTADB)
		return err_set(e, ERR_CORRUPT, "database_corrupt", 0,
			       "%s: the state database is damaged (%s): take "
			       "back a copy of it, or remove it to begin "
			       "without VMs",
			       doing, sqlite3_errmsg(s->db));
	if (code == SQLITE_CONSTRAINT_UNIQUE)
		return err_set(e, ERR_CONFLICT, "exists_already", EEXIST,
			       "%s in the state database: %s", doing,
			       sqlite3_errmsg(s->db));
	return err_set(e, ERR_INTERNAL, "database_failed", 0,
		       "%s in the state database: %s", doing,
		       sqlite3_errmsg(s->db));
}

/* Its place in the cache, or a free one. */
static struct store_statement *place(struct store *s, const char *key,
				     enum table_id table)
{
	struct store_statement *st = s->statements;

	while (st->key && (st->key != key || st->table != table)) {
		st++;
		assert(st < s->statements + STORE_STATEMENTS);
	}
	assert(!st->stmt || !sqlite3_stmt_busy(st->stmt));
	return st;
}

static int prepare(struct store *s, struct store_statement *st, const char *key,
		   enum table_id table, const char *sql, struct err *e)
{
	if (!sql)
		return err_sys(e, ENOMEM, "preparing a statement");
	if (sqlite3_prepare_v3(s->db, sql, -1, SQLITE_PREPARE_PERSISTENT,
			       &st->stmt, NULL) != SQLITE_OK)
		return store_fail(s, "preparing a statement", e);
	st->key = key;
	st->table = table;
	return 0;
}

int store_prepare(struct store *s, const char *sql, sqlite3_stmt **ret,
		  struct err *e)
{
	struct store_statement *st = place(s, sql, TABLE_COUNT);
	int rc = st->stmt ? 0 : prepare(s, st, sql, TABLE_COUNT, sql, e);

	if (rc == 0)
		*ret = st->stmt;
	return rc;
}

int store_prepare_select(struct store *s, enum table_id table, const char *tail,
			 sqlite3_stmt **ret, struct err *e)
{
	struct store_statement *st = place(s, tail, table);
	int rc = 0;

	if (!st->stmt) {
		AUTO(free)
		char *sql = table_sql(&store_tables[table], TABLE_SELECT, tail);

		rc = prepare(s, st, tail, table, sql, e);
	}
	if (rc == 0)
		*ret = st->stmt;
	return rc;
}

static int prepare_write(struct store *s, enum table_id table,
			 enum table_verb verb, sqlite3_stmt **ret,
			 struct err *e)
{
	static const char keys[TABLE_VERBS]; /* for their addresses */
	struct store_statement *st = place(s, &keys[verb], table);
	int rc = 0;

	if (!st->stmt) {
		AUTO(free)
		char *sql = table_sql(&store_tables[table], verb, "");

		rc = prepare(s, st, &keys[verb], table, sql, e);
	}
	if (rc == 0)
		*ret = st->stmt;
	return rc;
}

static int bind_va(struct store *s, sqlite3_stmt *stmt, struct err *e,
		   const char *format, va_list ap)
{
	int rc = SQLITE_OK;

	for (int i = 1; *format && rc == SQLITE_OK; format++, i++) {
		if (*format == 's')
			rc = sqlite3_bind_text(stmt, i,
					       va_arg(ap, const char *), -1,
					       SQLITE_STATIC);
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

static int step_to_end(struct store *s, sqlite3_stmt *stmt, struct err *e)
{
	int rc;

	do
		rc = store_step(s, stmt, e);
	while (rc > 0);
	return rc;
}

/* A change: kept as text where its commit comes later. */
static int step_kept(struct store *s, sqlite3_stmt *stmt, struct err *e)
{
	size_t before = s->redo_count;
	int rc = store_redo_add(s, stmt, e);

	if (rc == 0)
		rc = step_to_end(s, stmt, e);
	if (rc < 0)
		store_redo_cut(s, before);
	return rc;
}

int store_step_cached(struct store *s, const char *sql, struct err *e)
{
	AUTO(stmt) sqlite3_stmt *stmt = NULL;
	int rc = store_prepare(s, sql, &stmt, e);

	return rc < 0 ? rc : step_to_end(s, stmt, e);
}

static int exec_va(struct store *s, struct err *e, const char *sql,
		   const char *format, va_list ap)
{
	AUTO(stmt) sqlite3_stmt *stmt = NULL;
	int rc = store_prepare(s, sql, &stmt, e);

	if (rc == 0)
		rc = bind_va(s, stmt, e, format, ap);
	return rc < 0 ? rc : step_kept(s, stmt, e);
}

int store_exec(struct store *s, struct err *e, const char *sql,
	       const char *format, ...)
{
	int rc = store_write_begin(s, e);
	va_list ap;

	if (rc < 0)
		return rc;
	va_start(ap, format);
	rc = exec_va(s, e, sql, format, ap);
	va_end(ap);
	return store_write_end(s, rc, e);
}

static int write_row(struct store *s, enum table_id table, enum table_verb verb,
		     const void *row, struct err *e)
{
	const struct table *t = &store_tables[table];
	AUTO(stmt) sqlite3_stmt *stmt = NULL;
	int rc = prepare_write(s, table, verb, &stmt, e);

	if (rc == 0)
		rc = store_reserve(s, table_text_bytes(t, row), e);
	if (rc == 0)
		rc = table_bind(s, t, stmt, row, e);
	return rc < 0 ? rc : step_kept(s, stmt, e);
}

int store_write(struct store *s, enum table_id table, enum table_verb verb,
		const void *row, struct err *e)
{
	int rc = store_write_begin(s, e);

	if (rc < 0)
		return rc;
	return store_write_end(s, write_row(s, table, verb, row, e), e);
}

int store_run(struct store *s, const char *sql, struct err *e)
{
	if (sqlite3_exec(s->db, sql, NULL, NULL, NULL) != SQLITE_OK)
		return store_fail(s, "running a statement", e);
	return 0;
}

void store_column_text(sqlite3_stmt *stmt, int column, char *buf, size_t size)
{
	const char *text = (const char *)sqlite3_column_text(stmt, column);
	size_t len = text ? strlen(text) : 0;

	if (len >= size)
		len = size - 1;
	if (text)
		memcpy(buf, text, len);
	buf[len] = '\0';
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
	if (store_run(s,
		      "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
		      "PRAGMA foreign_keys=ON; PRAGMA cache_size=-256;"
		      "PRAGMA wal_autocheckpoint=0",
		      e) < 0 ||
	    store_migrate(s, path, e) < 0 || store_sync_open(s, path, e) < 0) {
		store_close(s);
		return NULL;
	}
	return s;
}

void store_close(struct store *s)
{
	if (!s)
		return;
	store_turn_close(s);
	store_sync_close(s);
	for (size_t i = 0; i < STORE_STATEMENTS; i++)
		(void)sqlite3_finalize(s->statements[i].stmt);
	(void)sqlite3_close_v2(s->db);
	free(s);
}
