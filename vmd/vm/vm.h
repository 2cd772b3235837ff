/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtual machine as the daemon sees it: the durable row, the wish it was made
 * from, and what is there only while it runs.
 *
 * Its life is the table of vm_table.c, and vm_event() the one door. The layers:
 *
 *   vm_verbs, vm_events, vm_life, reconcile   say what happens: events
 *   vm_state                                  changes the state, drops, acts
 *   vm_create, vm_launch, vm_agent, vm_end    what the rules do
 *   vm, vm_files, vm_turn, vm_console, ...    what those are made of
 */
#ifndef VMD_VM_H
#define VMD_VM_H

#include "base/cgroup.h"
#include "vmd/daemon.h"
#include "vmd/guest/agent_session.h"
#include "vmd/operation.h"
#include "vmd/task.h"
#include "vmd/vm/vm_table.h"

enum {
	CONSOLE_KEEP_BYTES = 16384,
	READY_TIMEOUT_S = 60,
	READY_EMULATED_FACTOR = 4,
	MAIN_COMMAND_TAG = 1, /* of the detached main command */
};

/* Somebody who sees the VM's console. Called in place; may remove itself. */
struct vm_console_user {
	void (*output)(struct vm_console_user *u, const void *data, size_t len);
	/* The VM does not run any more; may be NULL. */
	void (*ended)(struct vm_console_user *u);
	/* The VM is about to be freed; the user is already off the list. */
	void (*gone)(struct vm_console_user *u);
	LIST_ENTRY(vm_console_user) link;
};

enum vm_turn {
	TURN_NONE,
	TURN_AWAITED,
	TURN_TAKEN
};

struct vm {
	struct vm_row row; /* state and reason: what clients see of it */
	enum vm_state state; /* changed by vm_event() only */
	struct loop_timer timer; /* the state's own */
	bool dropping; /* what the last state held: nobody listens */
	bool unsaved; /* the row has what the next change writes */
	bool tombstone; /* found in the trash: it is being removed */
	struct daemon *daemon;
	LIST_ENTRY(vm) link, by_id, by_name;
	bool indexed;

	struct operation *op;
	struct vm_files *files; /* its state directory is being made */
	struct task *clone;
	struct err *why; /* see vm_why() */
	uint64_t stop_ms; /* for the guest to power off */

	const struct engine_ops *engine;
	struct engine_vm *handle; /* not NULL: it runs (or is being ended) */
	struct agent_session *session;
	struct vm_ports *ports; /* listened on; NULL: none are published */
	struct vm_process processes[VM_PROCESSES_MAX];
	size_t process_count;
	uint64_t resident_bytes; /* of them */
	uint64_t resident_ms; /* when it was read; monotonic */
	uint32_t uid_slot; /* of its processes, in the range of privops.h */
	bool in_cgroup; /* journalled, as uid_slot is; see vm_cgroup.c */
	struct cgroup_oom oom; /* of the run that ended last */
	int run_dirfd;

	enum vm_turn turn; /* to come up; see vm_turn.c */
	TAILQ_ENTRY(vm) turn_link;
	struct loop_timer turn_end;

	struct loop_timer reconnect; /* of the agent */
	bool paused; /* by its engine, for want of room on the disk */
	uint64_t room_ms; /* until the next look */
	uint64_t paused_since_ms, resumed_ms; /* monotonic */
	uint64_t paused_ms; /* of this run, altogether */
	struct loop_timer life; /* ttl or lease, whichever is sooner */
	uint64_t lease_end_ms; /* monotonic, 0: no lease */
	unsigned attached;

	LIST_HEAD(, vm_console_user) console_users;
	uint8_t *console; /* ring, while it runs; see vm_console.c */
	size_t console_at; /* next byte to write */
	uint64_t console_total;
};

