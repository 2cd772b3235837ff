/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the store_*.c files: statements, transactions, syncs. */
#ifndef VMD_STORE_SQL_H
#define VMD_STORE_SQL_H

#include <sqlite3.h>

#include "base/loop.h"
#include "vmd/store/store.h"
#include "vmd/store/store_table.h"

enum {
	STORE_STATEMENTS = 64, /* different ones; asserted */
	STORE_DEPTH = 4 /* of store_begin() in each other; asserted */
};

/* A statement that was prepared once. It is known by the address of a literal,
 * which the compiler may share between tables. */
struct store_statement {
	const char *key;
	enum table_id table; /* TABLE_COUNT: of none in particular */
	sqlite3_stmt *stmt;
};

/* Rows of tables that no caller sees as such. */
struct answer_row {
	char key[192];
	struct stored_answer answer;
};

struct meta_row {
	char key[64], value[128];
};

struct store {
	sqlite3 *db;
	struct store_statement statements[STORE_STATEMENTS];
	unsigned puts; /* of operations and answers since they were pruned */

	/* store_turn.c */
	struct loop *loop; /* NULL: every change commits by itself */
	struct loop_end turn_end;
	unsigned depth; /* of store_begin() */
	bool open; /* a transaction is */
	bool deferred; /* until the end of the turn */
	bool trouble; /* see store_turn.c */
	bool lost; /* a turn was: nothing is written any more */
	char **redo; /* what is in the open transaction, as SQL */
	size_t redo_count, redo_room;
	size_t mark, marks[STORE_DEPTH]; /* of redo, before a change */
	struct loop_timer again;
	unsigned writes; /* in this transaction */
	int64_t long_bytes; /* of long texts in it */
	bool reserve_fails; /* this file system cannot */
	int64_t reserved_to; /* bytes of the WAL that are sure */
	void (*on_lost)(void *data, const struct err *e);
	void *on_lost_data;

	/* store_sync.c */
	sqlite3 *pin, *checkpointer;
	struct worker_pool *workers; /* NULL: nobody makes anything durable */
	int wal_fd;
	struct worker_job sync_job, checkpoint_job;
	struct loop_timer sync_timer;
	bool syncing, checkpointing;
	bool checkpoint_whole, checkpoint_failed; /* what the last one did */
	int sync_error;
	/* Commits are counted: all, those on the disk, those being synced, and
	 * those that the checkpoint under way covers. */
	uint64_t committed, durable, sync_upto, pinned_at;
	int wal_pages, covered_pages;
	unsigned long_rounds;
	LIST_HEAD(, store_waiter) waiters;
};

/* store_migrate.c: brings the file to this version, and looks whether it is
 * what it should be then. */
int store_migrate(struct store *s, const char *path, struct err *e);

/* store_sync.c: db is open and migrated; close: before db is. */
int store_sync_open(struct store *s, const char *path, struct err *e);
void store_sync_close(struct store *s);
/* A turn was lost: those who wait are told. */
void store_sync_lost(struct store *s, const struct err *e);

/* After a commit: it is to become durable. */
void store_sync_committed(struct store *s);

/* store_turn.c: commits what is open. 0 when nothing is. */
int store_flush(struct store *s, struct err *e);
void store_turn_close(struct store *s);
/* Around a single statement that changes something; end takes what came of it,
 * and returns that or what came of the commit. */
int store_write_begin(struct store *s, struct err *e);
int store_write_end(struct store *s, int rc, struct err *e);
/* A statement with its parameters bound is about to be run. */
int store_redo_add(struct store *s, sqlite3_stmt *stmt, struct err *e);
void store_redo_cut(struct store *s, size_t count);
/* Before a row with so many bytes of text is written. */
int store_reserve(struct store *s, size_t bytes, struct err *e);

/* Ready to be used again: what a prepared statement is given back as. */
static inline void auto_stmt(sqlite3_stmt **stmt)
{
	(void)sqlite3_reset(*stmt);
	(void)sqlite3_clear_bindings(*stmt);
}

/* Turns the handle's last error into *e. */
int store_fail(struct store *s, const char *doing, struct err *e);
/* A literal without parameters and rows, prepared once. */
int store_step_cached(struct store *s, const char *sql, struct err *e);
/* The same of any SQL, which is not kept. */
int store_run(struct store *s, const char *sql, struct err *e);

/* sql is a literal: prepared when it is first used. Not for a statement whose
 * rows are being read: asserted. */
int store_prepare(struct store *s, const char *sql, sqlite3_stmt **ret,
		  struct err *e);
/* SELECT of all columns of a table; tail, a literal that is used for this alone,
 * follows: " WHERE id=?1". */
int store_prepare_select(struct store *s, enum table_id table, const char *tail,
			 sqlite3_stmt **ret, struct err *e);
/*
 * Binds by a format of one letter per parameter: s (const char *, NULL is
 * NULL; lives until the statement is reset), i (int64_t).
 */
int store_bind(struct store *s, sqlite3_stmt *stmt, struct err *e,
	       const char *format, ...);
/* 1: a row, 0: done, negative: error. */
int store_step(struct store *s, sqlite3_stmt *stmt, struct err *e);
/* A change: begins, prepares, binds, steps to the end, commits. */
int store_exec(struct store *s, struct err *e, const char *sql,
	       const char *format, ...);
/* A change of one row. */
int store_write(struct store *s, enum table_id table, enum table_verb verb,
		const void *row, struct err *e);

/* Copies a text column, truncating; NULL becomes "". */
void store_column_text(sqlite3_stmt *stmt, int column, char *buf, size_t size);

#endif
