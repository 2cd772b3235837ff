/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One transaction for all that a turn of the loop writes. A commit costs some
 * system calls whatever is in it, and sixteen clients write in the same turn;
 * nobody is told anything before it is durable, so nobody sees the difference.
 *
 * A change that could fail when the turn ends would fail too late: whoever made
 * it has gone on. So room for it is taken in the WAL beforehand; where a file
 * system has no room, or cannot reserve any, each change commits by itself and
 * its caller is told, as ever.
 *
 * Should the end of a turn fail all the same, what it wrote is not forgotten:
 * the statements were kept as text, and are run again in a transaction that
 * stays open, so that who reads sees them (trouble). From then on each change
 * commits by itself again, with those before it; a failure is told to its
 * caller and takes only that change back. Without changes it is tried again
 * each second. Who waited for the turn is told that it failed.
 *
 * What must be committed before something else is done (the journal: before a
 * resource is of use) is committed at once, with all before it.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "base/log.h"
#include "vmd/store/store_sql.h"

enum {
	/* A change is a row of some KiB in a table with some indexes: at most
	 * so many pages of 4 KiB; what longer texts take is added. */
	WRITE_BYTES = 12 * 4096,
	LONG_BYTES = 4 * 4096,
	WRITES_MAX = 16, /* then the turn commits, and goes on with another */
	RESERVE_STEP = 32 * 4096,
	AGAIN_MS = 1000
};

/* A page in the WAL has a header of 24 bytes; the file has one of 32. */
static int64_t wal_end(const struct store *s)
{
	return 32 + (int64_t)s->wal_pages * (4096 + 24);
}

/* Room for what this transaction may still write, and for long_bytes of text. */
static bool reserve(struct store *s, int64_t long_bytes)
{
	int64_t want =
		wal_end(s) + (int64_t)WRITES_MAX * WRITE_BYTES + long_bytes;

	if (s->reserve_fails)
		return false;
	if (want <= s->reserved_to)
		return true;
	if (fallocate(s->wal_fd, FALLOC_FL_KEEP_SIZE, 0, want + RESERVE_STEP) <
	    0) {
		/* A full disk may have room again; a file system does not learn. */
		s->reserve_fails =
			errno != ENOSPC && errno != EDQUOT && errno != EINTR;
		return false;
	}
	s->reserved_to = want + RESERVE_STEP;
	return true;
}

int store_reserve(struct store *s, size_t bytes, struct err *e)
{
	if (!s->deferred || bytes < LONG_BYTES)
		return 0;
	/* Pages of overflow, with their headers, and those of a split. */
	s->long_bytes += 2 * (int64_t)bytes;
	if (reserve(s, s->long_bytes))
		return 0;
	return err_set(e, ERR_NO_SPACE, "disk_full", ENOSPC,
		       "no room for %zu bytes in the state database: the disk "
		       "is full",
		       bytes);
}

int store_redo_add(struct store *s, sqlite3_stmt *stmt, struct err *e)
{
	char *sql;

	if (!s->deferred && !s->trouble)
		return 0;
	if (s->redo_count == s->redo_room) {
		size_t room = s->redo_room ? 2 * s->redo_room : 32;
		char **grown = reallocarray(s->redo, room, sizeof(*grown));

		if (!grown)
			return err_sys(e, ENOMEM, "changing the database");
		s->redo = grown;
		s->redo_room = room;
	}
	sql = sqlite3_expanded_sql(stmt);
	if (!sql)
		return err_sys(e, ENOMEM, "changing the database");
	s->redo[s->redo_count++] = sql;
	return 0;
}

void store_redo_cut(struct store *s, size_t count)
{
	while (s->redo_count > count)
		sqlite3_free(s->redo[--s->redo_count]);
}

static int lose(struct store *s, const struct err *e)
{
	s->open = s->deferred = s->trouble = false;
	s->lost = true;
	store_redo_cut(s, 0);
	log_error("what was changed last could not be kept: %s", e->msg);
	if (s->on_lost)
		s->on_lost(s->on_lost_data, e);
	return -EIO;
}

/* The transaction is gone: what is to stay is in an open one again. */
static int redo(struct store *s)
{
	struct err e = ERR_INIT;
	int rc = store_step_cached(s, "BEGIN IMMEDIATE", &e);

	for (size_t i = 0; i < s->redo_count && rc == 0; i++)
		rc = store_run(s, s->redo[i], &e);
	s->open = true;
	s->deferred = false;
	return rc < 0 ? lose(s, &e) : 0;
}

static void on_again(struct loop_timer *timer)
{
	struct store *s = timer->data;

	if (s->trouble)
		(void)store_flush(s, NULL);
}

/* COMMIT failed: at the end of a turn, or again in trouble. */
static void begin_trouble(struct store *s, const struct err *e)
{
	if (!s->trouble)
		log_error("%s; it is tried again", e->msg);
	s->trouble = true;
	if (redo(s) < 0)
		return;
	if (!s->again.fn)
		loop_timer_init(s->loop, &s->again, on_again, s);
	loop_timer_arm(&s->again, AGAIN_MS);
	store_sync_lost(s, e);
}

