/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the daemon must not forget, in one SQLite file (WAL): the VMs as they
 * are wanted, the operations, the journal of host resources, the answers to
 * idempotent requests. Rows are plain structs; no caller sees SQL.
 *
 * A committed transaction survives the death of the daemon at once, and a power
 * cut when store_wait() says so: see store_sync.c.
 *
 * Trust: the file belongs to the daemon. A newer schema is refused politely.
 */
#ifndef VMD_STORE_H
#define VMD_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <sys/queue.h>

#include "api/names.h"
#include "base/err.h"
#include "base/worker.h"
#include "vmd/id.h"

struct vm_row {
	char id[ID_LEN + 1];
	char name[64];
	char image[72]; /* as asked for */
	char image_id[65];
	enum api_vm_state state;
	char reason[256];
	char engine[16]; /* "" until one was chosen */
	char engine_reason[256];
	bool emulated;
	bool ephemeral;
	bool command_started; /* the detached main command was handed over */
	bool has_exit;
	int exit_status, exit_signal;
	uint64_t memory_bytes, disk_bytes;
	int64_t created_ms, started_ms, ready_ms, expires_ms; /* 0: not */
	char agent_release[65], agent_version[65];
	struct err error; /* kind ERR_NONE: none */
	uint64_t revision;
	char *spec; /* JSON text of the request, malloc'd */
};

void vm_row_done(struct vm_row *row);

struct op_row {
	int64_t seq; /* grows; 0 in one that was not read from the store */
	char id[ID_LEN + 1];
	char kind[24]; /* "vm_create" */
	enum api_op_state state;
	char resource_kind[8]; /* "vm" or "image" */
	char resource_id[64];
	char step[128];
	uint64_t done, total;
	int64_t created_ms, finished_ms;
	struct err error;
};

enum journal_kind {
	JOURNAL_RUN_DIR, /* name: the VM's id */
	JOURNAL_STATE_DIR, /* name: the VM's id */
	JOURNAL_STAGING, /* name: staging directory of the image store */
	JOURNAL_PROCESS, /* of a VM; name: role; outlives the daemon */
	JOURNAL_TASK, /* process group of ours; must not outlive us */
	/* Of a VM that runs: its cgroup; name: whom its processes are, an index
	 * into the range of users. */
	JOURNAL_CGROUP,
};

struct journal_row {
	char owner[ID_LEN + 1]; /* a VM's or an operation's id */
	enum journal_kind kind;
	char name[64];
	pid_t pid;
	uint64_t start_time;
};

struct store;

struct store *store_open(const char *path, struct err *e);
void store_close(struct store *s);

/* From here on worker threads make commits durable. The loop outlives the store;
 * the workers go before it, for they may be at work for it. */
void store_attach(struct store *s, struct loop *loop,
		  struct worker_pool *workers);

/*
 * From the loop: what a turn wrote could not be committed at its end, so what the
 * daemon believes is not what is stored. It has to end; see store_turn.c.
 */
void store_on_lost(struct store *s, void (*fn)(void *data, const struct err *e),
		   void *data);

/* Embedded in its owner; zeroed memory is one that waits for nothing. */
struct store_waiter {
	void (*fn)(struct store_waiter *w, const struct err *e);
	void *data;
	struct store *store; /* NULL when it does not wait */
	uint64_t upto;
	LIST_ENTRY(store_waiter) link;
};

/* What a turn wrote could not be committed so far: it is told from memory, and
 * tried again. */
bool store_in_trouble(const struct store *s);
/* Nothing was changed that a power cut could undo. */
bool store_is_durable(const struct store *s);
/*
 * Calls fn once, from the loop and never from within this call, when all that
 * is committed now is durable (e NULL), or when the disk refused it.
 */
void store_wait(struct store *s, struct store_waiter *w,
		void (*fn)(struct store_waiter *w, const struct err *e),
		void *data);
/* Harmless on one that does not wait. */
void store_wait_cancel(struct store_waiter *w);

/*
 * Within a turn of the loop, all that is changed is committed at its end, at once
 * (where room for it could be reserved: see store_turn.c). What has to survive the
 * daemon before the next thing is done is committed by this; outside of
 * store_begin() and store_commit(). store_journal_add() does it by itself.
 */
int store_commit_now(struct store *s, struct err *e);

/* Changes between the two become durable together or not at all. May be nested. */
int store_begin(struct store *s, struct err *e);
int store_commit(struct store *s, struct err *e);
void store_rollback(struct store *s);

/* Conflict name_taken when the name is in use. */
int store_vm_insert(struct store *s, const struct vm_row *row, struct err *e);
int store_vm_update(struct store *s, const struct vm_row *row, struct err *e);
/* Takes the VM's journal rows with it. */
int store_vm_delete(struct store *s, const char *id, struct err *e);
/* Oldest first. fn owns row->spec when it takes it (take_ptr). */
int store_vm_each(struct store *s, void (*fn)(void *ctx, struct vm_row *row),
		  void *ctx, struct err *e);

int store_op_put(struct store *s, const struct op_row *row, struct err *e);
int store_op_get(struct store *s, const char *id, struct op_row *ret,
		 struct err *e);
/* Calls fn with the id of each operation whose id begins with prefix. */
int store_op_ids(struct store *s, const char *prefix,
		 void (*fn)(void *ctx, const char *id), void *ctx,
		 struct err *e);
/* Newest first, at most limit (SIZE_MAX: all), older than that seq (0: all).
 * Returns how many were given to fn, or a negative errno. */
int store_op_each(struct store *s, int64_t before, size_t limit,
		  void (*fn)(void *ctx, const struct op_row *row), void *ctx,
		  struct err *e);
/* Every operation that still runs becomes failed with this error. */
int store_op_fail_running(struct store *s, const struct err *why,
			  int64_t now_ms, struct err *e);
/* Keeps the newest `keep` finished operations and idempotent answers, and up to
 * a sixteenth more. */
int store_prune(struct store *s, unsigned keep, struct err *e);

int store_journal_add(struct store *s, const struct journal_row *row,
		      struct err *e);
/* name NULL: every row of that kind. */
int store_journal_remove(struct store *s, const char *owner,
			 enum journal_kind kind, const char *name,
			 struct err *e);
/* owner NULL: all. The rows are malloc'd. */
int store_journal_list(struct store *s, const char *owner,
		       struct journal_row **ret, size_t *ret_count,
		       struct err *e);

/* The answer given to a request with that key; 0 and *ret_found. body malloc'd. */
struct stored_answer {
	char fingerprint[65]; /* of method, path and body */
	unsigned status;
	char location[128];
	char *body;
};
int store_answer_get(struct store *s, const char *key,
		     struct stored_answer *ret, bool *ret_found, struct err *e);
int store_answer_put(struct store *s, const char *key,
		     const struct stored_answer *answer, struct err *e);

/* Small facts by name ("boot_id"); "" when absent. */
int store_meta_get(struct store *s, const char *key, char *buf, size_t size,
		   struct err *e);
int store_meta_put(struct store *s, const char *key, const char *value,
		   struct err *e);

#endif
