/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What both engines share: the run directory, the VM's processes and their
 * end, the console, the connection to the agent. An engine embeds struct
 * engine_vm as the first member of its own.
 *
 * The end of a VM, always in this order and always from the loop: the main
 * process is reaped (on_main_exit decides how it ended, unless
 * engine_vm_finish() has), passt is reaped, ended() is called once.
 *
 * Lifetime: release() may come from inside any callback. Every entry from the
 * loop is bracketed by engine_vm_enter/_leave; the memory goes with the last.
 */
#ifndef VMD_ENGINE_BASE_H
#define VMD_ENGINE_BASE_H

#include "base/process.h"
#include "vmd/engines/console_link.h"
#include "vmd/engines/engine.h"

struct engine_vm;

/* How an engine hooks in. */
struct engine_hooks {
	/* The main process has ended: set vm->end and vm->err if not decided. */
	void (*main_exit)(struct engine_vm *vm, const struct process_exit *x);
	/* A fresh connection to the agent: 0 and the fd, -EAGAIN: not yet. */
	int (*agent_open)(struct engine_vm *vm, int *ret_fd);
	/* Takes down what the engine added (connections, timers). */
	void (*done)(struct engine_vm *vm);
};

struct engine_vm {
	struct loop *loop;
	const struct engine_hooks *hooks;
	const struct engine_events *events;
	void *ctx;
	char id[32];
	int dirfd;
	char *run_path;
	struct process main, passt;
	struct loop_source main_source, passt_source;
	struct loop_timer end_timer; /* what was asked to end and did not */
	struct loop_timer agent_timer;
	struct loop_timer passt_timer; /* passt is gone, or came again */
	struct loop_timer reap_timer; /* for those that are not watched */
	uint64_t reap_ms; /* it waits, longer each time */
	uint64_t passt_since_ms; /* clock_mono_ms() of its start */
	unsigned int passt_tries; /* to start it again, in a row */
	uint64_t agent_since_ms; /* of the first try that was in vain, or 0 */
	struct console_link console;
	bool running; /* running() was called */
	bool paused; /* paused() was called */
	bool killed; /* kill() was called */
	bool decided; /* end and err are set */
	bool main_gone, passt_gone;
	bool network_lost; /* warning() was called, recovered() not yet */
	bool ended, released;
	unsigned int busy;
	enum vm_end end;
	struct err err;
};

/* vm is zeroed memory from calloc. The directory descriptor is duplicated. */
int engine_vm_init(struct engine_vm *vm, struct loop *loop, const char *id,
		   int run_dirfd, const char *run_path,
		   const struct engine_hooks *hooks,
		   const struct engine_events *events, void *ctx,
		   struct err *e);
void engine_vm_enter(struct engine_vm *vm);
void engine_vm_leave(struct engine_vm *vm);

/* Starts watching vm->main (and vm->passt when it has a pid). */
int engine_vm_watch(struct engine_vm *vm, struct err *e);
/* They cannot be watched: both are killed, without waiting; ended() follows as
 * FAILED for e, when they are reaped. start() has succeeded then. */
void engine_vm_abort(struct engine_vm *vm, const struct err *e);
/* Starts passt on the VM's network socket and tells of it; not yet watched. */
int engine_vm_start_passt(struct engine_vm *vm, const struct vm_launch *launch,
			  struct err *e);
/* Takes over passt if there was one; a lost one is told soon. */
void engine_vm_adopt_passt(struct engine_vm *vm, const struct vm_process *list,
			   size_t count);
/* Finds a process of that role and takes it over: 0 or -ESRCH. */
int engine_vm_adopt_process(const char *role, const struct vm_process *list,
			    size_t count, struct process *ret);
/* Tells the daemon about a process that was just started. */
void engine_vm_announce(struct engine_vm *vm, const char *role,
			const struct process *p);

/* The guest runs: once. */
void engine_vm_running(struct engine_vm *vm);
/* The guest's CPUs stopped for that reason; NULL: they run (again). */
void engine_vm_paused(struct engine_vm *vm, const char *why);
/* Decides the end (the first decision counts); e may be NULL. */
void engine_vm_decide(struct engine_vm *vm, enum vm_end end,
		      const struct err *e);
/* Decides the end and ends the main process if it still lives. */
void engine_vm_finish(struct engine_vm *vm, enum vm_end end,
		      const struct err *e);
/* SIGKILL for the main process unless it is gone after ms. */
void engine_vm_end_within(struct engine_vm *vm, uint64_t ms);
/* Operations that are the same on every engine: see engine.h. */
void engine_vm_kill(struct engine_vm *vm);
void engine_vm_release(struct engine_vm *vm);
ssize_t engine_vm_console_write(struct engine_vm *vm, const void *data,
				size_t len);
void engine_vm_agent_connect(struct engine_vm *vm);

/* Brings up an agent connection now, then again until it works. */
void engine_vm_agent_soon(struct engine_vm *vm, uint64_t after_ms);
/* It is up: hands the descriptor to the daemon. */
void engine_vm_agent_here(struct engine_vm *vm, int fd);

/*
 * The last lines of a log in the run directory, printable, " | " between the
 * lines; "(no output)" when there are none.
 */
void engine_log_tail(int dirfd, const char *name, char *out, size_t size);

/* Gives the blocks of all but the end of a log back. */
void engine_log_bound(int dirfd, const char *name);

/* Opens (appending) the file that takes a program's stderr. */
int engine_log_open(int dirfd, const char *name, int *ret_fd, struct err *e);

#endif
