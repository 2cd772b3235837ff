/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A table of the database as data: one row for each column, from which INSERT,
 * UPDATE and SELECT, the binding and reading of rows, and the check of what a
 * database really has are made. A column is added in store_tables.c and in a
 * migration; nowhere else.
 */
#ifndef VMD_STORE_TABLE_H
#define VMD_STORE_TABLE_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

struct store;

enum column_type {
	COLUMN_TEXT, /* char[size] */
	COLUMN_STRING, /* char *, malloc'd by whoever reads it */
	COLUMN_BOOL, /* bool */
	COLUMN_INT, /* int, unsigned, pid_t */
	COLUMN_I64, /* int64_t */
	COLUMN_U64, /* uint64_t; from 2^63 on it looks negative in SQL */
	COLUMN_WORD /* an enum, by its name */
};

enum column_flags {
	COLUMN_KEY = 1, /* finds the row: UPDATE ... WHERE */
	COLUMN_ONCE = 2, /* written with the row and never changed */
	COLUMN_AUTO = 4, /* numbered by SQLite; only read */
	COLUMN_NULL = 8 /* "" and a word without a name are NULL */
};

struct column_words {
	const char *(*name)(int value); /* NULL: it has none */
	int (*value)(const char *name); /* a safe one for what nobody knows */
};

struct column {
	const char *name;
	enum column_type type;
	unsigned flags;
	size_t offset, size; /* in the struct, bytes */
	const struct column_words *words; /* of COLUMN_WORD */
};

struct table {
	const char *name;
	const struct column *columns; /* ends with a name of NULL */
	size_t row_size;
};

enum table_id {
	TABLE_VM,
	TABLE_OPERATION,
	TABLE_JOURNAL,
	TABLE_ANSWER,
	TABLE_META,
	TABLE_COUNT
};

/* store_tables.c */
extern const struct table store_tables[TABLE_COUNT];

enum table_verb {
	TABLE_INSERT,
	TABLE_REPLACE, /* INSERT OR REPLACE */
	TABLE_PUT, /* INSERT, or UPDATE where the key is there already */
	TABLE_UPDATE,
	TABLE_SELECT, /* of all columns */
	TABLE_VERBS
};

/* The statement as text, malloc'd; tail follows. NULL without memory. */
char *table_sql(const struct table *t, enum table_verb verb, const char *tail);
/* A statement of table_sql(): parameter n is column n, from 1. The row must
 * live until the statement is reset. */
int table_bind(struct store *s, const struct table *t, sqlite3_stmt *stmt,
	       const void *row, struct err *e);
/* Of its COLUMN_STRINGs, together. */
size_t table_text_bytes(const struct table *t, const void *row);
/* Of a SELECT; zeroes the row first. corrupt when a key does not fit. */
int table_read(const struct table *t, sqlite3_stmt *stmt, void *ret_row,
	       struct err *e);
/* Has the database these columns, with these types and constraints? corrupt
 * database_damaged, with the name of the first one that is wrong. */
int table_check(struct store *s, const struct table *t, struct err *e);

#endif
