/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of a VM as data: what each state shows, what it may hold, when its
 * time is over, and which event leads from where to where. vm_table.c is the
 * documentation of it, vm_state.c does what it says. docs/daemon.md has its
 * picture, which vm_picture.c makes from the table.
 */
#ifndef VMD_VM_TABLE_H
#define VMD_VM_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/names.h"
#include "base/err.h"

struct vm;

enum vm_state {
	VM_NEW, /* not durable yet */
	VM_LOADED, /* an earlier daemon's, not judged yet */
	VM_CREATED, /* waits for its turn to be made */
	VM_MAKING, /* directories and disk are being made */
	VM_WAITING, /* waits for its turn to start */
	VM_LAUNCHING, /* the engine makes its processes */
	VM_BOOTING, /* its CPUs run, its agent has not answered */
	VM_COMMAND, /* its agent starts the main command */
	VM_PAUSED_START, /* the host paused it while it came up */
	VM_READY,
	VM_MUTE, /* its agent was lost */
	VM_PAUSED, /* the host paused it */
	VM_STOPPING, /* the guest was asked to power off */
	VM_RESTARTING, /* the same, and a start follows */
	VM_KILLING, /* being ended by force */
	VM_REKILLING, /* the same, and a start follows */
	VM_FAILING, /* its start failed: being ended by force */
	VM_REMOVING, /* being ended by force, to be removed */
	VM_DELETING, /* nothing runs; about to be removed */
	VM_GONE, /* its files and rows are removed */
	VM_STOPPED,
	VM_FAILED,
	VM_STUCK, /* nobody wants it, and it could not be removed */
	VM_UNKNOWN, /* cannot be judged */
	VM_HELD, /* killed, and the host does not let it go */
	VM_HELD_REMOVING, /* the same, and to be removed */
	/* Choices: passed through at once. */
	VM_START_OVER, /* the attempt to start it is over, nothing runs */
	VM_BOOTS, /* it runs and was never ready */
	VM_RUNS, /* it runs and was ready */
	VM_STATE_COUNT,
	VM_SAME = VM_STATE_COUNT /* of a rule: no other state */
};

enum vm_event {
	/* Somebody wants it. */
	ON_CREATE,
	ON_START,
	ON_STOP,
	ON_STOP_FORCE,
	ON_RESTART,
	ON_RESTART_FORCE,
	ON_DELETE,
	ON_DELETE_FORCE,
	ON_DESTROY, /* nobody needs it any more */
	ON_CANCEL, /* the operation */
	/* The state's time is over, or its turn has come. */
	ON_TIMER,
	/* The disk is there; it could not be made, or the engine not begin. */
	ON_MADE,
	ON_REFUSED,
	/* The engine; how it ended is in the order of enum vm_end. */
	ON_RUNS,
	ON_PAUSED,
	ON_RESUMED,
	ON_BROKEN, /* its process could not be journalled */
	ON_POWEROFF,
	ON_RESET,
	ON_CRASH,
	ON_KILLED,
	ON_DIED,
	ON_STARVED,
	/* The agent and the main command. */
	ON_AGENT,
	ON_AGENT_LOST,
	ON_COMMAND_RUNS,
	ON_COMMAND_FAILED,
	ON_EXITED,
	/* Removal. */
	ON_NOT_REMOVED,
	/* What a new daemon finds. */
	ON_FOUND_STOPPED,
	ON_FOUND_FAILED,
	ON_FOUND_HALF, /* half made, half removed */
	ON_FOUND_CUT, /* its start was cut off, nothing runs */
	ON_FOUND_RUNNING,
	ON_FOUND_UNCLEAR,
	ON_FOUND_REBOOTED, /* the host */
	/* Of a choice. */
	ON_CHOICE,
	VM_EVENT_COUNT
};

/* The ends of a run, as a set. */
#define VM_ANY_END \
	((UINT64_C(1) << (ON_STARVED + 1)) - (UINT64_C(1) << ON_POWEROFF))

/* What a VM may hold in a state; it is dropped on the way to a state that may
 * not. */
enum vm_holding {
	HOLDS_OPERATION = 1 << 0,
	HOLDS_TURN = 1 << 1,
	HOLDS_MAKING = 1 << 2, /* files and disk that are being made */
	HOLDS_RUN = 1 << 3, /* ports, the agent's session, the engine's VM */
	HOLDS_PROCESSES = 1 << 4, /* journalled */
	HOLDS_CONSOLE = 1 << 5, /* its last output */
};

