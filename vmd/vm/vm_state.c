/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one door: vm_event() is the only function that changes the state of a VM. It
 * looks up the rule in vm_table.c, then in this order
 *
 *   begins the operation that the rule begins (refused: nothing has changed),
 *   changes the state and writes the row,
 *   drops what the new state may not hold: timer, turn, files that are being made,
 *   the run (ports, agent, engine), processes, console; last the operation, which
 *   has failed when the event has an error,
 *   and does what the rule says.
 *
 * So a row is written before anybody is told of what it says, and nothing that a
 * state owned outlives it.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "vmd/ports/vm_ports.h"
#include "vmd/priv/privops.h"
#include "vmd/vm/vm.h"

static bool guard(const struct vm *vm, enum vm_guard given,
		  const struct err *why)
{
	switch (given) {
	case ALWAYS:
		return true;
	case IF_EPHEMERAL:
		return vm->row.ephemeral;
	case IF_START:
		return json_is_true(json_object_get(vm_spec(vm), "start"));
	case IF_AT_ONCE:
		return vm->stop_ms == 0;
	case IF_COMMAND:
		return vm_wants_command(vm) && !vm->row.command_started;
	case IF_UNDONE:
		return vm->op && vm->op->kind == API_OP_VM_CREATE &&
		       why->kind == ERR_CANCELLED;
	case IF_CANCELLED:
		return why->kind == ERR_CANCELLED;
	case IF_AGENT:
		return agent_session_ready(vm->session);
	case IF_PAUSED:
		return vm->paused;
	case IF_NEVER_READY:
		return !vm->row.ready_ms;
	case IF_OVER:
		return vm->row.ephemeral && vm->row.has_exit;
	case VM_GUARD_COUNT:
		break;
	}
	return false;
}

const struct vm_rule *vm_rule_find(const struct vm *vm, enum vm_state state,
				   enum vm_event on, const struct err *why)
{
	for (size_t i = 0; i < vm_rule_count; i++) {
		const struct vm_rule *r = &vm_rules[i];

		if (r->from >> state & 1 && r->on >> on & 1 &&
		    guard(vm, r->given, why))
			return r;
	}
	return NULL;
}

bool vm_state_in(const struct vm *vm, uint32_t states)
{
	return states >> vm->state & 1;
}

static bool may_hold(const struct vm *vm, unsigned what)
{
	return vm_states[vm->state].holds & what;
}

static void write_row(struct vm *vm)
{
	struct err e = ERR_INIT;

	if (vm_save(vm, &e) < 0)
		log_vm(LOG_LEVEL_ERROR, vm->row.id, "%s", e.msg);
}

/* What clients see of the new state. */
static void show(struct vm *vm, const char *reason, const struct err *why)
{
	const struct vm_state_row *to = &vm_states[vm->state];
	bool changed = vm->unsaved || vm->row.state != to->shown;
	char text[sizeof(vm->row.reason)];

	if (to->flags & STATE_UNSEEN)
		return;
	if (!reason)
		reason = "";
	else if (strcmp(reason, REASON_SAID) == 0)
		reason = why->msg;
	else if (strcmp(reason, REASON_CODE) == 0)
		reason = why->code;
	else if (strcmp(reason, REASON_KEPT) == 0)
		reason = vm->row.reason;
	(void)snprintf(text, sizeof(text), "%.255s", reason);
	if (strcmp(text, vm->row.reason) != 0) {
		memcpy(vm->row.reason, text, sizeof(text));
		changed = true;
	}
	if (to->flags & STATE_FAILED && why->kind != ERR_NONE) {
		vm->row.error = *why;
		changed = true;
	}
	if (changed)
		log_vm(LOG_LEVEL_INFO, vm->row.id, "%s: %s%s%s", vm->row.name,
		       api_vm_state_name(to->shown), text[0] ? ": " : "", text);
	vm->row.state = to->shown;
	if (changed && !(to->flags & STATE_UNWRITTEN))
		write_row(vm);
}

