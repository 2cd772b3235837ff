/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the engine and the guest's agent report. Everything from the agent and
 * the console is guest data: sizes are bounded by agent_session and vm_console.c.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "vmd/vm/exec_request.h"
#include "vmd/vm/vm.h"
#include "vmd/ports/vm_ports.h"

enum {
	RECONNECT_MS = 1000
};

static void on_process(void *ctx, const struct vm_process *p)
{
	struct vm *vm = ctx;
	struct journal_row row = {
		.kind = JOURNAL_PROCESS,
		.pid = p->pid,
		.start_time = p->start_time,
	};
	struct vm_process *old = NULL;

	memcpy(row.owner, vm->row.id, sizeof(row.owner));
	(void)snprintf(row.name, sizeof(row.name), "%s", p->role);
	for (size_t i = 0; i < vm->process_count; i++)
		if (strcmp(vm->processes[i].role, p->role) == 0)
			old = &vm->processes[i];
	/* Its role has another one now. */
	if (old && store_journal_remove(vm->daemon->store, vm->row.id,
					JOURNAL_PROCESS, p->role, &vm->why) < 0)
		log_vm(LOG_LEVEL_ERROR, vm->row.id, "%s", vm->why.msg);
	if (store_journal_add(vm->daemon->store, &row, &vm->why) < 0)
		log_vm(LOG_LEVEL_ERROR, vm->row.id, "%s", vm->why.msg);
	if (old)
		*old = *p;
	else if (vm->process_count < ARRAY_LEN(vm->processes))
		vm->processes[vm->process_count++] = *p;
}

static void on_running(void *ctx)
{
	struct vm *vm = ctx;

	if (vm->ending || vm->paused || vm->row.state == API_VM_READY)
		return;
	vm_set_state(vm, API_VM_RUNNING, "%s", "");
	operation_progress(vm->op, 0, 0, "waiting for the guest's agent");
}

static void ignore_done(void *ctx, uint32_t status, uint32_t signal,
			const struct err *e)
{
	(void)ctx;
	(void)status;
	(void)signal;
	(void)e;
}

static const struct agent_stream_ops time_ops = { .done = ignore_done };

static void record_exit(struct vm *vm, int status, int signal)
{
	struct err e = ERR_INIT;

	vm->row.has_exit = true;
	vm->row.exit_status = status;
	vm->row.exit_signal = signal;
	if (vm_save(vm, &e) < 0)
		log_vm(LOG_LEVEL_ERROR, vm->row.id, "%s", e.msg);
	if (vm->row.ephemeral && !vm->ending)
		vm_destroy(vm, NULL);
}

/* The start is over when its command runs, or cannot: whoever asked for a VM with
 * a command learns why from the operation, also when the VM goes with it. */
static void finish_start(struct vm *vm, const struct err *why)
{
	vm->starting = false;
	if (!vm->ending)
		vm_finish(vm, why);
}

static void command_failed(struct vm *vm, const struct err *e)
{
	bool found = strcmp(e->code, WIRE_CODE_NOT_EXEC) == 0 ||
		     strcmp(e->code, API_CODE_ARGUMENT_LIST_TOO_LONG) == 0;

	vm->row.error = *e;
	finish_start(vm, e);
	record_exit(vm, found ? 126 : 127, 0);
}

static void command_done(void *ctx, uint32_t status, uint32_t signal,
			 const struct err *e)
{
	struct vm *vm = ctx;

	(void)status;
	(void)signal;
	/* It runs; or the session ended under it, and the next one will tell. */
	if (!e || !agent_session_ready(vm->session))
		finish_start(vm, NULL);
	else
		command_failed(vm, e);
}

static const struct agent_stream_ops command_ops = { .done = command_done };

static void run_command(struct vm *vm)
{
	struct exec_request request;
	struct err e = ERR_INIT;
	int rc;

	/* Written first: after a crash it must not run a second time. */
	vm->row.command_started = true;
	rc = vm_save(vm, &e);
	if (rc == 0)
		rc = exec_request_build(vm->spec, "/bin/sh", &request, &e);
	if (rc == 0) {
		request.wire.flags |= WIRE_EXEC_DETACHED;
		request.wire.tag = MAIN_COMMAND_TAG;
		if (!agent_session_exec(vm->session, &request.wire,
					&command_ops, vm, &e))
			rc = -EIO;
		exec_request_done(&request);
	}
	if (rc < 0) {
		log_vm(LOG_LEVEL_ERROR, vm->row.id, "main command: %s", e.msg);
		command_failed(vm, &e);
	}
}

