/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The daemon's context: one object that owns the loop's users, the store, the
 * VMs and the operations. What differs between the real daemon and a test
 * (engines, memory of the host, programs, limits) is in daemon_config.
 *
 * One thread, one loop: nothing here blocks; slow things are child processes.
 */
#ifndef VMD_DAEMON_H
#define VMD_DAEMON_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/loop.h"
#include "images/store.h"
#include "vmd/engines/engine.h"
#include "vmd/store/store.h"

struct daemon;
struct vm;
LIST_HEAD(vm_bucket, vm);
struct operation;
struct task;

struct daemon_config {
	const char *state_dir; /* absolute */
	const char *run_dir; /* absolute */
	const char *socket_path; /* of the API, unless systemd made it */
	const char *image_program; /* path of vmd-image */
	bool separated; /* privileged work is done by vmd-priv */
	uint32_t uid_first; /* of the range of users for VMs */
	const struct engine_ops *const *engines; /* ends with NULL */
	int (*engine_choose)(const char *wanted, const struct vm_launch *launch,
			     const struct engine_ops **ret,
			     char ret_reason[static 256], struct err *e);
	/* NULL: never. Whether guests of this engine are interpreted. */
	bool (*engine_emulates)(const struct engine_ops *engine);
	/* Bytes that new processes can take without swapping. */
	int (*memory_available)(uint64_t *ret_bytes, struct err *e);
	/* More checks for GET /v1/host: an array of Check objects, or NULL. */
	json_t *(*host_checks)(struct daemon *d);
	uint64_t slow_ms; /* for a client to send a request */
	uint64_t lease_ms; /* of an ephemeral VM nobody is attached to */
	uint64_t kill_ms; /* from kill to the certainty that it failed */
	unsigned keep_operations;
	bool jailed; /* processes of VMs are shut up, see jails.h */
	unsigned connections_max; /* of the API; 0: as many as is sensible */
	unsigned starts_max; /* VMs that come up at once; the others wait */
};

/* Called (from the loop, never from within the change) after the VM or operation
 * that it waits for has changed. Look at it; removal of any watch is allowed. */
struct watch {
	void (*fn)(struct watch *w);
	void *data;
	char id[ID_LEN + 1]; /* of the VM or operation */
	bool woken;
	uint64_t pass; /* in which it was woken */
	struct daemon *daemon; /* NULL when not added */
	LIST_ENTRY(watch) link;
	TAILQ_ENTRY(watch) woken_link;
};
LIST_HEAD(watch_bucket, watch);

/* What became of a VM that is no more: for those who still wait for it. */
struct obituary {
	char id[ID_LEN + 1];
	struct err why; /* ERR_NONE: it was deleted as asked */
	json_t *vm; /* as it was last */
};
enum {
	OBITUARIES = 64,
	VM_BUCKETS = 4096, /* a power of two; ids are random */
	WATCH_BUCKETS = 256, /* a power of two */
	SPECS_PARSED = 32
};

struct parsed_spec {
	const struct vm *vm; /* NULL: free */
	json_t *spec;
};

/* Who comes up and who waits for it; see vm_turn.c. */
struct turns {
	unsigned taken;
	TAILQ_HEAD(, vm) waiting;
};

#define DAEMON_ITSELF ((uid_t)-1)

struct daemon_counters {
	uint64_t vms_created, vms_started, vms_failed, vms_adopted;
	uint64_t execs, http_requests, http_refused, swept;
};

struct daemon {
	const struct daemon_config *config;
	struct loop *loop;
	struct worker_pool *workers; /* for what waits for a disk */
	struct store *store;
	struct err lost; /* what it lost; the loop was stopped then */
	struct image_store *images;
	char *images_dir;
	int lock_fd;
	int state_vms_fd, run_vms_fd; /* directories with one entry per VM */
	LIST_HEAD(, vm) vms;
	struct vm_bucket vms_by_id[VM_BUCKETS], vms_by_name[VM_BUCKETS];
	struct parsed_spec parsed[SPECS_PARSED]; /* see vm_spec.c */
	size_t parsed_next;
	size_t vm_count;
	struct turns turns;
	LIST_HEAD(, cgroup_left) cgroups_left; /* see vm/vm_cgroup.c */
	struct loop_timer cgroups_again;
	uint64_t cgroups_again_ms;
	uint32_t slot_next; /* of the range for VMs; see vm_launch.c */
	LIST_HEAD(, operation) operations;
	LIST_HEAD(, task) retired_tasks;
	/* A build that was killed is gone: its directory is in no use now. */
	void (*build_gone)(struct daemon *d);
	LIST_HEAD(, image_removal) image_removals;
	int state_trash_fd, run_trash_fd; /* see trash.h */
	struct task *emptying; /* the trash, while it runs */
	bool empty_wanted;
	uint64_t trash_count;
	size_t resident_next; /* see memory_promised() */
	struct loop_timer empty_again;
	struct store_waiter trash_waiter;
	struct task *sweep; /* of the image store, while it runs */
	bool sweep_again;
	struct watch_bucket watches[WATCH_BUCKETS]; /* by id */
	TAILQ_HEAD(, watch) woken; /* to be called */
	struct loop_timer notify;
	uint64_t pass; /* of calling them */
	struct obituary obituaries[OBITUARIES];
	size_t obituary_next;
	struct daemon_counters count;
	int64_t started_ms;
	size_t large_bytes; /* given to requests over API_BODY_MAX */
	char cursor_key[65]; /* cursor.c; "" before it is needed */
	uid_t caller; /* whose request is being handled, or DAEMON_ITSELF */
	bool stopping; /* VMs are left alone from here on */
};

enum {
	/* Of all requests over API_BODY_MAX (long commands) together. */
	LARGE_BYTES_MAX = 256 << 20,
};

/* false: so much is on its way already that this one must wait. */
static inline bool daemon_large_take(struct daemon *d, size_t len)
{
	if (len > LARGE_BYTES_MAX - d->large_bytes)
		return false;
	d->large_bytes += len;
	return true;
}

/*
 * Opens (or makes) the directories and the database; takes the lock of the
 * state directory: conflict already_running when another vmd holds it.
 */
int daemon_open(struct daemon *d, struct loop *loop,
		const struct daemon_config *config, struct err *e);
/* Reconciles with what is really there; see reconcile.c. */
int daemon_reconcile(struct daemon *d, struct err *e);
/* Lets go of everything; VMs keep running. */
void daemon_close(struct daemon *d);

/* watch.c; once, when the daemon is opened. */
void watch_open(struct daemon *d);
/* From now on, and once soon: it may have changed since the caller looked. */
void watch_add(struct daemon *d, struct watch *w, const char *id,
	       void (*fn)(struct watch *), void *data);
/* Harmless on one that is not added. */
void watch_remove(struct watch *w);
/* The VM or operation of that id has changed: who waits for it is called soon,
 * nobody else. An operation that changes is a change of its VM, too. */
void daemon_changed(struct daemon *d, const char *id);

/* handlers_image_delete.c: a conflict when that image is being removed. */
int daemon_image_stays(const struct daemon *d, const char *name, struct err *e);

void daemon_bury(struct daemon *d, const char *id, const struct err *why,
		 json_t *vm);
const struct obituary *daemon_obituary(const struct daemon *d, const char *id);

/* MemAvailable of the host. */
int host_memory_available(uint64_t *ret_bytes, struct err *e);

const struct engine_ops *daemon_engine(const struct daemon *d,
				       const char *name);

#endif