void vm_say(struct vm *vm, const char *fmt, ...)
{
	va_list ap;

	if (!vm_state_in(vm, VM_UP | UINT32_C(1) << VM_LOADED))
		return;
	va_start(ap, fmt);
	(void)vsnprintf(vm->row.reason, sizeof(vm->row.reason), fmt, ap);
	va_end(ap);
	log_vm(LOG_LEVEL_INFO, vm->row.id, "%s: %s", vm->row.name,
	       vm->row.reason);
	if (vm->state != VM_LOADED)
		write_row(vm);
}

static void drop_run(struct vm *vm)
{
	struct vm_console_user *u;

	loop_timer_disarm(&vm->reconnect);
	vm_ports_close(vm);
	if (vm->session)
		agent_session_free(take_ptr(vm->session));
	vm->paused = false;
	if (!vm->handle)
		return;
	vm->engine->release(take_ptr(vm->handle));
	LIST_FOREACH(u, &vm->console_users, link)
		if (u->ended)
			u->ended(u);
}

/* Nobody vouches for the end of processes that no engine watches: they are ended
 * by pid and start time, before anything else may use the disk. */
static void drop_processes(struct vm *vm, bool watched)
{
	if (vm->process_count == 0 && !vm->in_cgroup)
		return;
	for (size_t i = 0; i < vm->process_count && !watched; i++)
		if (privops_process_end(vm->processes[i].pid,
					vm->processes[i].start_time) == 0)
			vm->daemon->count.swept++;
	vm_forget_processes(vm);
}

static void drop(struct vm *vm)
{
	bool watched = vm->handle;

	/* A task's row in the journal goes by its operation: before that. */
	if (!may_hold(vm, HOLDS_MAKING))
		vm_stop_making(vm);
	if (!may_hold(vm, HOLDS_TURN))
		vm_turn_leave(vm);
	if (!may_hold(vm, HOLDS_RUN))
		drop_run(vm);
	if (!may_hold(vm, HOLDS_PROCESSES))
		drop_processes(vm, watched);
	if (!may_hold(vm, HOLDS_CONSOLE))
		vm_console_end(vm);
}

static void on_timer(struct loop_timer *timer)
{
	struct vm *vm = timer->data;
	const struct vm_clock *clock = vm_states[vm->state].clock;
	struct err why = ERR_INIT;

	if (clock && clock->late)
		clock->late(vm, &why);
	vm_event(vm, ON_TIMER, &why);
}

void vm_arm(struct vm *vm)
{
	const struct vm_clock *clock = vm_states[vm->state].clock;

	if (clock && clock->limit_ms)
		loop_timer_start(&vm->timer, on_timer, clock->limit_ms(vm));
	else
		loop_timer_disarm(&vm->timer);
}

void vm_arm_soon(struct vm *vm)
{
	loop_timer_start_soon(&vm->timer, on_timer);
}

static bool is_by_force(enum vm_event on)
{
	return on == ON_STOP_FORCE || on == ON_RESTART_FORCE ||
	       on == ON_DELETE_FORCE || on == ON_DESTROY || on == ON_EXITED;
}

/* Only a verb can be refused; what happens does not wait for an operation that
 * cannot be written. */
static int begin(struct vm *vm, const struct vm_rule *rule, enum vm_event on,
		 struct operation **ret, struct err *e)
{
	struct err failed = ERR_INIT;

	*ret = NULL;
	if (rule->begins < 0)
		return 0;
	if (vm->op && !is_by_force(on))
		return vm_idle(vm, e);
	*ret = operation_new(vm->daemon, (enum api_op_kind)rule->begins,
			     vm->row.id, 0, &failed);
	if (*ret) {
		(*ret)->owner = vm;
		(*ret)->stop = vm_cancel;
		return 0;
	}
	if (on < ON_DESTROY) {
		if (e)
			*e = failed;
		return -EIO;
	}
	log_vm(LOG_LEVEL_ERROR, vm->row.id, "%s", failed.msg);
	return 0;
}

static void finish(struct vm *vm, const struct err *why)
{
	if (vm->op)
		operation_finish(take_ptr(vm->op),
				 why->kind == ERR_NONE ? NULL : why);
}