static void on_ready(void *ctx, const struct agent_info *info)
{
	struct vm *vm = ctx;

	(void)snprintf(vm->row.agent_release, sizeof(vm->row.agent_release),
		       "%s", info->release);
	(void)snprintf(vm->row.agent_version, sizeof(vm->row.agent_version),
		       "%s", info->agent);
	if (vm->ending)
		return;
	if (!vm->row.ready_ms)
		vm->row.ready_ms = clock_wall_ms();
	/* It had said so before it was paused. */
	if (!vm->paused)
		vm_set_state(vm, API_VM_READY, "%s", "");
	(void)agent_session_set_time(vm->session,
				     clock_wall_ms() * INT64_C(1000000),
				     &time_ops, vm, NULL);
	vm_ports_ready(vm);
	if (vm_wants_command(vm) && !vm->row.command_started)
		run_command(vm);
	else
		finish_start(vm, NULL);
}

static void on_detached(void *ctx, uint32_t tag, bool running, uint32_t status,
			uint32_t signal)
{
	struct vm *vm = ctx;

	if (tag != MAIN_COMMAND_TAG || running || vm->row.has_exit)
		return;
	agent_session_reap(vm->session, tag);
	record_exit(vm, (int)(status & 0xff), (int)(signal & 0x7f));
}

static void on_reconnect(struct loop_timer *timer)
{
	struct vm *vm = timer->data;

	if (vm->handle && !vm->session && vm->engine->agent_connect)
		vm->engine->agent_connect(vm->handle);
}

static void on_lost(void *ctx, const struct err *e)
{
	struct vm *vm = ctx;

	agent_session_free(take_ptr(vm->session));
	vm_ports_lost(vm);
	if (vm->ending || !vm->handle)
		return;
	if (vm->row.state == API_VM_READY)
		vm_set_state(vm, API_VM_RUNNING,
			     "the connection to its agent was lost: %.160s",
			     e->msg);
	/* Not at once: a guest that breaks every session costs one a second. */
	loop_timer_start(&vm->reconnect, on_reconnect, RECONNECT_MS);
}

static const struct agent_session_ops session_ops = {
	.ready = on_ready,
	.detached = on_detached,
	.lost = on_lost,
};

static void on_agent(void *ctx, int fd)
{
	struct vm *vm = ctx;
	struct err e = ERR_INIT;

	/* A session that lives is not replaced, whoever offers another one. */
	if (vm->session) {
		log_vm(LOG_LEVEL_WARN, vm->row.id,
		       "agent: a second connection was refused");
		close_fd(&fd);
		return;
	}
	vm->session =
		agent_session_new(vm->daemon->loop, fd, &session_ops, vm, &e);
	if (!vm->session)
		log_vm(LOG_LEVEL_WARN, vm->row.id, "agent: %s", e.msg);
}

static void on_console(void *ctx, const void *data, size_t len)
{
	vm_console_output(ctx, data, len);
}

static void on_ended(void *ctx, enum vm_end end, const struct err *e)
{
	vm_ended(ctx, end, e);
}

static void on_warning(void *ctx, const struct err *e)
{
	struct vm *vm = ctx;

	log_vm(LOG_LEVEL_WARN, vm->row.id, "%s: %s", vm->row.name, e->msg);
	if (!vm->ending)
		vm_set_state(vm, vm->row.state, "%.250s", e->msg);
}

static void on_recovered(void *ctx)
{
	struct vm *vm = ctx;

	log_vm(LOG_LEVEL_INFO, vm->row.id, "%s: its network is back",
	       vm->row.name);
	if (!vm->ending)
		vm_set_state(vm, vm->row.state, "%s", "");
}

static void on_jail(void *ctx, struct vm_launch *ret)
{
	const struct vm *vm = ctx;

	ret->jailed = vm->daemon->config->jailed;
	ret->uid_slot = vm->uid_slot;
}

const struct engine_events vm_engine_events = {
	.process = on_process,
	.running = on_running,
	.agent = on_agent,
	.console = on_console,
	.ended = on_ended,
	.warning = on_warning,
	.paused = vm_on_paused,
	.recovered = on_recovered,
	.jail = on_jail,
};
