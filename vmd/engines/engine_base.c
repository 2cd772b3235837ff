/* SPDX-License-Identifier: Apache-2.0 */
/* See engine_base.h. */
#include "vmd/engines/engine_base.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "vmd/engines/passt.h"
#include "vmd/priv/privops.h"

enum {
	/* passt ends by itself when the VM's end of its socket closes. */
	PASST_END_MS = 1000,
	/* Both end together: the one that is reaped first says nothing. */
	PASST_LOST_MS = 500,
	/* One that was started again and still lives gives a network. */
	PASST_SETTLED_MS = 1000,
	/* Who lived that long did not end for what his predecessor ended for. */
	PASST_LASTED_MS = 60 * 1000,
	/* What cannot be watched is killed and looked at by the clock. */
	REAP_MIN_MS = 5,
	REAP_MAX_MS = 1000,
	/* An agent is looked for after another fortieth of the time that passed
	 * in vain: soon in a quick boot, seldom where there is none. */
	AGENT_RETRY_PART = 40,
	AGENT_RETRY_MIN_MS = 10,
	AGENT_RECONNECT_MS = 100, /* a lost one is not called at once */
	AGENT_RETRY_MAX_MS = 5000
};

void engine_vm_enter(struct engine_vm *vm)
{
	vm->busy++;
}

void engine_vm_leave(struct engine_vm *vm)
{
	assert(vm->busy > 0);
	vm->busy--;
	if (vm->busy || !vm->released)
		return;
	close_fd(&vm->dirfd);
	process_close(&vm->main);
	process_close(&vm->passt);
	free(vm->run_path);
	free(vm);
}

static void deliver_end(struct engine_vm *vm)
{
	if (vm->ended || vm->released || !vm->main_gone || !vm->passt_gone)
		return;
	vm->ended = true;
	loop_timer_disarm(&vm->end_timer);
	loop_timer_disarm(&vm->agent_timer);
	loop_timer_disarm(&vm->passt_timer);
	loop_timer_disarm(&vm->reap_timer);
	console_link_drain(&vm->console);
	if (vm->released)
		return;
	console_link_close(&vm->console);
	vm->events->ended(vm->ctx, vm->end, &vm->err);
}

static void on_passt(struct loop_source *source, uint32_t events)
{
	struct engine_vm *vm = source->data;
	struct process_exit x;

	(void)events;
	if (!privops_reap(&vm->passt, &x))
		return;
	engine_vm_enter(vm);
	loop_remove(&vm->passt_source);
	vm->passt_gone = true;
	if (!vm->running && !vm->decided) {
		char tail[400];
		struct err e = ERR_INIT;

		engine_log_tail(vm->dirfd, "passt.log", tail, sizeof(tail));
		(void)err_set(&e, ERR_UNAVAILABLE, "network_failed", 0,
			      "passt, which gives the VM its network, ended: "
			      "%s",
			      tail);
		engine_vm_finish(vm, VM_END_FAILED, &e);
	} else if (!vm->decided && !vm->main_gone && !vm->killed) {
		unsigned int doubled;

		if (clock_mono_ms() - vm->passt_since_ms > PASST_LASTED_MS)
			vm->passt_tries = 0;
		doubled = vm->passt_tries < 7 ? vm->passt_tries : 7;
		loop_timer_arm(&vm->passt_timer,
			       (uint64_t)PASST_LOST_MS << doubled);
	}
	deliver_end(vm);
	engine_vm_leave(vm);
}

static int watch_passt(struct engine_vm *vm)
{
	vm->passt_gone = false;
	vm->passt_since_ms = clock_mono_ms();
	return loop_add(vm->loop, &vm->passt_source, vm->passt.pidfd, EPOLLIN,
			on_passt, vm);
}

int engine_vm_start_passt(struct engine_vm *vm, const struct vm_launch *launch,
			  struct err *e)
{
	AUTO(fd) int fd = -1;
	int rc = passt_connect(vm->dirfd, &fd, e);