/* The operation that works on it gives way to another one. */
static void take_over(struct vm *vm, struct operation *next, enum vm_event on,
		      const struct err *why)
{
	struct err taken = ERR_INIT;

	if (vm->op && (on == ON_DESTROY || on == ON_EXITED))
		(void)err_set(&taken, ERR_CANCELLED, "operation_cancelled",
			      ECANCELED, "%s",
			      why->msg[0] ? why->msg : "VM deleted");
	else if (vm->op)
		(void)err_set(&taken, ERR_CANCELLED, "operation_cancelled",
			      ECANCELED, "VM '%s' was %s", vm->row.name,
			      on == ON_DELETE_FORCE ? "deleted meanwhile"
						    : "stopped by force");
	finish(vm, &taken);
	vm->op = next;
}

static void change(struct vm *vm, enum vm_state next, const char *reason,
		   const struct err *why)
{
	const struct vm_clock *clock = vm_states[vm->state].clock;

	vm->state = next;
	if (vm_states[next].flags & STATE_ENDING)
		vm_set_why(vm, why);
	show(vm, reason, why);
	/* Who is told by what is dropped has nothing to say about it. */
	vm->dropping = true;
	drop(vm);
	vm->dropping = false;
	if (!clock || vm_states[next].clock != clock)
		vm_arm(vm);
}

/* One of which nothing is known goes on only when what may be its is gone: two
 * guests on one disk destroy it, and "stopped" must be true. */
static int end_unknown(struct vm *vm, struct err *e)
{
	for (size_t i = 0; i < vm->process_count; i++) {
		const struct vm_process *p = &vm->processes[i];
		int rc = privops_process_end(p->pid, p->start_time);

		if (rc == 0)
			vm->daemon->count.swept++;
		else if (rc != -ESRCH)
			return err_set(
				e, ERR_UNAVAILABLE, "process_not_ended", -rc,
				"process %d (%s) may be of VM '%s', and vmd "
				"cannot end it: %s; it stays unknown until you "
				"end that process ('kill %d' as root) and try "
				"again",
				(int)p->pid, p->role, vm->row.name,
				strerror(-rc), (int)p->pid);
	}
	if (vm->process_count)
		vm_forget_processes(vm);
	return 0;
}

static int pass(struct vm *vm, enum vm_event on, const struct err *why,
		char *ret_op, struct err *e)
{
	const struct vm_rule *first = vm_rule_find(vm, vm->state, on, why);
	const struct vm_rule *last = first;
	struct operation *op;
	int rc;

	if (!first)
		return vm_refuse(vm, on, e);
	if (vm->state == VM_UNKNOWN) {
		rc = end_unknown(vm, e);
		if (rc < 0)
			return rc;
	}
	rc = begin(vm, first, on, &op, e);
	if (rc < 0)
		return rc;
	if (op && ret_op)
		memcpy(ret_op, op->row.id, ID_LEN + 1);
	while (last->next < VM_SAME &&
	       vm_states[last->next].flags & STATE_CHOICE) {
		last = vm_rule_find(vm, last->next, ON_CHOICE, why);
		assert(last);
	}
	if (last->next != VM_SAME)
		change(vm, last->next,
		       last->reason ? last->reason : first->reason, why);
	if (first->begins >= 0)
		take_over(vm, op, on, why);
	if (!may_hold(vm, HOLDS_OPERATION))
		finish(vm, why);
	if (first->act)
		first->act(vm, why);
	if (last != first && last->act)
		last->act(vm, why);
	return 0;
}

int vm_verb(struct vm *vm, enum vm_event on, char *ret_op, struct err *e)
{
	const struct err none = ERR_INIT;

	return pass(vm, on, &none, ret_op, e);
}

void vm_event(struct vm *vm, enum vm_event on, const struct err *why)
{
	/* It may lie in the VM, which changes. */
	struct err kept = ERR_INIT;

	if (why)
		kept = *why;
	if (!vm->dropping)
		(void)pass(vm, on, &kept, NULL, NULL);
}
