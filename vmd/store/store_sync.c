/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making commits durable and keeping the WAL short, without the loop ever
 * waiting for a disk.
 *
 * The loop's connection has synchronous=OFF: a commit is a few writes into the
 * page cache. All commits of a turn become durable by one fdatasync of the WAL
 * on a worker thread; whoever must not speak before that waits for it.
 *
 * Checkpoints run on a worker thread with a connection that does sync. SQLite
 * would then begin the WAL again from its start with the next commit, and that
 * needs a synced header: old frames behind a new beginning that never reached
 * the disk would undo what the checkpoint has written. So this is not left to a
 * commit. While a checkpoint runs, a read transaction (the pin) keeps the WAL
 * from being begun again. When the checkpoint has covered all, the pin goes and
 * the file is cut to nothing in the same turn: there are no old frames then, and
 * until the cut is durable the whole old WAL is there, which only says again what
 * the database says. When commits came meanwhile, the next checkpoint tries.
 *
 * Clients that write all the time could keep a checkpoint from ever covering
 * all: with a long WAL nothing counts as durable before it is short again, so
 * that those who wait for their answers pause.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "vmd/store/store_sql.h"

enum {
	CHECKPOINT_PAGES = 200,
	LONG_PAGES = 4096, /* 16 MiB */
	LONG_ROUNDS = 8, /* checkpoints that answers are held for, at most */
	SYNC_AGAIN_MS = 1000
};

static void checkpoint_begin(struct store *s);

static void waiters_call(struct store *s, const struct err *e)
{
	struct store_waiter *w;

again:
	/* From the head each time: a callback may remove any of them. */
	LIST_FOREACH(w, &s->waiters, link) {
		if (!e && w->upto > s->durable)
			continue;
		store_wait_cancel(w);
		w->fn(w, e);
		goto again;
	}
}

/* One that did not cover all is made good when the commits pause. */
static bool checkpoint_wanted(const struct store *s)
{
	return s->wal_pages - s->covered_pages >= CHECKPOINT_PAGES ||
	       s->wal_pages >= LONG_PAGES ||
	       (s->covered_pages && s->committed == s->sync_upto);
}

static void sync_run(struct worker_job *job)
{
	struct store *s = job->data;

	s->sync_error = fdatasync(s->wal_fd) < 0 ? errno : 0;
}

static void sync_done(struct worker_job *job)
{
	struct store *s = job->data;
	struct err e = ERR_INIT;

	s->syncing = false;
	if (job->dropped)
		return;
	if (s->sync_error) {
		(void)err_set(&e, ERR_INTERNAL, "database_failed",
			      s->sync_error,
			      "the state database could not be written to the "
			      "disk: %s",
			      strerror(s->sync_error));
		log_error("%s", e.msg);
		waiters_call(s, &e);
		loop_timer_arm(&s->sync_timer, SYNC_AGAIN_MS);
		return;
	}
	if (checkpoint_wanted(s))
		checkpoint_begin(s);
	if (s->wal_pages >= LONG_PAGES && s->checkpointing &&
	    s->long_rounds < LONG_ROUNDS)
		return; /* the end of the checkpoint comes here again */
	s->durable = s->sync_upto;
	waiters_call(s, NULL);
	if (s->committed > s->durable && !loop_timer_armed(&s->sync_timer))
		loop_timer_arm_soon(&s->sync_timer);
}

static void on_sync_timer(struct loop_timer *timer)
{
	struct store *s = timer->data;

	if (s->syncing)
		return;
	if (store_is_durable(s)) {
		waiters_call(s, NULL);
		return;
	}
	s->syncing = true;
	s->sync_upto = s->committed;
	worker_submit(s->workers, &s->sync_job);
}

/* SQLite calls it after each commit that wrote to the WAL. */
static int on_commit(void *data, sqlite3 *db, const char *name, int pages)
{
	struct store *s = data;

	(void)db;
	(void)name;
	s->wal_pages = pages;
	return SQLITE_OK;
}

void store_sync_committed(struct store *s)
{
	s->committed++;
	if (!s->workers)
		s->durable = s->committed; /* for tests of the rows alone */
	else if (!s->syncing && !loop_timer_armed(&s->sync_timer))
		loop_timer_arm_soon(&s->sync_timer);
}

void store_sync_lost(struct store *s, const struct err *e)
{
	waiters_call(s, e);
}

static int run(sqlite3 *db, const char *sql)
{
	return sqlite3_exec(db, sql, NULL, NULL, NULL);
}

static void checkpoint_run(struct worker_job *job)
{
	struct store *s = job->data;
	int in_wal = -1, copied = -1;
	int rc = sqlite3_wal_checkpoint_v2(s->checkpointer, NULL,
					   SQLITE_CHECKPOINT_PASSIVE, &in_wal,
					   &copied);

	s->checkpoint_whole = rc == SQLITE_OK && in_wal == copied;
	s->checkpoint_failed = rc != SQLITE_OK;
}