	if (rc == 0)
		rc = passt_start(launch, fd, &vm->passt, e);
	if (rc == 0)
		engine_vm_announce(vm, "passt", &vm->passt);
	return rc;
}

static void reap_soon(struct engine_vm *vm)
{
	vm->reap_ms = REAP_MIN_MS;
	loop_timer_arm(&vm->reap_timer, vm->reap_ms);
}

static int restart_passt(struct engine_vm *vm, struct err *e)
{
	struct vm_launch launch = { .id = vm->id,
				    .run_dirfd = vm->dirfd,
				    .run_path = vm->run_path };
	int rc;

	if (vm->events->jail)
		vm->events->jail(vm->ctx, &launch);
	process_close(&vm->passt);
	vm->passt = (struct process)PROCESS_INIT;
	rc = engine_vm_start_passt(vm, &launch, e);
	if (rc == 0)
		rc = watch_passt(vm);
	if (rc < 0 && vm->passt.pid) {
		(void)privops_signal(&vm->passt, SIGKILL);
		vm->passt_gone = false;
		reap_soon(vm);
	}
	return rc;
}

static void tell_network_lost(struct engine_vm *vm)
{
	struct err e = ERR_INIT;
	char tail[300];

	vm->network_lost = true;
	if (!vm->events->warning)
		return;
	engine_log_tail(vm->dirfd, "passt.log", tail, sizeof(tail));
	(void)err_set(&e, ERR_UNAVAILABLE, "network_lost", 0,
		      "the VM has no network: passt ended and is started "
		      "again; it said: %s",
		      tail);
	vm->events->warning(vm->ctx, &e);
}

/* After another half second, then a whole one, up to a minute. */
static void try_passt_again(struct engine_vm *vm)
{
	unsigned int doubled = vm->passt_tries < 7 ? vm->passt_tries : 7;
	struct err e = ERR_INIT;

	vm->passt_tries++;
	if (restart_passt(vm, &e) < 0) {
		log_vm(LOG_LEVEL_WARN, vm->id, "passt is not back: %s", e.msg);
		if (!vm->passt_gone)
			return; /* its end comes here again */
		loop_timer_arm(&vm->passt_timer,
			       (uint64_t)PASST_LOST_MS << doubled);
		return;
	}
	loop_timer_arm(&vm->passt_timer, PASST_SETTLED_MS);
}

static void on_passt_timer(struct loop_timer *timer)
{
	struct engine_vm *vm = timer->data;

	if (vm->decided || vm->main_gone || vm->killed)
		return;
	engine_vm_enter(vm);
	if (vm->passt_gone) {
		if (!vm->network_lost)
			tell_network_lost(vm);
		if (!vm->released)
			try_passt_again(vm);
	} else if (vm->network_lost) {
		vm->network_lost = false;
		if (vm->events->recovered)
			vm->events->recovered(vm->ctx);
	}
	engine_vm_leave(vm);
}

static void on_main(struct loop_source *source, uint32_t events)
{
	struct engine_vm *vm = source->data;
	struct process_exit x;

	(void)events;
	if (!privops_reap(&vm->main, &x))
		return;
	engine_vm_enter(vm);
	loop_remove(&vm->main_source);
	vm->main_gone = true;
	loop_timer_disarm(&vm->end_timer);
	vm->hooks->main_exit(vm, &x);
	if (vm->killed && !vm->decided)
		engine_vm_decide(vm, VM_END_KILLED, NULL);
	assert(vm->decided || vm->released);
	if (!vm->passt_gone && !vm->released) {
		(void)privops_signal(&vm->passt, SIGTERM);
		loop_timer_arm(&vm->end_timer, PASST_END_MS);
	}
	deliver_end(vm);
	engine_vm_leave(vm);
}