static int committed(struct store *s)
{
	s->open = s->deferred = false;
	store_redo_cut(s, 0);
	if (s->trouble) {
		s->trouble = false;
		log_info("the state database takes what it is given again");
	}
	store_sync_committed(s);
	return 0;
}

int store_flush(struct store *s, struct err *e)
{
	struct err kept = ERR_INIT;
	bool stays = s->deferred || s->trouble;
	int rc;

	if (!s->open)
		return 0;
	rc = store_step_cached(s, "COMMIT", &kept);
	if (rc < 0 && !sqlite3_get_autocommit(s->db))
		(void)store_step_cached(s, "ROLLBACK", NULL);
	loop_end_cancel(&s->turn_end);
	s->open = s->deferred = false;
	if (rc < 0) {
		if (e)
			*e = kept;
		if (stays)
			begin_trouble(s, &kept);
		return rc;
	}
	return committed(s);
}

static void on_turn_end(struct loop_end *end)
{
	(void)store_flush(end->data, NULL); /* a failure has been told */
}

static int open_transaction(struct store *s, struct err *e)
{
	int rc;

	if (s->lost)
		return err_set(e, ERR_INTERNAL, "database_failed", EIO,
			       "the state database cannot be written any more: "
			       "this vmd ends");
	if (s->open)
		return 0;
	rc = store_step_cached(s, "BEGIN IMMEDIATE", e);
	if (rc < 0)
		return rc;
	s->open = true;
	s->writes = 0;
	s->long_bytes = 0;
	s->deferred = s->loop && loop_in_turn(s->loop) && reserve(s, 0);
	if (s->deferred)
		loop_at_turn_end(&s->turn_end, s->loop, on_turn_end, s);
	return 0;
}

int store_write_begin(struct store *s, struct err *e)
{
	int rc = open_transaction(s, e);

	if (rc == 0 && s->depth == 0)
		s->mark = s->redo_count;
	return rc;
}

int store_write_end(struct store *s, int rc, struct err *e)
{
	bool stays = s->deferred || s->trouble;

	/* Some errors (no memory, no room) take all that is open with them. */
	if (s->open && sqlite3_get_autocommit(s->db)) {
		loop_end_cancel(&s->turn_end);
		s->open = s->deferred = false;
		store_redo_cut(s, s->mark);
		if (stays && redo(s) == 0) {
			s->trouble = true;
			(void)store_flush(s, NULL);
		}
		return rc < 0 ? rc : -EIO;
	}
	if (s->depth || !s->open)
		return rc;
	if (rc < 0) {
		store_redo_cut(s, s->mark);
		if (!stays) {
			(void)store_step_cached(s, "ROLLBACK", NULL);
			s->open = false;
		}
		return rc;
	}
	s->writes++;
	if (s->trouble) {
		struct err failed = ERR_INIT;
		size_t keep = s->mark;

		if (store_step_cached(s, "COMMIT", &failed) == 0)
			return committed(s);
		store_redo_cut(s, keep);
		if (!sqlite3_get_autocommit(s->db))
			(void)store_step_cached(s, "ROLLBACK", NULL);
		(void)redo(s);
		if (e)
			*e = failed;
		return -EIO;
	}
	if (!s->deferred || s->writes >= WRITES_MAX)
		return store_flush(s, e);
	return rc;
}

int store_begin(struct store *s, struct err *e)
{
	int rc = store_write_begin(s, e);

	assert(s->depth < STORE_DEPTH);
	if (rc == 0)
		rc = store_step_cached(s, "SAVEPOINT change", e);
	if (rc == 0)
		s->marks[s->depth++] = s->redo_count;
	return rc;
}

int store_commit(struct store *s, struct err *e)
{
	int rc = store_step_cached(s, "RELEASE change", e);

	s->depth--;
	return store_write_end(s, rc, e);
}

void store_rollback(struct store *s)
{
	s->depth--;
	if (!sqlite3_get_autocommit(s->db)) {
		(void)store_step_cached(s, "ROLLBACK TO change", NULL);
		(void)store_step_cached(s, "RELEASE change", NULL);
		store_redo_cut(s, s->marks[s->depth]);
	}
	(void)store_write_end(s, -EIO, NULL);
}

int store_commit_now(struct store *s, struct err *e)
{
	assert(s->depth == 0);
	return store_flush(s, e);
}

void store_turn_close(struct store *s)
{
	(void)store_flush(s, NULL);
	loop_end_cancel(&s->turn_end);
	if (s->again.fn)
		loop_timer_disarm(&s->again);
	store_redo_cut(s, 0);
	free(s->redo);
}

bool store_in_trouble(const struct store *s)
{
	return s->trouble;
}

void store_on_lost(struct store *s, void (*fn)(void *data, const struct err *e),
		   void *data)
{
	s->on_lost = fn;
	s->on_lost_data = data;
}
