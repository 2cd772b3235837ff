/* SPDX-License-Identifier: Apache-2.0 */
/* start, stop, restart, delete, cancel: what is asked of a VM, and why not. */
#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "vmd/vm/vm.h"

int vm_start(struct vm *vm, char *ret_op, struct err *e)
{
	return vm_verb(vm, ON_START, ret_op, e);
}

int vm_stop(struct vm *vm, uint64_t timeout_ms, bool force, char *ret_op,
	    struct err *e)
{
	vm->stop_ms = timeout_ms;
	return vm_verb(vm, force ? ON_STOP_FORCE : ON_STOP, ret_op, e);
}

int vm_restart(struct vm *vm, uint64_t timeout_ms, bool force, char *ret_op,
	       struct err *e)
{
	vm->stop_ms = timeout_ms;
	return vm_verb(vm, force ? ON_RESTART_FORCE : ON_RESTART, ret_op, e);
}

int vm_delete(struct vm *vm, bool force, char *ret_op, struct err *e)
{
	return vm_verb(vm, force ? ON_DELETE_FORCE : ON_DELETE, ret_op, e);
}

void vm_cancel(struct operation *op, const struct err *why)
{
	vm_event(op->owner, ON_CANCEL, why);
}

int vm_idle(const struct vm *vm, struct err *e)
{
	if (!vm->op)
		return 0;
	return err_set(e, ERR_CONFLICT, "operation_running", 0,
		       "%s of VM '%s' is under way (operation %s): wait for it "
		       "or cancel it",
		       vm->op->row.kind, vm->row.name, vm->op->row.id);
}

static bool runs(const struct vm *vm)
{
	return vm_states[vm->state].holds & HOLDS_RUN;
}

static int wrong_state(const struct vm *vm, enum vm_event on, struct err *e)
{
	const char *name = vm->row.name, *reason = vm->row.reason;
	const char *state = api_vm_state_name(vm->row.state);
	bool start =
		on == ON_START || on == ON_RESTART || on == ON_RESTART_FORCE;

	if (vm->state == VM_UNKNOWN && start)
		return err_set(
			e, ERR_CONFLICT, "wrong_state", 0,
			"VM '%s' may be running (%s): stop it with force first",
			name, reason);
	if (vm->state == VM_UNKNOWN && on == ON_STOP)
		return err_set(
			e, ERR_CONFLICT, "wrong_state", 0,
			"VM '%s' cannot be judged (%s): stop it with force",
			name, reason);
	if (start)
		return err_set(e, ERR_CONFLICT, "wrong_state", 0,
			       "VM '%s' is %s already", name, state);
	if (on == ON_STOP || on == ON_STOP_FORCE)
		return err_set(e, ERR_CONFLICT, "wrong_state", 0,
			       "VM '%s' does not run (it is %s)", name, state);
	return err_set(e, ERR_CONFLICT, "wrong_state", 0,
		       "VM '%s' is %s: stop it first, or delete it with force",
		       name, state);
}

int vm_refuse(const struct vm *vm, enum vm_event on, struct err *e)
{
	bool delete = on == ON_DELETE || on == ON_DELETE_FORCE;
	int rc = 0;

	if (on == ON_CREATE || on > ON_DELETE_FORCE) {
		log_vm(LOG_LEVEL_DEBUG, vm->row.id,
		       "%s: nothing follows from "
		       "'%s' in state %s",
		       vm->row.name, vm_event_names[on],
		       vm_states[vm->state].name);
		return -EALREADY;
	}
	/* That it runs already, or still, says more than who works on it. */
	if (!(on == ON_START && runs(vm)) &&
	    !(delete &&runs(vm) && vm->state != VM_REMOVING))
		rc = vm_idle(vm, e);
	return rc < 0 ? rc : wrong_state(vm, on, e);
}

static void ask_engine(struct vm *vm)
{
	struct err e = ERR_INIT;

	if (vm->engine->shutdown(vm->handle, &e) < 0)
		log_vm(LOG_LEVEL_DEBUG, vm->row.id, "power button: %s", e.msg);
}

static void shutdown_done(void *ctx, uint32_t status, uint32_t signal,
			  const struct err *e)
{
	struct vm *vm = ctx;

	(void)status;
	(void)signal;
	/* The session going down is what a power-off looks like. */
	if (e && vm->session && !vm->dropping &&
	    vm_state_in(vm, 1 << VM_STOPPING | 1 << VM_RESTARTING))
		ask_engine(vm);
}

static const struct agent_stream_ops shutdown_ops = { .done = shutdown_done };

void vm_act_ask(struct vm *vm, const struct err *why)
{
	(void)why;
	operation_progress(vm->op, 0, 0, "waiting for the guest to power off");
	/* One that is paused cannot: perhaps there is room by now. */
	if (vm->paused)
		vm->engine->resume(vm->handle);
	if (!agent_session_ready(vm->session) ||
	    !agent_session_shutdown(vm->session, WIRE_POWEROFF, &shutdown_ops,
				    vm, NULL))
		ask_engine(vm);
}

void vm_act_kill(struct vm *vm, const struct err *why)
{
	(void)why;
	vm->engine->kill(vm->handle);
	/* ended() may have come already: vm may be gone. */
}

uint64_t vm_limit_stop(const struct vm *vm)
{
	return vm->stop_ms;
}

uint64_t vm_limit_kill(const struct vm *vm)
{
	return vm->daemon->config->kill_ms;
}

void vm_late_stop(const struct vm *vm, struct err *ret)
{
	(void)ret;
	log_vm(LOG_LEVEL_INFO, vm->row.id,
	       "%s: the guest did not power off in time: ended by force",
	       vm->row.name);
}

void vm_late_kill(const struct vm *vm, struct err *ret)
{
	(void)err_set(ret, ERR_INTERNAL, "kill_failed", 0,
		      "VM '%s' was killed but its process is still there: the "
		      "host's kernel holds it (a hanging disk?)",
		      vm->row.name);
}
