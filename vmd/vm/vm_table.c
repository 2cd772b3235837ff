/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of a VM: the states, and the rules that lead from one to another.
 * Read it as the documentation it is. What a rule does not say does not happen:
 * a verb without a rule is refused (vm_verbs.c says why), any other event is
 * logged for debugging and has no effect.
 */
#include "vmd/vm/vm_table.h"

#include <assert.h>

#include "base/checked.h"
#include "vmd/vm/vm.h"

/* A table is read by its columns. */
/* clang-format off */

enum {
	OP = HOLDS_OPERATION,
	TURN = HOLDS_TURN,
	MAKE = HOLDS_MAKING,
	PIDS = HOLDS_PROCESSES,
	CONSOLE = HOLDS_CONSOLE,
	RUN = HOLDS_RUN | HOLDS_PROCESSES | HOLDS_CONSOLE,
	ALL = 0xff
};

static const struct vm_clock
	turn   = { NULL, NULL, "its turn has come" }, /* armed by vm_turn.c */
	making = { vm_limit_making, vm_late_making, "not made in time" },
	ready  = { vm_limit_ready, vm_late_ready, "not ready in time" },
	look   = { vm_limit_look, NULL, "time to look at the disk" },
	stop   = { vm_limit_stop, vm_late_stop, "not down in time" },
	killed = { vm_limit_kill, vm_late_kill, "still there" },
	now    = { vm_limit_none, vm_late_deleting, "at once" },
	again  = { vm_limit_remove_again, NULL, "time to try again" };

