/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtual machine as the daemon sees it: the durable row, the wish it was made
 * from, and what is there only while it runs. docs/daemon.md draws the states.
 *
 * One operation at a time works on a VM (vm->op). The engine's ended() is the
 * single place where a VM stops running; what then happens is decided there from
 * vm->op, vm->after and vm->start_error.
 */
#ifndef VMD_VM_H
#define VMD_VM_H

#include "vmd/guest/agent_session.h"
#include "vmd/daemon.h"
#include "vmd/operation.h"
#include "vmd/task.h"

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

/* What follows the end of the VM that is being brought about. */
enum vm_after {
	AFTER_STOPPED,
	AFTER_LAUNCH,
	AFTER_REMOVE
};

enum vm_turn {
	TURN_NONE,
	TURN_AWAITED,
	TURN_TAKEN
};

struct vm {
	struct vm_row row;
	json_t *spec; /* validated VmCreate with defaults */
	struct daemon *daemon;
	LIST_ENTRY(vm) link, by_id;
	bool indexed;

	struct operation *op;
	struct vm_files *files; /* its state directory is being made */
	struct task *clone;
	enum vm_after after;
	struct err why; /* what made it end, when not the guest itself */

	const struct engine_ops *engine;
	struct engine_vm *handle; /* not NULL: it runs (or is being ended) */
	struct agent_session *session;
	struct vm_ports *ports; /* listened on; NULL: none are published */
	struct vm_process processes[VM_PROCESSES_MAX];
	size_t process_count;
	uint64_t resident_bytes; /* of them */
	uint64_t resident_ms; /* when it was read; monotonic */
	uint32_t uid_slot; /* of its processes, in the range of privops.h */
	uint64_t launch_ms; /* monotonic */
	int run_dirfd;
	bool starting; /* launched, and not ready yet: its end is a failed start */
	bool ending; /* a power-off or kill is under way */
	bool killed; /* there is no way back */

	enum vm_turn turn; /* to come up; see vm_turn.c */
	TAILQ_ENTRY(vm) turn_link;
	loop_timer_fn *turn_fn;
	struct loop_timer turn_end;

	struct loop_timer deadline; /* of the current step */
	struct loop_timer reconnect; /* of the agent */
	struct loop_timer room; /* of a paused VM: is there room now? */
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
/* row.id is set, once: the VM is found by it from now on. */
void vm_index(struct vm *vm);
struct vm *vm_find_id(struct daemon *d, const char *id);
/* By id, name, or a unique prefix of the id: base/lookup.h. */
struct vm *vm_find(struct daemon *d, const char *ref, struct err *e);
/* Writes the row with a new revision and tells the watches. */
int vm_save(struct vm *vm, struct err *e);
/* State and reason ("" clears); saved; a failed write is logged. */
void vm_set_state(struct vm *vm, enum api_vm_state state, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* The operation of the VM ends, if there is one. */
void vm_finish(struct vm *vm, const struct err *why);
/* conflict operation_running when something else works on it. */
int vm_idle(const struct vm *vm, struct err *e);
bool vm_is_active(const struct vm *vm); /* memory is promised to it */

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
int vm_launch(struct vm *vm, struct err *e);
/* The VM's own copy, from its state directory. */
int vm_read_manifest(struct vm *vm, struct image *ret, struct err *e);
/* The same when its turn comes; a failure is told to the operation. */
void vm_launch_in_turn(struct vm *vm);
/* The start attempt is over: ends what runs, then fails with e. */
void vm_start_failed(struct vm *vm, const struct err *why);
uint64_t vm_ready_timeout_ms(const struct vm *vm);
/* It was launched at row.started_ms and has to be ready in time; one that was
 * taken over has a moment to be heard, however late it is. */
void vm_await_ready(struct vm *vm);

/* vm_turn.c: fn is called with vm->deadline as its timer as soon as it is this
 * VM's turn to come up; never from within. */
void vm_turn_take(struct vm *vm, loop_timer_fn *fn);
/* It is up, or will not come up: the next one may. Harmless without a turn. */
void vm_turn_leave(struct vm *vm);
/* Its guest boots now: from here on the turn is limited in time. */
void vm_turn_begin_boot(struct vm *vm);

/* vm_events.c: the engine's and the agent's callbacks. */
extern const struct engine_events vm_engine_events;

/* vm_peer.c: whether a process that connects to us works for a VM. */
bool vm_owns_peer(const struct daemon *d, uid_t uid, pid_t pid);

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

/* vm_pause.c: an engine's paused(); and the end of what was paused. */
void vm_on_paused(void *ctx, const char *why);
void vm_pause_over(struct vm *vm);

/* vm_end.c */
void vm_ended(struct vm *vm, enum vm_end end, const struct err *e);
const char *vm_end_text(enum vm_end end);
void vm_forget_processes(struct vm *vm);
/* Removes files and rows, then the object. */
void vm_remove(struct vm *vm, const struct err *why);

/* vm_verbs.c: the operations on a VM that exists: vm->op after start; ret_op
 * gets its id where the VM may be stopped or gone on return. timeout_ms: for the
 * guest to power off (0: it is not asked). */
int vm_start(struct vm *vm, struct err *e);
int vm_stop(struct vm *vm, uint64_t timeout_ms, bool force,
	    char ret_op[static ID_LEN + 1], struct err *e);
int vm_restart(struct vm *vm, uint64_t timeout_ms, bool force,
	       char ret_op[static ID_LEN + 1], struct err *e);
int vm_delete(struct vm *vm, bool force, char ret_op[static ID_LEN + 1],
	      struct err *e);
/* Ends and removes it whatever it does now; why is for those who wait. The VM
 * may be gone on return. */
void vm_destroy(struct vm *vm, const struct err *why);
void vm_kill(struct vm *vm);
void vm_op_stop(struct operation *op, const struct err *why);

/* vm_life.c: time to live and lease. */
void vm_life_begin(struct vm *vm);
void vm_attach(struct vm *vm);
/* Ends an ephemeral VM; it may be gone on return. */
void vm_detach(struct vm *vm);

#endif
