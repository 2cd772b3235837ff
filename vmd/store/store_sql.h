/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the store_*.c files: prepared statements without ceremony. */
#ifndef VMD_STORE_SQL_H
#define VMD_STORE_SQL_H

#include <sqlite3.h>

#include "vmd/store/store.h"

struct store {
	sqlite3 *db;

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

/* store_sync.c: db is open and migrated; close: before db is. */
int store_sync_open(struct store *s, const char *path, struct err *e);
void store_sync_close(struct store *s);

static inline void auto_stmt(sqlite3_stmt **stmt)
{
	(void)sqlite3_finalize(*stmt);
}

/* Turns the handle's last error into *e. */
int store_fail(struct store *s, const char *doing, struct err *e);

int store_prepare(struct store *s, const char *sql, sqlite3_stmt **ret,
		  struct err *e);
/*
 * Binds by a format of one letter per parameter: s (const char *, NULL is
 * NULL), i (int64_t).
 */
int store_bind(struct store *s, sqlite3_stmt *stmt, struct err *e,
	       const char *format, ...);
/* 1: a row, 0: done, negative: error. */
int store_step(struct store *s, sqlite3_stmt *stmt, struct err *e);
/* prepare, bind, step to the end. */
int store_exec(struct store *s, struct err *e, const char *sql,
	       const char *format, ...);

/* Copies a text column, truncating; NULL becomes "". */
void store_column_text(sqlite3_stmt *stmt, int column, char *buf, size_t size);
/* Three columns from `column` on: kind, code, message. */
void store_column_err(sqlite3_stmt *stmt, int column, struct err *ret);

#endif