#define STATE(state, name, shown, holds, clock, flags) \
	[VM_##state] = { name, API_VM_##shown, holds, flags, clock }
#define CHOICE(state, text) [VM_##state] = { .name = text, .flags = STATE_CHOICE }

const struct vm_state_row vm_states[VM_STATE_COUNT] = {
	/*    state          name             shown     holds                timer     flags */
	STATE(NEW,           "new",           CREATING, ALL,                 NULL,     0),
	STATE(LOADED,        "loaded",        UNKNOWN,  RUN,                 NULL,     STATE_UNSEEN),
	STATE(CREATED,       "created",       CREATING, OP | TURN,           &turn,    0),
	STATE(MAKING,        "making",        CREATING, OP | TURN | MAKE,    &making,  0),
	STATE(WAITING,       "waiting",       STARTING, OP | TURN | CONSOLE, &turn,    0),
	STATE(LAUNCHING,     "launching",     STARTING, OP | TURN | RUN,     &ready,   STATE_UNWRITTEN),
	STATE(BOOTING,       "booting",       RUNNING,  OP | TURN | RUN,     &ready,   0),
	STATE(COMMAND,       "command",       READY,    OP | RUN,            &ready,   0),
	STATE(PAUSED_START,  "paused_start",  PAUSED,   OP | RUN,            &look,    0),
	STATE(READY,         "ready",         READY,    RUN,                 NULL,     0),
	STATE(MUTE,          "mute",          RUNNING,  RUN,                 NULL,     0),
	STATE(PAUSED,        "paused",        PAUSED,   RUN,                 &look,    0),
	STATE(STOPPING,      "stopping",      STOPPING, OP | RUN,            &stop,    STATE_ENDING),
	STATE(RESTARTING,    "restarting",    STOPPING, OP | RUN,            &stop,    STATE_ENDING),
	STATE(KILLING,       "killing",       STOPPING, OP | RUN,            &killed,  STATE_ENDING),
	STATE(REKILLING,     "rekilling",     STOPPING, OP | RUN,            &killed,  STATE_ENDING),
	STATE(FAILING,       "failing",       STARTING, OP | RUN,            &killed,  STATE_ENDING | STATE_UNSEEN),
	STATE(REMOVING,      "removing",      DELETING, OP | RUN,            &killed,  STATE_ENDING),
	STATE(DELETING,      "deleting",      DELETING, OP,                  &now,     STATE_ENDING),
	STATE(GONE,          "gone",          DELETING, OP,                  NULL,     STATE_UNWRITTEN),
	STATE(STOPPED,       "stopped",       STOPPED,  0,                   NULL,     0),
	STATE(FAILED,        "failed",        FAILED,   0,                   NULL,     STATE_FAILED),
	STATE(STUCK,         "stuck",         FAILED,   0,                   &again,   STATE_FAILED),
	STATE(UNKNOWN,       "unknown",       UNKNOWN,  PIDS,                NULL,     0),
	STATE(HELD,          "held",          UNKNOWN,  RUN,                 NULL,     STATE_FAILED),
	STATE(HELD_REMOVING, "held_removing", UNKNOWN,  RUN,                 NULL,     STATE_FAILED),
	CHOICE(START_OVER,   "start_over"),
	CHOICE(BOOTS,        "boots"),
	CHOICE(RUNS,         "runs"),
};

/* A bit for each state; and sets of them. */
enum {
	NEW = 1 << VM_NEW, LOADED = 1 << VM_LOADED, CREATED = 1 << VM_CREATED,
	MAKING = 1 << VM_MAKING, WAITING = 1 << VM_WAITING, LAUNCHING = 1 << VM_LAUNCHING,
	BOOTING = 1 << VM_BOOTING, COMMAND = 1 << VM_COMMAND, PAUSED_START = 1 << VM_PAUSED_START,
	READY = 1 << VM_READY, MUTE = 1 << VM_MUTE, PAUSED = 1 << VM_PAUSED,
	STOPPING = 1 << VM_STOPPING, RESTARTING = 1 << VM_RESTARTING, KILLING = 1 << VM_KILLING,
	REKILLING = 1 << VM_REKILLING, FAILING = 1 << VM_FAILING, REMOVING = 1 << VM_REMOVING,
	DELETING = 1 << VM_DELETING, GONE = 1 << VM_GONE, STOPPED = 1 << VM_STOPPED,
	FAILED = 1 << VM_FAILED, STUCK = 1 << VM_STUCK, UNKNOWN = 1 << VM_UNKNOWN,
	HELD = 1 << VM_HELD, HELD_REMOVING = 1 << VM_HELD_REMOVING,
	START_OVER = 1 << VM_START_OVER, BOOTS = 1 << VM_BOOTS, RUNS = 1 << VM_RUNS,

	BEFORE_LAUNCH = CREATED | MAKING | WAITING,
	COMING_UP     = LAUNCHING | BOOTING | COMMAND | PAUSED_START,
	WERE_READY    = READY | MUTE | PAUSED,
	UP	      = COMING_UP | WERE_READY,
	BEING_KILLED  = KILLING | REKILLING | FAILING,
	GOING_DOWN    = STOPPING | RESTARTING | BEING_KILLED,
	KEPT_BY_HOST  = HELD | HELD_REMOVING,
	AT_REST	      = STOPPED | FAILED | STUCK,
	LEFT_ALONE    = WERE_READY | LOADED | HELD
};
static_assert(UP == VM_UP, "both mean those that run and shall");

#define ON(event) (UINT64_C(1) << ON_##event)
#define ANY_END	  VM_ANY_END
#define UNWANTED  (ON(DELETE_FORCE) | ON(DESTROY))

#define RULE(from, on, given, next, reason, act) { from, on, given, VM_##next, reason, act, -1 }
/* Begins an operation of that kind. The words of whoever wants it are the reason. */
#define VERB(from, on, given, next, kind, act) \
	{ from, on, given, VM_##next, SAID, act, API_OP_VM_##kind }
#define SAID REASON_SAID
#define CODE REASON_CODE
#define KEEP REASON_KEPT

const struct vm_rule vm_rules[] = {
	/* It is made; the answer goes out first. */
	RULE(NEW, ON(CREATE),                                   ALWAYS,         CREATED,       NULL, vm_act_take_turn),
	RULE(CREATED, ON(TIMER),                                ALWAYS,         MAKING,        NULL, vm_act_make),
	RULE(MAKING, ON(MADE),                                  IF_START,       LAUNCHING,     NULL, vm_act_launch),
	RULE(MAKING, ON(MADE),                                  ALWAYS,         STOPPED,       NULL, NULL),
	RULE(MAKING, ON(TIMER),                                 ALWAYS,         START_OVER,    NULL, vm_act_count_failed),

	/* It starts. */
	VERB(AT_REST, ON(START),                                ALWAYS,         WAITING,       START, vm_act_take_turn),
	RULE(WAITING, ON(TIMER),                                ALWAYS,         LAUNCHING,     NULL, vm_act_launch),
	RULE(LAUNCHING, ON(RUNS),                               ALWAYS,         BOOTING,       NULL, vm_act_runs),
	RULE(LAUNCHING | BOOTING, ON(AGENT),                    IF_COMMAND,     COMMAND,       NULL, vm_act_agent),
	RULE(LAUNCHING | BOOTING, ON(AGENT),                    ALWAYS,         READY,         NULL, vm_act_agent),
	RULE(COMMAND, ON(COMMAND_RUNS),                         ALWAYS,         READY,         KEEP, NULL),
	RULE(COMMAND, ON(COMMAND_FAILED),                       ALWAYS,         READY,         KEEP, vm_act_command_failed),

	/* Its start fails. */
	RULE(MAKING | LAUNCHING, ON(REFUSED),                   ALWAYS,         START_OVER,    NULL, vm_act_count_failed),
	RULE(BEFORE_LAUNCH, ON(CANCEL),                         ALWAYS,         START_OVER,    NULL, vm_act_count_failed),
	RULE(COMING_UP, ON(CANCEL),                             ALWAYS,         FAILING,       NULL, vm_act_kill),
	RULE(LAUNCHING | BOOTING | COMMAND, ON(TIMER),          ALWAYS,         FAILING,       NULL, vm_act_kill),
	RULE(LAUNCHING, ON(BROKEN),                             ALWAYS,         FAILING,       NULL, vm_act_kill),
	RULE(COMING_UP | FAILING, ANY_END,                      ALWAYS,         START_OVER,    NULL, vm_act_count_failed),
	RULE(START_OVER, ON(CHOICE),                            IF_EPHEMERAL,   GONE,          NULL, vm_act_remove),
	RULE(START_OVER, ON(CHOICE),                            IF_UNDONE,      GONE,          NULL, vm_act_remove),
	RULE(START_OVER, ON(CHOICE),                            IF_CANCELLED,   STOPPED,       SAID, NULL),
	RULE(START_OVER, ON(CHOICE),                            ALWAYS,         FAILED,        CODE, NULL),

	/* The agent comes and goes. */
	RULE(PAUSED_START, ON(AGENT),                           IF_COMMAND,     SAME,          NULL, vm_act_agent),
	RULE(PAUSED_START, ON(AGENT),                           ALWAYS,         PAUSED,        KEEP, vm_act_agent),
	RULE(MUTE, ON(AGENT),                                   ALWAYS,         READY,         NULL, vm_act_agent),
	RULE(PAUSED, ON(AGENT),                                 ALWAYS,         SAME,          NULL, vm_act_agent),
	RULE(READY | COMMAND, ON(AGENT_LOST),                   ALWAYS,         MUTE,          SAID, vm_act_reconnect),
	RULE(LAUNCHING | BOOTING | PAUSED_START | PAUSED | MUTE, ON(AGENT_LOST),
	                                                        ALWAYS,         SAME,          NULL, vm_act_reconnect),

	/* The main command, of a VM that was paused or found running, too. */
	RULE(PAUSED_START, ON(COMMAND_RUNS),                    ALWAYS,         PAUSED,        KEEP, NULL),
	RULE(PAUSED_START, ON(COMMAND_FAILED),                  ALWAYS,         PAUSED,        KEEP, vm_act_command_failed),
	RULE(WERE_READY, ON(COMMAND_FAILED),                    ALWAYS,         SAME,          NULL, vm_act_command_failed),
	VERB(UP, ON(EXITED),                                    IF_EPHEMERAL,   REMOVING,      DELETE, vm_act_kill),

	/* The host's disk is full, and has room again. */
	RULE(COMING_UP, ON(PAUSED),                             ALWAYS,         PAUSED_START,  SAID, vm_act_paused),
	RULE(WERE_READY, ON(PAUSED),                            ALWAYS,         PAUSED,        SAID, NULL),
	RULE(PAUSED_START | PAUSED, ON(TIMER),                  ALWAYS,         SAME,          NULL, vm_act_look),
	RULE(PAUSED_START, ON(RESUMED),                         IF_AGENT,       COMMAND,       NULL, NULL),
	RULE(PAUSED_START, ON(RESUMED),                         ALWAYS,         BOOTING,       NULL, NULL),
	RULE(PAUSED, ON(RESUMED),                               ALWAYS,         RUNS,          NULL, NULL),

	/* It is stopped, and started again. */
	VERB(UP | KEPT_BY_HOST, ON(STOP),                       IF_AT_ONCE,     KILLING,       STOP, vm_act_kill),
	VERB(UP | KEPT_BY_HOST, ON(STOP),                       ALWAYS,         STOPPING,      STOP, vm_act_ask),
	VERB(UP | KEPT_BY_HOST | GOING_DOWN, ON(STOP_FORCE),    ALWAYS,         KILLING,       STOP, vm_act_kill),
	VERB(UP | KEPT_BY_HOST, ON(RESTART),                    IF_AT_ONCE,     REKILLING,     RESTART, vm_act_kill),
	VERB(UP | KEPT_BY_HOST, ON(RESTART),                    ALWAYS,         RESTARTING,    RESTART, vm_act_ask),
	VERB(UP | KEPT_BY_HOST | GOING_DOWN, ON(RESTART_FORCE), ALWAYS,         REKILLING,     RESTART, vm_act_kill),
	VERB(AT_REST, ON(RESTART) | ON(RESTART_FORCE),          ALWAYS,         WAITING,       START, vm_act_take_turn),
	RULE(STOPPING, ON(TIMER),                               ALWAYS,         KILLING,       NULL, vm_act_kill),
	RULE(RESTARTING, ON(TIMER),                             ALWAYS,         REKILLING,     NULL, vm_act_kill),

	/* What was asked of the guest cannot be unasked; the force that would
	 * follow can. */
	RULE(STOPPING | RESTARTING, ON(CANCEL),                 ALWAYS,         RUNS,          "the stop was cancelled",
	                                                                                       vm_act_reconnect),
	RULE(STOPPING | KILLING, ANY_END,                       IF_EPHEMERAL,   GONE,          SAID, vm_act_remove),
	RULE(STOPPING | KILLING, ANY_END,                       ALWAYS,         STOPPED,       SAID, NULL),
	RULE(RESTARTING | REKILLING, ANY_END,                   ALWAYS,         WAITING,       NULL, vm_act_take_turn),
	RULE(BEING_KILLED, ON(TIMER),                           ALWAYS,         HELD,          CODE, NULL),
	RULE(REMOVING, ON(TIMER),                               ALWAYS,         HELD_REMOVING, CODE, NULL),

	/* Nothing is known of it: whatever is its is ended first. */
	{ UNKNOWN, ON(STOP_FORCE), ALWAYS, VM_STOPPED, "it was ended by force", NULL, API_OP_VM_STOP },
	VERB(UNKNOWN, ON(RESTART_FORCE),                        ALWAYS,         WAITING,       START, vm_act_take_turn),

	/* It ends by itself. A guest that reboots gets a new start. */
	RULE(LOADED, ANY_END,                                   IF_NEVER_READY, START_OVER,    NULL, vm_act_count_failed),
	RULE(HELD_REMOVING, ANY_END,                            ALWAYS,         GONE,          NULL, vm_act_remove),
	RULE(LEFT_ALONE, ANY_END,                               IF_EPHEMERAL,   GONE,          NULL, vm_act_remove),
	RULE(LEFT_ALONE, ON(POWEROFF),                          ALWAYS,         STOPPED,       "the guest powered off", NULL),
	RULE(LEFT_ALONE, ON(KILLED),                            ALWAYS,         STOPPED,       "its process was ended from outside of vmd",
	                                                                                       NULL),
	VERB(LEFT_ALONE, ON(RESET),                             ALWAYS,         WAITING,       START, vm_act_take_turn),
	RULE(LEFT_ALONE, ON(CRASH),                             ALWAYS,         FAILED,        "the guest crashed",
	                                                                                       vm_act_count_failed),
	RULE(LEFT_ALONE, ON(DIED),                              ALWAYS,         FAILED,        "the engine failed",
	                                                                                       vm_act_count_failed),
	RULE(LEFT_ALONE, ON(STARVED),                           ALWAYS,         FAILED,        "its memory was out",
	                                                                                       vm_act_count_failed),

	/* It is removed. */
	VERB(AT_REST, ON(DELETE) | UNWANTED,                    ALWAYS,         DELETING,      DELETE, NULL),
	VERB(BEFORE_LAUNCH | UNKNOWN, UNWANTED,                 ALWAYS,         DELETING,      DELETE, NULL),
	VERB(UP | GOING_DOWN | KEPT_BY_HOST, UNWANTED,          ALWAYS,         REMOVING,      DELETE, vm_act_kill),
	RULE(REMOVING, ANY_END,                                 ALWAYS,         GONE,          NULL, vm_act_remove),
	RULE(DELETING | STUCK, ON(TIMER),                       ALWAYS,         GONE,          NULL, vm_act_remove),

	/* Never pretend: what is left shows, and can be tried again. Whoever
	 * wanted an ephemeral one does not come back for it. */
	RULE(GONE, ON(NOT_REMOVED),                             IF_EPHEMERAL,   STUCK,         "it cannot be removed", NULL),
	RULE(GONE, ON(NOT_REMOVED),                             ALWAYS,         FAILED,        "it cannot be removed", NULL),

	/* A new daemon judges it; what ended meanwhile has its end above. */
	RULE(LOADED, ON(FOUND_STOPPED),                         ALWAYS,         STOPPED,       KEEP, NULL),
	RULE(LOADED, ON(FOUND_FAILED),                          ALWAYS,         FAILED,        KEEP, NULL),
	RULE(LOADED, ON(FOUND_HALF),                            ALWAYS,         GONE,          NULL, vm_act_remove),
	RULE(LOADED, ON(FOUND_CUT),                             ALWAYS,         START_OVER,    NULL, NULL),
	RULE(LOADED, ON(FOUND_RUNNING),                         IF_NEVER_READY, BOOTS,         SAID, NULL),
	RULE(LOADED, ON(FOUND_RUNNING),                         ALWAYS,         RUNS,          SAID, NULL),
	RULE(LOADED, ON(FOUND_UNCLEAR),                         ALWAYS,         UNKNOWN,       SAID, NULL),
	RULE(LOADED, ON(FOUND_REBOOTED),                        IF_EPHEMERAL,   GONE,          NULL, vm_act_remove),
	RULE(LOADED, ON(FOUND_REBOOTED),                        ALWAYS,         STOPPED,       "the host was restarted", NULL),

	/* Where one that runs is. */
	RULE(BOOTS, ON(CHOICE),                                 IF_PAUSED,      PAUSED_START,  NULL, NULL),
	RULE(BOOTS, ON(CHOICE),                                 ALWAYS,         BOOTING,       NULL, NULL),
	RULE(RUNS, ON(CHOICE),                                  IF_OVER,        REMOVING,      "its command has ended", vm_act_kill),
	RULE(RUNS, ON(CHOICE),                                  IF_PAUSED,      PAUSED,        NULL, NULL),
	RULE(RUNS, ON(CHOICE),                                  IF_AGENT,       READY,         NULL, NULL),
	RULE(RUNS, ON(CHOICE),                                  ALWAYS,         MUTE,          NULL, NULL),
};
/* clang-format on */

const size_t vm_rule_count = ARRAY_LEN(vm_rules);

const char *const vm_event_names[VM_EVENT_COUNT] = {
	[ON_CREATE] = "create",
	[ON_START] = "start",
	[ON_STOP] = "stop",
	[ON_STOP_FORCE] = "stop by force",
	[ON_RESTART] = "restart",
	[ON_RESTART_FORCE] = "restart by force",
	[ON_DELETE] = "delete",
	[ON_DELETE_FORCE] = "delete by force",
	[ON_DESTROY] = "nobody needs it",
	[ON_CANCEL] = "cancel",
	[ON_TIMER] = "timer",
	[ON_MADE] = "made",
	[ON_REFUSED] = "refused",
	[ON_RUNS] = "its CPUs run",
	[ON_PAUSED] = "the host paused it",
	[ON_RESUMED] = "it goes on",
	[ON_BROKEN] = "no journal",
	[ON_POWEROFF] = "powered off",
	[ON_RESET] = "rebooted",
	[ON_CRASH] = "crashed",
	[ON_KILLED] = "killed",
	[ON_DIED] = "engine failed",
	[ON_STARVED] = "out of memory",
	[ON_AGENT] = "agent answers",
	[ON_AGENT_LOST] = "agent lost",
	[ON_COMMAND_RUNS] = "command runs",
	[ON_COMMAND_FAILED] = "command failed",
	[ON_EXITED] = "command ended",
	[ON_NOT_REMOVED] = "not removed",
	[ON_FOUND_STOPPED] = "found stopped",
	[ON_FOUND_FAILED] = "found failed",
	[ON_FOUND_HALF] = "found half made or removed",
	[ON_FOUND_CUT] = "found cut off",
	[ON_FOUND_RUNNING] = "found running",
	[ON_FOUND_UNCLEAR] = "found unclear",
	[ON_FOUND_REBOOTED] = "host rebooted",
	[ON_CHOICE] = "",
};

const char *const vm_guard_names[VM_GUARD_COUNT] = {
	[ALWAYS] = "",
	[IF_EPHEMERAL] = "ephemeral",
	[IF_START] = "to start",
	[IF_AT_ONCE] = "no time given",
	[IF_COMMAND] = "main command not started",
	[IF_UNDONE] = "a create, cancelled",
	[IF_CANCELLED] = "cancelled",
	[IF_AGENT] = "agent answers",
	[IF_PAUSED] = "paused",
	[IF_NEVER_READY] = "never ready",
	[IF_OVER] = "ephemeral, its command has ended",
};
