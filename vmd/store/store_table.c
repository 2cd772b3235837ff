/* SPDX-License-Identifier: Apache-2.0 */
/* See store_table.h. */
#include "vmd/store/store_table.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "vmd/store/store_sql.h"

enum {
	SQL_MAX = 8192
};

struct text {
	char text[SQL_MAX];
	size_t len;
};

static void put(struct text *t, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* The tables are ours and small: what does not fit is a mistake of ours. */
static void put(struct text *t, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(t->text + t->len, sizeof(t->text) - t->len, fmt, ap);
	va_end(ap);
	assert(n >= 0 && (size_t)n < sizeof(t->text) - t->len);
	t->len += (size_t)n;
}

static void put_names(struct text *t, const struct table *table, unsigned not )
{
	const char *comma = "";

	for (const struct column *c = table->columns; c->name; c++) {
		if (c->flags & not )
			continue;
		put(t, "%s%s", comma, c->name);
		comma = ",";
	}
}

static void put_insert(struct text *t, const struct table *table,
		       const char *verb)
{
	const char *comma = "";
	int n = 0;

	put(t, "%s INTO %s(", verb, table->name);
	put_names(t, table, COLUMN_AUTO);
	put(t, ") VALUES(");
	for (const struct column *c = table->columns; c->name; c++) {
		n++;
		if (c->flags & COLUMN_AUTO)
			continue;
		put(t, "%s?%d", comma, n);
		comma = ",";
	}
	put(t, ")");
}

/* Of all that may change; the key follows where `where` says so. */
static void put_set(struct text *t, const struct table *table, bool where)
{
	const char *comma = "", *key = NULL;
	int n = 0, key_n = 0;

	for (const struct column *c = table->columns; c->name; c++) {
		n++;
		if (c->flags & COLUMN_KEY) {
			key = c->name;
			key_n = n;
		}
		if (c->flags & (COLUMN_KEY | COLUMN_ONCE | COLUMN_AUTO))
			continue;
		put(t, "%s%s=?%d", comma, c->name, n);
		comma = ",";
	}
	assert(key);
	if (where)
		put(t, " WHERE %s=?%d", key, key_n);
}

static const char *key_name(const struct table *table)
{
	const struct column *c = table->columns;

	while (!(c->flags & COLUMN_KEY))
		c++;
	return c->name;
}

char *table_sql(const struct table *t, enum table_verb verb, const char *tail)
{
	AUTO(free) struct text *sql = calloc(1, sizeof(*sql));

	if (!sql)
		return NULL;
	switch (verb) {
	case TABLE_INSERT:
		put_insert(sql, t, "INSERT");
		break;
	case TABLE_REPLACE:
		put_insert(sql, t, "INSERT OR REPLACE");
		break;
	case TABLE_PUT:
		put_insert(sql, t, "INSERT");
		put(sql, " ON CONFLICT(%s) DO UPDATE SET ", key_name(t));
		put_set(sql, t, false);
		break;
	case TABLE_UPDATE:
		put(sql, "UPDATE %s SET ", t->name);
		put_set(sql, t, true);
		break;
	case TABLE_SELECT:
	case TABLE_VERBS:
		put(sql, "SELECT ");
		put_names(sql, t, 0);
		put(sql, " FROM %s", t->name);
		break;
	}
	put(sql, "%s", tail);
	return strdup(sql->text);
}

static int bind_text(const struct column *c, sqlite3_stmt *stmt, int n,
		     const char *text)
{
	if (!text || (!text[0] && (c->flags & COLUMN_NULL)))
		return sqlite3_bind_null(stmt, n);
	return sqlite3_bind_text(stmt, n, text, -1, SQLITE_STATIC);
}

static int bind_column(const struct column *c, sqlite3_stmt *stmt, int n,
		       const char *at)
{
	switch (c->type) {
	case COLUMN_TEXT:
		return bind_text(c, stmt, n, at);
	case COLUMN_STRING: {
		const char *text;

		memcpy(&text, at, sizeof(text));
		return bind_text(c, stmt, n, text);
	}
	case COLUMN_BOOL: {
		bool value;

		memcpy(&value, at, sizeof(value));
		return sqlite3_bind_int(stmt, n, value);
	}
	case COLUMN_INT:
	case COLUMN_WORD: {
		int value;

		memcpy(&value, at, sizeof(value));
		if (c->type == COLUMN_WORD)
			return bind_text(c, stmt, n, c->words->name(value));
		return sqlite3_bind_int(stmt, n, value);
	}
	case COLUMN_I64:
	case COLUMN_U64:
		break;
	}
	{
		int64_t value;

		memcpy(&value, at, sizeof(value));
		return sqlite3_bind_int64(stmt, n, value);
	}
}

int table_bind(struct store *s, const struct table *t, sqlite3_stmt *stmt,
	       const void *row, struct err *e)
{
	int n = 0, most = sqlite3_bind_parameter_count(stmt);

	for (const struct column *c = t->columns; c->name; c++) {
		n++;
		/* UPDATE has no parameter for what does not change; SQLite has
		 * numbers up to the highest one that is used. */
		if ((c->flags & COLUMN_AUTO) || n > most)
			continue;
		if (bind_column(c, stmt, n, (const char *)row + c->offset) !=
		    SQLITE_OK)
			return store_fail(s, "binding a value", e);
	}
	return 0;
}

size_t table_text_bytes(const struct table *t, const void *row)
{
	size_t bytes = 0;

	for (const struct column *c = t->columns; c->name; c++) {
		const char *text;

		if (c->type != COLUMN_STRING)
			continue;
		memcpy(&text, (const char *)row + c->offset, sizeof(text));
		bytes += text ? strlen(text) : 0;
	}
	return bytes;
}

static int read_column(const struct table *t, const struct column *c,
		       sqlite3_stmt *stmt, int n, char *at, struct err *e)
{
	const char *text = NULL;
	int64_t number = 0;

	if (c->type == COLUMN_TEXT || c->type == COLUMN_STRING ||
	    c->type == COLUMN_WORD)
		text = (const char *)sqlite3_column_text(stmt, n);
	else
		number = sqlite3_column_int64(stmt, n);
	switch (c->type) {
	case COLUMN_TEXT:
		if (text && strlen(text) >= c->size && (c->flags & COLUMN_KEY))
			return err_set(e, ERR_CORRUPT, "database_corrupt", 0,
				       "the state database is damaged: %s.%s "
				       "'%.40s...' is too long",
				       t->name, c->name, text);
		store_column_text(stmt, n, at, c->size);
		break;
	case COLUMN_STRING: {
		char *copy = strdup(text ? text : "");

		if (!copy)
			return err_sys(e, ENOMEM, "reading the database");
		memcpy(at, &copy, sizeof(copy));
		break;
	}
	case COLUMN_BOOL: {
		bool value = number != 0;

		memcpy(at, &value, sizeof(value));
		break;
	}
	case COLUMN_INT:
	case COLUMN_WORD: {
		int value = c->type == COLUMN_INT ? (int)number
						  : c->words->value(text);

		memcpy(at, &value, sizeof(value));
		break;
	}
	case COLUMN_I64:
	case COLUMN_U64:
		memcpy(at, &number, sizeof(number));
		break;
	}
	return 0;
}

int table_read(const struct table *t, sqlite3_stmt *stmt, void *ret_row,
	       struct err *e)
{
	int n = 0, rc = 0;

	memset(ret_row, 0, t->row_size);
	for (const struct column *c = t->columns; c->name && rc == 0; c++)
		rc = read_column(t, c, stmt, n++, (char *)ret_row + c->offset,
				 e);
	return rc;
}

static bool is_text(enum column_type type)
{
	return type == COLUMN_TEXT || type == COLUMN_STRING ||
	       type == COLUMN_WORD;
}

static int wrong(const struct table *t, const char *column, const char *how,
		 struct err *e)
{
	return err_set(e, ERR_CORRUPT, "database_corrupt", 0,
		       "the state database is damaged: column %s of table %s "
		       "%s; take back a copy of it, or remove it to begin "
		       "without VMs",
		       column, t->name, how);
}

/* One row of table_info: cid, name, type, notnull, default, pk. */
static int check_column(const struct table *t, const struct column *c,
			sqlite3_stmt *stmt, struct err *e)
{
	const char *type = (const char *)sqlite3_column_text(stmt, 2);
	bool nullable = !sqlite3_column_int(stmt, 3);

	if (!type || strcmp(type, is_text(c->type) ? "TEXT" : "INTEGER") != 0)
		return wrong(t, c->name, "has another type", e);
	/* A primary key is not called NOT NULL. */
	if (nullable != ((c->flags & COLUMN_NULL) != 0) &&
	    !sqlite3_column_int(stmt, 5))
		return wrong(t, c->name,
			     nullable ? "may be NULL" : "may not be NULL", e);
	return 0;
}

int table_check(struct store *s, const struct table *t, struct err *e)
{
	sqlite3_stmt *stmt = NULL;
	char sql[64];
	uint64_t found = 0;
	int rc;

	(void)snprintf(sql, sizeof(sql), "PRAGMA table_info(%s)", t->name);
	if (sqlite3_prepare_v2(s->db, sql, -1, &stmt, NULL) != SQLITE_OK)
		return store_fail(s, "looking at a table", e);
	while ((rc = store_step(s, stmt, e)) == 1) {
		const char *name = (const char *)sqlite3_column_text(stmt, 1);
		const struct column *c = t->columns;

		while (c->name && strcmp(c->name, name ? name : "") != 0)
			c++;
		if (!c->name) /* "seq" is nobody's but SQLite's */
			continue;
		rc = check_column(t, c, stmt, e);
		if (rc < 0)
			break;
		found |= UINT64_C(1) << (c - t->columns);
	}
	(void)sqlite3_finalize(stmt);
	for (const struct column *c = t->columns; c->name && rc == 0; c++)
		if (!(found >> (c - t->columns) & 1))
			rc = wrong(t, c->name, "is missing", e);
	return rc;
}