/* vm.c */
struct vm *vm_new(struct daemon *d, struct err *e);
void vm_free(struct vm *vm);
/* row.id and row.name are set, once: the VM is found by them from now on. */
void vm_index(struct vm *vm);
struct vm *vm_find_id(struct daemon *d, const char *id);
struct vm *vm_find_name(struct daemon *d, const char *name);
/* By id, name, or a unique prefix of the id: base/lookup.h. */
struct vm *vm_find(struct daemon *d, const char *ref, struct err *e);
/* What made it end, when not the guest itself; empty when there is none. It is in
 * memory of its own, for resting VMs have none. */
const struct err *vm_why(const struct vm *vm);
/* Takes a copy; NULL or an empty one clears. */
void vm_set_why(struct vm *vm, const struct err *why);
/* Writes the row with a new revision and tells the watches. */
int vm_save(struct vm *vm, struct err *e);
bool vm_is_active(const struct vm *vm); /* memory is promised to it */
/* Nothing runs, and nothing will unless somebody asks for it. */
bool vm_rests(const struct vm *vm);

/* vm_state.c */
/* Something happened to the VM; why (may be NULL, or of kind ERR_NONE): the error,
 * or words for its reason. Without a rule for it in this state nothing changes. The
 * VM may be gone on return. */
void vm_event(struct vm *vm, enum vm_event on, const struct err *why);
/* The same, for what somebody asks for: 0, or why not; ret_op (may be NULL): the id
 * of its operation, ID_LEN + 1 bytes. */
