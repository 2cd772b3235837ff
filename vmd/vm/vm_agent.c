/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the guest's agent reports, and the main command, which it runs. All of it is
 * guest data: sizes are bounded by agent_session.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "vmd/ports/vm_ports.h"
#include "vmd/vm/exec_request.h"
#include "vmd/vm/vm.h"

enum {
	RECONNECT_MS = 1000
};

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
	vm_event(vm, ON_EXITED, NULL);
}

void vm_act_command_failed(struct vm *vm, const struct err *why)
{
	bool found = strcmp(why->code, WIRE_CODE_NOT_EXEC) == 0 ||
		     strcmp(why->code, API_CODE_ARGUMENT_LIST_TOO_LONG) == 0;

	vm->row.error = *why;
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
		vm_event(vm, ON_COMMAND_RUNS, NULL);
	else
		vm_event(vm, ON_COMMAND_FAILED, e);
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
		rc = store_commit_now(vm->daemon->store, &e);
	if (rc == 0)
		rc = exec_request_build(vm_spec(vm), "/bin/sh", &request, &e);
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
		vm_event(vm, ON_COMMAND_FAILED, &e);
	}
}

static void on_ready(void *ctx, const struct agent_info *info)
{
	struct vm *vm = ctx;

	(void)snprintf(vm->row.agent_release, sizeof(vm->row.agent_release),
		       "%s", info->release);
	(void)snprintf(vm->row.agent_version, sizeof(vm->row.agent_version),
		       "%s", info->agent);
	if (vm_state_in(vm, VM_UP) && !vm->row.ready_ms)
		vm->row.ready_ms = clock_wall_ms();
	vm->unsaved = true;
	vm_event(vm, ON_AGENT, NULL);
}

void vm_act_agent(struct vm *vm, const struct err *why)
{
	(void)why;
	(void)agent_session_set_time(vm->session,
				     clock_wall_ms() * INT64_C(1000000),
				     &time_ops, vm, NULL);
	vm_ports_ready(vm);
	if (vm_wants_command(vm) && !vm->row.command_started)
		run_command(vm);
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

	if (!vm->session && vm->engine->agent_connect)
		vm->engine->agent_connect(vm->handle);
}

/* Not at once: a guest that breaks every session costs one a second. */
void vm_act_reconnect(struct vm *vm, const struct err *why)
{
	(void)why;
	if (!vm->session && vm->handle)
		loop_timer_start(&vm->reconnect, on_reconnect, RECONNECT_MS);
}

static void on_lost(void *ctx, const struct err *e)
{
	struct vm *vm = ctx;
	struct err words = ERR_INIT;

	agent_session_free(take_ptr(vm->session));
	vm_ports_lost(vm);
	(void)snprintf(words.msg, sizeof(words.msg),
		       "the connection to its agent was lost: %.160s", e->msg);
	vm_event(vm, ON_AGENT_LOST, &words);
}

const struct agent_session_ops vm_session_ops = {
	.ready = on_ready,
	.detached = on_detached,
	.lost = on_lost,
};