static void checkpoint_done(struct worker_job *job)
{
	struct store *s = job->data;
	bool all;

	/* Others of this turn may have written already. */
	(void)store_flush(s, NULL);
	all = s->checkpoint_whole && s->committed == s->pinned_at;
	s->checkpointing = false;
	(void)run(s->pin, "COMMIT");
	if (job->dropped)
		return;
	if (all &&
	    sqlite3_wal_checkpoint_v2(s->db, NULL, SQLITE_CHECKPOINT_TRUNCATE,
				      NULL, NULL) != SQLITE_OK)
		s->checkpoint_failed = true;
	else if (all)
		s->reserved_to = s->wal_pages = s->covered_pages = 0;
	if (s->checkpoint_failed)
		log_warn("the state database could not be checkpointed: %s",
			 sqlite3_errmsg(all ? s->db : s->checkpointer));
	if (s->wal_pages == 0)
		s->long_rounds = 0;
	if (s->wal_pages >= LONG_PAGES)
		s->long_rounds++;
	if (!s->checkpoint_failed && store_is_durable(s) &&
	    checkpoint_wanted(s))
		checkpoint_begin(s);
	/* Those who were held, or who came meanwhile. */
	if (s->durable < s->committed && !s->syncing &&
	    !loop_timer_armed(&s->sync_timer))
		loop_timer_arm_soon(&s->sync_timer);
}

static void checkpoint_begin(struct store *s)
{
	if (s->checkpointing)
		return;
	/* A read: until COMMIT, this state of the WAL stays where it is. */
	if (run(s->pin, "BEGIN; SELECT 1 FROM meta LIMIT 1") != SQLITE_OK) {
		(void)run(s->pin, "ROLLBACK");
		return;
	}
	s->checkpointing = true;
	s->pinned_at = s->committed;
	s->covered_pages = s->wal_pages;
	worker_submit(s->workers, &s->checkpoint_job);
}

static sqlite3 *open_other(const char *path, const char *pragmas)
{
	sqlite3 *db = NULL;

	if (sqlite3_open_v2(path, &db,
			    SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX,
			    NULL) == SQLITE_OK &&
	    run(db, pragmas) == SQLITE_OK)
		return db;
	(void)sqlite3_close_v2(db);
	return NULL;
}

/* What the last daemon left in the WAL, and the names of the files. */
static int settle(struct store *s, const char *path, struct err *e)
{
	AUTO(free) char *wal = NULL;
	AUTO(free) char *dir = strdup(path);
	AUTO(fd) int dirfd = -1;
	char *slash = dir ? strrchr(dir, '/') : NULL;

	if (asprintf(&wal, "%s-wal", path) < 0 || !dir) {
		wal = NULL;
		return err_sys(e, ENOMEM, "opening %s", path);
	}
	if (slash)
		slash[slash == dir] = '\0';
	if (sqlite3_wal_checkpoint_v2(s->db, NULL, SQLITE_CHECKPOINT_TRUNCATE,
				      NULL, NULL) != SQLITE_OK)
		return store_fail(s, "taking up what was left", e);
	s->wal_fd = open(wal, O_RDWR | O_CLOEXEC);
	if (s->wal_fd < 0)
		return err_sys(e, errno, "opening %s", wal);
	dirfd = open(slash ? dir : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	/* The name of a new WAL; that it was cut is as in checkpoint_done(). */
	if (dirfd < 0 || fsync(dirfd) < 0)
		return err_sys(e, errno, "writing %s to the disk", path);
	return 0;
}

int store_sync_open(struct store *s, const char *path, struct err *e)
{
	int rc = settle(s, path, e);

	if (rc < 0)
		return rc;
	s->pin = open_other(path, "PRAGMA cache_size=-16");
	s->checkpointer = open_other(
		path, "PRAGMA synchronous=FULL; PRAGMA cache_size=-64");
	if (!s->pin || !s->checkpointer)
		return err_set(e, ERR_INTERNAL, "database_failed", 0,
			       "cannot open the state database %s again", path);
	(void)sqlite3_wal_hook(s->db, on_commit, s);
	if (run(s->db, "PRAGMA synchronous=OFF") != SQLITE_OK)
		return store_fail(s, "setting up", e);
	return 0;
}

void store_sync_close(struct store *s)
{
	if (s->workers)
		loop_timer_disarm(&s->sync_timer);
	(void)sqlite3_close_v2(s->pin);
	(void)sqlite3_close_v2(s->checkpointer);
	/* The last to close it writes the WAL into the database. */
	if (s->db)
		(void)run(s->db, "PRAGMA synchronous=FULL");
	close_fd(&s->wal_fd);
}

void store_attach(struct store *s, struct loop *loop,
		  struct worker_pool *workers)
{
	s->loop = loop;
	s->workers = workers;
	s->sync_job = (struct worker_job){ .run = sync_run,
					   .done = sync_done,
					   .data = s };
	s->checkpoint_job = (struct worker_job){ .run = checkpoint_run,
						 .done = checkpoint_done,
						 .data = s };
	loop_timer_init(loop, &s->sync_timer, on_sync_timer, s);
	if (s->durable < s->committed)
		loop_timer_arm_soon(&s->sync_timer);
}

bool store_is_durable(const struct store *s)
{
	return !s->open && s->durable >= s->committed;
}

void store_wait(struct store *s, struct store_waiter *w,
		void (*fn)(struct store_waiter *w, const struct err *e),
		void *data)
{
	store_wait_cancel(w);
	*w = (struct store_waiter){ .fn = fn,
				    .data = data,
				    .store = s,
				    .upto = s->committed + (s->open ? 1 : 0) };
	LIST_INSERT_HEAD(&s->waiters, w, link);
	/* Also when nothing is missing: never from within this call. */
	if (s->workers && !s->syncing && !loop_timer_armed(&s->sync_timer))
		loop_timer_arm_soon(&s->sync_timer);
}

void store_wait_cancel(struct store_waiter *w)
{
	if (!w->store)
		return;
	LIST_REMOVE(w, link);
	w->store = NULL;
}
