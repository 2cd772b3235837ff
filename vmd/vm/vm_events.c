/* SPDX-License-Identifier: Apache-2.0 */
/* What the engine reports. The console is guest data, bounded by vm_console.c. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "vmd/ports/vm_ports.h"
#include "vmd/vm/exec_request.h"
#include "vmd/vm/vm.h"

static void on_process(void *ctx, const struct vm_process *p)
{
	struct vm *vm = ctx;
	struct journal_row row = {
		.kind = JOURNAL_PROCESS,
		.pid = p->pid,
		.start_time = p->start_time,
	};
	struct vm_process *old = NULL;
	struct err e = ERR_INIT;

	memcpy(row.owner, vm->row.id, sizeof(row.owner));
	(void)snprintf(row.name, sizeof(row.name), "%s", p->role);
	for (size_t i = 0; i < vm->process_count; i++)
		if (strcmp(vm->processes[i].role, p->role) == 0)
			old = &vm->processes[i];
	/* Its role has another one now. */
	if (old && store_journal_remove(vm->daemon->store, vm->row.id,
					JOURNAL_PROCESS, p->role, &e) < 0)
		log_vm(LOG_LEVEL_ERROR, vm->row.id, "%s", e.msg);
	if (store_journal_add(vm->daemon->store, &row, &e) < 0)
		log_vm(LOG_LEVEL_ERROR, vm->row.id, "%s", e.msg);
	if (e.kind != ERR_NONE)
		vm_set_why(vm, &e);
	if (old)
		*old = *p;
	else if (vm->process_count < ARRAY_LEN(vm->processes))
		vm->processes[vm->process_count++] = *p;
}

static void on_running(void *ctx)
{
	vm_event(ctx, ON_RUNS, NULL);
}

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
	vm->session = agent_session_new(vm->daemon->loop, fd, &vm_session_ops,
					vm, &e);
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
	vm_say(vm, "%.250s", e->msg);
}

static void on_recovered(void *ctx)
{
	struct vm *vm = ctx;

	log_vm(LOG_LEVEL_INFO, vm->row.id, "%s: its network is back",
	       vm->row.name);
	vm_say(vm, "%s", "");
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