int vm_verb(struct vm *vm, enum vm_event on, char *ret_op, struct err *e);
/* Whether its state is one of those, a bit each. */
bool vm_state_in(const struct vm *vm, uint32_t states);
/* Another reason for the state that it is in, if it runs; "" clears. */
void vm_say(struct vm *vm, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* The state's timer begins anew; or its turn has come. */
void vm_arm(struct vm *vm);
void vm_arm_soon(struct vm *vm);

/* vm_spec.c: a validated VmCreate with defaults, borrowed until so many other
 * VMs were asked for theirs; NULL (which has no members) without memory. */
json_t *vm_spec(const struct vm *vm);
/* At creation, before row.spec is there; takes a reference. */
void vm_spec_set(struct vm *vm, json_t *spec);
/* It is parsed again when it is asked for. */
void vm_spec_drop(const struct vm *vm);

/* vm_json.c */
json_t *vm_to_json(const struct vm *vm);
bool vm_label_matches(const struct vm *vm, const char *key, const char *value);

/* admission.c: may it be here? Each refusal says asked, free and what fits. */
int admit_memory(struct daemon *d, const struct vm *vm, struct err *e);
/* Were it alone on this host: a VM that could never start is not made. */
int admit_memory_ever(const struct vm *vm, struct err *e);
int admit_disk(struct daemon *d, uint64_t bytes, struct err *e);
int admit_ports(const struct vm *vm, struct err *e);
/* kernel_check.c: unsupported kernel_wrong_arch when image or kernel are for
 * another processor. */
int admit_kernel(const struct image *image, const char *path, struct err *e);
/* Memory that VMs of this daemon were promised and have not touched yet. */
uint64_t memory_promised(struct daemon *d, const struct vm *except);

/* vm_create.c: body is a validated VmCreate with defaults (borrowed). also()
 * (or NULL) is called in the transaction that makes the VM durable: what it
 * stores is there when the VM is, and only then. */
int vm_create(struct daemon *d, json_t *body,
	      int (*also)(void *ctx, struct vm *vm, struct err *e), void *ctx,
	      struct vm **ret, struct err *e);
bool vm_wants_command(const struct vm *vm);

/* vm_files.c: makes the state directory but for the disk; done() follows, or an
 * error here. */
int vm_files_make(struct vm *vm, const struct image *image,
		  void (*done)(struct vm *vm, const struct err *e),
		  struct err *e);
/* Directory and disk are not made any further; nothing is called. */
void vm_stop_making(struct vm *vm);

/* vm_launch.c */
int vm_choose_engine(struct vm *vm, const struct image *image, struct err *e);
/* The VM's own copy, from its state directory. */
int vm_read_manifest(struct vm *vm, struct image *ret, struct err *e);

/* vm_turn.c: the timer of its state fires as soon as it is this VM's turn to come
 * up; never from within. */
void vm_turn_take(struct vm *vm);
/* It is up, or will not come up: the next one may. Harmless without a turn. */
void vm_turn_leave(struct vm *vm);
/* Its guest boots now: from here on the turn is limited in time. */
void vm_turn_begin_boot(struct vm *vm);

/* vm_events.c: the engine's callbacks. vm_agent.c: the agent's. */
extern const struct engine_events vm_engine_events;
extern const struct agent_session_ops vm_session_ops;

/* vm_peer.c: whether a process that connects to us works for a VM. */
bool vm_owns_peer(const struct daemon *d, uid_t uid, pid_t pid);

/* vm_cgroup.c: before its first process is started; its row, of a daemon before
 * us; after the last process has ended. */
int vm_cgroup_begin(struct vm *vm, struct err *e);
void vm_cgroup_load(struct vm *vm, const struct journal_row *row);
void vm_cgroup_end(struct vm *vm);
/* Of a VM that is no more; *ret as that of vm_cgroup_end(). */
void vm_cgroup_end_of(struct daemon *d, const char *id, struct cgroup_oom *ret);
/* Whether that end was for want of memory, and in words. */
bool vm_cgroup_oom(const struct vm *vm, struct err *ret);
/* For what cannot be removed at once. */
void vm_cgroups_init(struct daemon *d);
void vm_cgroups_done(struct daemon *d);

/* vm_console.c: an empty ring for a run that begins, and its end. */
int vm_console_begin(struct vm *vm, struct err *e);
void vm_console_end(struct vm *vm);
/* Guest data: kept, and handed to those who see the console. */
void vm_console_output(struct vm *vm, const uint8_t *data, size_t len);
/* What the guest wrote while no daemon listened, from the log of this run. */
void vm_console_load(struct vm *vm);
/* The newest bytes, at most size; how many. */
size_t vm_console_replay(const struct vm *vm, uint8_t *buf, size_t size);
/* The newest printable text, for a person. */
void vm_console_tail(const struct vm *vm, char *buf, size_t size);

/* vm_pause.c: an engine's paused(). */
void vm_on_paused(void *ctx, const char *text);

/* vm_end.c: its engine, or what it left, says how it ended. */
void vm_ended(struct vm *vm, enum vm_end end, const struct err *e);
void vm_forget_processes(struct vm *vm);

/* vm_verbs.c: what clients ask for; the VM may be gone on return. timeout_ms: for
 * the guest to power off (0: it is not asked). */
int vm_start(struct vm *vm, char *ret_op, struct err *e);
int vm_stop(struct vm *vm, uint64_t timeout_ms, bool force, char *ret_op,
	    struct err *e);
int vm_restart(struct vm *vm, uint64_t timeout_ms, bool force, char *ret_op,
	       struct err *e);
int vm_delete(struct vm *vm, bool force, char *ret_op, struct err *e);
/* The operation's stop(). */
void vm_cancel(struct operation *op, const struct err *why);
/* Why there is no rule for it: set in *e for a verb, logged otherwise. */
int vm_refuse(const struct vm *vm, enum vm_event on, struct err *e);
/* conflict operation_running when something works on it. */
int vm_idle(const struct vm *vm, struct err *e);

/* vm_life.c: time to live and lease. */
/* Ends and removes it whatever it does now; why is for those who wait. The VM
 * may be gone on return. */
void vm_destroy(struct vm *vm, const struct err *why);
void vm_life_begin(struct vm *vm);
void vm_attach(struct vm *vm);
/* Ends an ephemeral VM; it may be gone on return. */
void vm_detach(struct vm *vm);

#endif