static void on_reap_timer(struct loop_timer *timer)
{
	struct engine_vm *vm = timer->data;

	engine_vm_enter(vm);
	if (!vm->main_gone && vm->main_source.fd < 0)
		on_main(&vm->main_source, 0);
	if (!vm->passt_gone && vm->passt_source.fd < 0 && !vm->released)
		on_passt(&vm->passt_source, 0);
	if (!vm->ended && !vm->released &&
	    ((!vm->main_gone && vm->main_source.fd < 0) ||
	     (!vm->passt_gone && vm->passt_source.fd < 0))) {
		if (vm->reap_ms < REAP_MAX_MS)
			vm->reap_ms *= 2;
		loop_timer_arm(&vm->reap_timer, vm->reap_ms);
	}
	engine_vm_leave(vm);
}

static void on_end_timer(struct loop_timer *timer)
{
	struct engine_vm *vm = timer->data;

	if (!vm->main_gone)
		(void)privops_signal(&vm->main, SIGKILL);
	else if (!vm->passt_gone)
		(void)privops_signal(&vm->passt, SIGKILL);
}

static void on_agent_timer(struct loop_timer *timer)
{
	struct engine_vm *vm = timer->data;
	uint64_t now = clock_mono_ms(), ms;
	int fd = -1;

	if (vm->main_gone || vm->decided)
		return;
	engine_vm_enter(vm);
	if (vm->hooks->agent_open(vm, &fd) == 0) {
		engine_vm_agent_here(vm, fd);
	} else {
		if (!vm->agent_since_ms)
			vm->agent_since_ms = now;
		ms = (now - vm->agent_since_ms) / AGENT_RETRY_PART;
		if (ms < AGENT_RETRY_MIN_MS)
			ms = AGENT_RETRY_MIN_MS;
		engine_vm_agent_soon(
			vm, ms < AGENT_RETRY_MAX_MS ? ms : AGENT_RETRY_MAX_MS);
	}
	engine_vm_leave(vm);
}

void engine_vm_agent_here(struct engine_vm *vm, int fd)
{
	loop_timer_disarm(&vm->agent_timer);
	vm->agent_since_ms = 0;
	vm->events->agent(vm->ctx, fd);
}

void engine_vm_agent_soon(struct engine_vm *vm, uint64_t after_ms)
{
	if (!vm->main_gone && !vm->released)
		loop_timer_arm(&vm->agent_timer, after_ms);
}

void engine_vm_agent_connect(struct engine_vm *vm)
{
	engine_vm_agent_soon(vm, AGENT_RECONNECT_MS);
}

ssize_t engine_vm_console_write(struct engine_vm *vm, const void *data,
				size_t len)
{
	return console_link_write(&vm->console, data, len);
}

int engine_vm_init(struct engine_vm *vm, struct loop *loop, const char *id,
		   int run_dirfd, const char *run_path,
		   const struct engine_hooks *hooks,
		   const struct engine_events *events, void *ctx, struct err *e)
{
	vm->loop = loop;
	vm->hooks = hooks;
	vm->events = events;
	vm->ctx = ctx;
	(void)snprintf(vm->id, sizeof(vm->id), "%s", id);
	vm->main = (struct process)PROCESS_INIT;
	vm->passt = (struct process)PROCESS_INIT;
	vm->main_source.fd = vm->passt_source.fd = -1;
	vm->passt_gone = true;
	console_link_init(&vm->console);
	loop_timer_init(loop, &vm->end_timer, on_end_timer, vm);
	loop_timer_init(loop, &vm->agent_timer, on_agent_timer, vm);
	loop_timer_init(loop, &vm->passt_timer, on_passt_timer, vm);
	loop_timer_init(loop, &vm->reap_timer, on_reap_timer, vm);
	vm->dirfd = fcntl(run_dirfd, F_DUPFD_CLOEXEC, 3);
	if (vm->dirfd < 0)
		return err_sys(e, errno, "run directory %s", run_path);
	vm->run_path = strdup(run_path);
	if (!vm->run_path)
		return err_sys(e, ENOMEM, "VM %s", id);
	return 0;
}