enum vm_state_flag {
	STATE_CHOICE = 1 << 0,
	/* Row and reason stay as they were: what is shown does not change. */
	STATE_UNSEEN = 1 << 1,
	/* Its action writes the row, or removes it. */
	STATE_UNWRITTEN = 1 << 2,
	/* Who brought it about, and why, is kept (vm->why) until it ends. */
	STATE_ENDING = 1 << 3,
	/* The row keeps the error that led here. */
	STATE_FAILED = 1 << 4,
};

/* A state's timer. The next state with the same one goes on with its time. */
struct vm_clock {
	/* In ms from now; NULL: armed by its turn. */
	uint64_t (*limit_ms)(const struct vm *vm);
	/* The error that its end is, if it is one; or NULL. */
	void (*late)(const struct vm *vm, struct err *ret);
	const char *text; /* for the picture */
};

struct vm_state_row {
	const char *name;
	enum api_vm_state shown;
	unsigned holds; /* enum vm_holding */
	unsigned flags; /* enum vm_state_flag */
	const struct vm_clock *clock; /* NULL: it has no timer */
};

enum vm_guard {
	ALWAYS,
	IF_EPHEMERAL,
	IF_START, /* it is to start when it is made */
	IF_AT_ONCE, /* the guest is given no time */
	IF_COMMAND, /* its main command has not been started yet */
	IF_UNDONE, /* a create that was cancelled */
	IF_CANCELLED,
	IF_AGENT, /* the agent answers */
	IF_PAUSED, /* by the host */
	IF_NEVER_READY,
	/* It is ephemeral and its main command has ended: while a stop was under
	 * way, or just before an earlier daemon was killed. */
	IF_OVER,
	VM_GUARD_COUNT
};

/* why: of the event; kind ERR_NONE: none. The last action of an event may free
 * the VM. */
typedef void vm_action_fn(struct vm *vm, const struct err *why);

/* The first one that fits is taken. */
struct vm_rule {
	uint32_t from; /* states, a bit each */
	uint64_t on; /* events, a bit each */
	enum vm_guard given;
	enum vm_state next;
	/* What the VM shows as its reason: text, REASON_*, or NULL: none. */
	const char *reason;
	vm_action_fn *act; /* after the change; NULL: nothing */
	int begins; /* enum api_op_kind of a new operation, or -1 */
};

/* The message of the event's error, its code, what was said before. */
#define REASON_SAID "*"
#define REASON_CODE "#"
#define REASON_KEPT "="

/* States whose VM runs and nobody wants to end it: its engine and its agent are
 * listened to. */
#define VM_UP                                                             \
	((UINT32_C(1) << VM_LAUNCHING) | (UINT32_C(1) << VM_BOOTING) |    \
	 (UINT32_C(1) << VM_COMMAND) | (UINT32_C(1) << VM_PAUSED_START) | \
	 (UINT32_C(1) << VM_READY) | (UINT32_C(1) << VM_MUTE) |           \
	 (UINT32_C(1) << VM_PAUSED))

extern const struct vm_state_row vm_states[VM_STATE_COUNT];
extern const struct vm_rule vm_rules[];
extern const size_t vm_rule_count;
extern const char *const vm_event_names[VM_EVENT_COUNT];
extern const char *const vm_guard_names[VM_GUARD_COUNT];

/* The rule for that event in that state, or NULL. why: of the event. */
const struct vm_rule *vm_rule_find(const struct vm *vm, enum vm_state state,
				   enum vm_event on, const struct err *why);

/* The clocks of the states, in ms from now, and what their end means. */
uint64_t vm_limit_none(const struct vm *vm);
uint64_t vm_limit_making(const struct vm *vm);
uint64_t vm_limit_ready(const struct vm *vm);
uint64_t vm_limit_look(const struct vm *vm);
uint64_t vm_limit_stop(const struct vm *vm);
uint64_t vm_limit_kill(const struct vm *vm);
uint64_t vm_limit_remove_again(const struct vm *vm);
void vm_late_making(const struct vm *vm, struct err *ret);
void vm_late_ready(const struct vm *vm, struct err *ret);
void vm_late_stop(const struct vm *vm, struct err *ret);
void vm_late_kill(const struct vm *vm, struct err *ret);
void vm_late_deleting(const struct vm *vm, struct err *ret);

/* What the rules do. In vm_turn.c, vm_create.c, vm_launch.c, vm_agent.c,
 * vm_verbs.c, vm_pause.c, vm_end.c. */
vm_action_fn vm_act_take_turn, vm_act_make, vm_act_launch, vm_act_runs,
	vm_act_agent, vm_act_reconnect, vm_act_command_failed, vm_act_ask,
	vm_act_kill, vm_act_paused, vm_act_look, vm_act_remove,
	vm_act_count_failed;

#endif
