/* SPDX-License-Identifier: Apache-2.0 */
/*
 * start, stop, restart, delete, cancel. Each begins an operation; the engine's
 * ended() (vm_end.c) or the agent's ready (vm_events.c) finishes it.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "vmd/priv/privops.h"
#include "vmd/vm/vm.h"

static int begin(struct vm *vm, enum api_op_kind kind, struct err *e)
{
	int rc = vm_idle(vm, e);

	if (rc < 0)
		return rc;
	vm->op = operation_new(vm->daemon, kind, vm->row.id, 0, e);
	if (!vm->op)
		return -EIO;
	vm->op->owner = vm;
	vm->op->stop = vm_op_stop;
	vm->after = AFTER_STOPPED;
	err_clear(&vm->why);
	return 0;
}

/* A VM that could not be judged may run: whatever is its is ended by pid and
 * start time before anything else may use its disk. */
static void end_unjudged(struct vm *vm)
{
	if (vm->row.state != API_VM_UNKNOWN || vm->handle)
		return;
	for (size_t i = 0; i < vm->process_count; i++)
		(void)privops_process_end(vm->processes[i].pid,
					  vm->processes[i].start_time);
	vm_forget_processes(vm);
}

static int stop_unjudged(struct vm *vm, bool force, struct err *e)
{
	if (!force)
		return err_set(e, ERR_CONFLICT, "wrong_state", 0,
			       "VM '%s' cannot be judged (%s): stop it with "
			       "force",
			       vm->row.name, vm->row.reason);
	end_unjudged(vm);
	vm_set_state(vm, API_VM_STOPPED, "it was ended by force");
	vm_finish(vm, NULL);
	return 0;
}

int vm_start(struct vm *vm, struct err *e)
{
	int rc;

	if (vm->row.state == API_VM_UNKNOWN && !vm->handle)
		return err_set(
			e, ERR_CONFLICT, "wrong_state", 0,
			"VM '%s' may be running (%s): stop it with force "
			"first",
			vm->row.name, vm->row.reason);
	if (vm->handle)
		return err_set(e, ERR_CONFLICT, "wrong_state", 0,
			       "VM '%s' is %s already", vm->row.name,
			       api_vm_state_name(vm->row.state));
	rc = begin(vm, API_OP_VM_START, e);
	if (rc < 0)
		return rc;
	vm_set_state(vm, API_VM_STARTING, "%s", "");
	vm_launch_in_turn(vm);
	return 0;
}

static void on_not_killed(struct loop_timer *timer)
{
	struct vm *vm = timer->data;
	struct err why = ERR_INIT;

	(void)err_set(&why, ERR_INTERNAL, "kill_failed", 0,
		      "VM '%s' was killed but its process is still there: the "
		      "host's kernel holds it (a hanging disk?)",
		      vm->row.name);
	vm->row.error = why;
	vm_set_state(vm, API_VM_UNKNOWN, "%s", why.code);
	vm_finish(vm, &why);
}

void vm_kill(struct vm *vm)
{
	vm->ending = true;
	vm->killed = true;
	loop_timer_start(&vm->deadline, on_not_killed,
			 vm->daemon->config->kill_ms);
	vm->engine->kill(vm->handle);
	/* ended() may have come already: vm may be gone. */
}

static void on_stop_timeout(struct loop_timer *timer)
{
	struct vm *vm = timer->data;

	log_vm(LOG_LEVEL_INFO, vm->row.id,
	       "%s: the guest did not power off in time: ended by force",
	       vm->row.name);
	vm_kill(vm);
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
	if (e && vm->session && vm->handle && vm->ending)
		ask_engine(vm);
}

static const struct agent_stream_ops shutdown_ops = { .done = shutdown_done };

/* Asks the guest, ends it by force after timeout_ms. */
static void bring_down(struct vm *vm, uint64_t timeout_ms, bool force)
{
	vm_set_state(vm, API_VM_STOPPING, "%s", "");
	vm->ending = true;
	if (force || timeout_ms == 0) {
		vm_kill(vm);
		return;
	}
	operation_progress(vm->op, 0, 0, "waiting for the guest to power off");
	loop_timer_start(&vm->deadline, on_stop_timeout, timeout_ms);
	if (!vm->session || !agent_session_ready(vm->session) ||
	    !agent_session_shutdown(vm->session, WIRE_POWEROFF, &shutdown_ops,
				    vm, NULL))
		ask_engine(vm);
}

/* Force ends what is under way; the waiting for a stop, too. But not a deletion:
 * its VM ends anyway, and must not come back. */
static int take_over(struct vm *vm, bool force, struct err *e)
{
	struct err why = ERR_INIT;

	if (force && vm->op && vm->handle &&
	    vm->op->kind != API_OP_VM_DELETE) {
		(void)err_set(&why, ERR_CANCELLED, "operation_cancelled",
			      ECANCELED, "VM '%s' was stopped by force",
			      vm->row.name);
		vm_finish(vm, &why);
	}
	return vm_idle(vm, e);
}