int engine_vm_watch(struct engine_vm *vm, struct err *e)
{
	int rc;

	rc = loop_add(vm->loop, &vm->main_source, vm->main.pidfd, EPOLLIN,
		      on_main, vm);
	if (rc == 0 && vm->passt.pid)
		rc = watch_passt(vm);
	return rc < 0 ? err_sys(e, -rc, "cannot watch the VM's processes") : 0;
}

void engine_vm_abort(struct engine_vm *vm, const struct err *e)
{
	vm->main_source.data = vm->passt_source.data = vm;
	vm->passt_gone = !vm->passt.pid;
	engine_vm_decide(vm, VM_END_FAILED, e);
	(void)privops_signal(&vm->main, SIGKILL);
	if (!vm->passt_gone)
		(void)privops_signal(&vm->passt, SIGKILL);
	reap_soon(vm);
}

int engine_vm_adopt_process(const char *role, const struct vm_process *list,
			    size_t count, struct process *ret)
{
	for (size_t i = 0; i < count; i++) {
		if (!strcmp(list[i].role, role))
			return process_adopt(list[i].pid, list[i].start_time,
					     ret, NULL);
	}
	return -ESRCH;
}

void engine_vm_adopt_passt(struct engine_vm *vm, const struct vm_process *list,
			   size_t count)
{
	if (engine_vm_adopt_process("passt", list, count, &vm->passt) == 0)
		return;
	for (size_t i = 0; i < count; i++) {
		if (!strcmp(list[i].role, "passt"))
			loop_timer_arm(&vm->passt_timer, PASST_LOST_MS);
	}
}

void engine_vm_announce(struct engine_vm *vm, const char *role,
			const struct process *p)
{
	struct vm_process record = { .pid = p->pid,
				     .start_time = p->start_time };

	(void)snprintf(record.role, sizeof(record.role), "%s", role);
	vm->events->process(vm->ctx, &record);
}

void engine_vm_running(struct engine_vm *vm)
{
	if (vm->running || vm->decided || vm->released)
		return;
	vm->running = true;
	vm->events->running(vm->ctx);
}

void engine_vm_paused(struct engine_vm *vm, const char *why)
{
	if (vm->decided || vm->released || (!why && !vm->paused))
		return;
	vm->paused = why;
	if (vm->events->paused)
		vm->events->paused(vm->ctx, why);
}

void engine_vm_decide(struct engine_vm *vm, enum vm_end end,
		      const struct err *e)
{
	if (vm->decided)
		return;
	vm->decided = true;
	vm->end = end;
	if (e)
		vm->err = *e;
}

void engine_vm_finish(struct engine_vm *vm, enum vm_end end,
		      const struct err *e)
{
	engine_vm_decide(vm, end, e);
	if (!vm->main_gone)
		(void)privops_signal(&vm->main, SIGKILL);
}

void engine_vm_end_within(struct engine_vm *vm, uint64_t ms)
{
	if (!vm->main_gone)
		loop_timer_arm(&vm->end_timer, ms);
}

void engine_vm_kill(struct engine_vm *vm)
{
	vm->killed = true;
	if (!vm->main_gone)
		(void)privops_signal(&vm->main, SIGKILL);
}

void engine_vm_release(struct engine_vm *vm)
{
	if (!vm || vm->released)
		return;
	engine_vm_enter(vm);
	vm->released = true;
	vm->hooks->done(vm);
	loop_timer_disarm(&vm->end_timer);
	loop_timer_disarm(&vm->agent_timer);
	loop_timer_disarm(&vm->passt_timer);
	loop_timer_disarm(&vm->reap_timer);
	loop_remove(&vm->main_source);
	loop_remove(&vm->passt_source);
	console_link_close(&vm->console);
	engine_vm_leave(vm);
}