int vm_stop(struct vm *vm, uint64_t timeout_ms, bool force,
	    char ret_op[static ID_LEN + 1], struct err *e)
{
	int rc = take_over(vm, force, e);

	if (rc < 0)
		return rc;
	if (!vm->handle && vm->row.state != API_VM_UNKNOWN)
		return err_set(e, ERR_CONFLICT, "wrong_state", 0,
			       "VM '%s' does not run (it is %s)", vm->row.name,
			       api_vm_state_name(vm->row.state));
	rc = begin(vm, API_OP_VM_STOP, e);
	if (rc < 0)
		return rc;
	memcpy(ret_op, vm->op->row.id, ID_LEN + 1);
	if (!vm->handle) {
		rc = stop_unjudged(vm, force, e);
		if (rc < 0)
			vm_finish(vm, e);
		return rc;
	}
	bring_down(vm, timeout_ms, force);
	return 0;
}

int vm_restart(struct vm *vm, uint64_t timeout_ms, bool force,
	       char ret_op[static ID_LEN + 1], struct err *e)
{
	bool runs = vm->handle;
	int rc;

	if (runs) {
		rc = take_over(vm, force, e);
		if (rc == 0)
			rc = begin(vm, API_OP_VM_RESTART, e);
	} else {
		if (force && vm->row.state == API_VM_UNKNOWN) {
			end_unjudged(vm);
			vm_set_state(vm, API_VM_STOPPED,
				     "it was ended by force");
		}
		rc = vm_start(vm, e);
	}
	if (rc < 0)
		return rc;
	memcpy(ret_op, vm->op->row.id, ID_LEN + 1);
	if (!runs)
		return 0;
	vm->after = AFTER_LAUNCH;
	bring_down(vm, timeout_ms, force);
	return 0;
}

static void remove_soon(struct loop_timer *timer)
{
	vm_remove(timer->data, NULL);
}

/* Takes the VM over from whatever works on it, for good. */
static void take_down(struct vm *vm, const struct err *why)
{
	vm->after = AFTER_REMOVE;
	if (why)
		vm->why = *why;
	vm_stop_making(vm);
	end_unjudged(vm);
	vm_set_state(vm, API_VM_DELETING, "%s", why ? why->msg : "");
	if (vm->handle)
		vm_kill(vm);
	else
		loop_timer_start(&vm->deadline, remove_soon, 0);
}

int vm_delete(struct vm *vm, bool force, char ret_op[static ID_LEN + 1],
	      struct err *e)
{
	struct err why = ERR_INIT;
	int rc;

	if (vm->op && vm->op->kind == API_OP_VM_DELETE)
		return vm_idle(vm, e);
	if ((vm->handle || vm->row.state == API_VM_UNKNOWN) && !force)
		return err_set(e, ERR_CONFLICT, "wrong_state", 0,
			       "VM '%s' is %s: stop it first, or delete it "
			       "with force",
			       vm->row.name, api_vm_state_name(vm->row.state));
	if (!force) {
		rc = vm_idle(vm, e);
		if (rc < 0)
			return rc;
	}
	vm_stop_making(vm);
	(void)err_set(&why, ERR_CANCELLED, "operation_cancelled", ECANCELED,
		      "VM '%s' was deleted meanwhile", vm->row.name);
	vm_finish(vm, &why);
	rc = begin(vm, API_OP_VM_DELETE, e);
	if (rc < 0)
		return rc;
	memcpy(ret_op, vm->op->row.id, ID_LEN + 1);
	take_down(vm, NULL);
	return 0;
}

void vm_destroy(struct vm *vm, const struct err *why)
{
	struct err ignored = ERR_INIT;
	/* The task's journal row goes by its operation: end it first. */
	vm_stop_making(vm);
	if (vm->op && vm->op->kind == API_OP_VM_DELETE)
		return;
	if (vm->op) {
		(void)err_set(&ignored, ERR_CANCELLED, "operation_cancelled",
			      ECANCELED, "%s", why ? why->msg : "VM deleted");
		vm_finish(vm, &ignored);
	}
	err_clear(&ignored);
	if (begin(vm, API_OP_VM_DELETE, &ignored) < 0)
		log_vm(LOG_LEVEL_ERROR, vm->row.id, "%s", ignored.msg);
	take_down(vm, why);
}

void vm_op_stop(struct operation *op, const struct err *why)
{
	struct vm *vm = op->owner;
	struct err kept = *why;

	if (op->kind == API_OP_VM_DELETE || vm->killed)
		return; /* its end is near and certain */
	if (vm->row.state == API_VM_STOPPING) {
		/* What was asked of the guest cannot be unasked; the force
		 * that would follow can. */
		vm->after = AFTER_STOPPED;
		vm->ending = false;
		vm_set_state(vm,
			     vm->session && agent_session_ready(vm->session)
				     ? API_VM_READY
				     : API_VM_RUNNING,
			     "%s", "the stop was cancelled");
		vm_finish(vm, &kept);
		return;
	}
	vm_start_failed(vm, &kept);
}
