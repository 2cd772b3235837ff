/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The end of a run and the end of a VM. Whatever brought it about, the engine's
 * ended() leads here, and what follows is decided in one place.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "vmd/vm/trash.h"
#include "vmd/vm/vm.h"
#include "vmd/ports/vm_ports.h"

enum {
	REMOVE_AGAIN_MS = 2000,
	PANIC_BYTES = 8192 /* the words and the call trace that follows them */
};

static bool op_is(const struct vm *vm, enum api_op_kind kind)
{
	return vm->op && vm->op->kind == kind;
}

static int remove_files(struct vm *vm, struct err *e)
{
	struct daemon *d = vm->daemon;
	int rc;

	close_fd(&vm->run_dirfd);
	rc = trash_dir(d, true, vm->row.id, NULL, e);
	if (rc == 0)
		rc = trash_state_dir(d, vm->row.id, e);
	if (rc == 0)
		rc = store_vm_delete(d->store, vm->row.id, e);
	/* Also when a full disk does not take the deletion: it makes room. */
	trash_empty(d);
	return rc;
}

static void remove_again(struct loop_timer *timer)
{
	struct vm *vm = timer->data;

	if (!vm->op && !vm->handle)
		vm_destroy(vm, NULL);
}

void vm_remove(struct vm *vm, const struct err *why)
{
	struct err e = ERR_INIT;
	bool asked = op_is(vm, API_OP_VM_DELETE);

	loop_timer_disarm(&vm->deadline);
	vm->row.state = API_VM_DELETING;
	if (remove_files(vm, &e) < 0) {
		/* Never pretend: what is left shows, and can be tried again. */
		vm->row.error = e;
		vm_set_state(vm, API_VM_FAILED, "%s", "it cannot be removed");
		vm_finish(vm, &e);
		/* Whoever wanted this one does not come back for it. */
		if (vm->row.ephemeral)
			loop_timer_start(&vm->deadline, remove_again,
					 REMOVE_AGAIN_MS);
		return;
	}
	log_vm(LOG_LEVEL_INFO, vm->row.id, "%s: removed%s%s", vm->row.name,
	       why ? ": " : "", why ? why->msg : "");
	daemon_bury(vm->daemon, vm->row.id, why, vm_to_json(vm));
	vm_finish(vm, asked ? NULL : why);
	daemon_changed(vm->daemon);
	vm_free(vm);
}

/* No process of the VM is left: neither in the journal nor in its picture. */
void vm_forget_processes(struct vm *vm)
{
	struct err e = ERR_INIT;

	vm->process_count = 0;
	if (store_journal_remove(vm->daemon->store, vm->row.id, JOURNAL_PROCESS,
				 NULL, &e) < 0)
		log_vm(LOG_LEVEL_ERROR, vm->row.id, "%s", e.msg);
}

/* Nothing runs any more; the attempt to start it has failed for `why`. */
static void start_is_over(struct vm *vm, const struct err *why)
{
	bool undone = op_is(vm, API_OP_VM_CREATE) && why->kind == ERR_CANCELLED;
	struct err kept = *why;

	vm->starting = false;
	vm->daemon->count.vms_failed++;
	vm_ports_close(vm);
	vm_forget_processes(vm);
	if (vm->after == AFTER_REMOVE || undone || vm->row.ephemeral) {
		vm_remove(vm, &kept);
		return;
	}
	if (why->kind == ERR_CANCELLED) {
		vm_set_state(vm, API_VM_STOPPED, "%s", why->msg);
	} else {
		vm->row.error = kept;
		vm_set_state(vm, API_VM_FAILED, "%s", why->code);
	}
	vm_finish(vm, &kept);
}

void vm_start_failed(struct vm *vm, const struct err *why)
{
	struct err kept = *why;

	loop_timer_disarm(&vm->deadline);
	vm_stop_making(vm);
	if (!vm->handle) {
		start_is_over(vm, &kept);
		return;
	}
	vm->why = kept;
	vm_kill(vm);
}

/* It ended by itself before it was ready, whichever daemon had started it. */
static void died_starting(struct vm *vm, enum vm_end end, const struct err *e)
{
	struct err why = vm->why;
	char tail[420];

	if (why.kind == ERR_NONE && e && e->kind != ERR_NONE)
		why = *e;
	if (why.kind == ERR_NONE) {
		vm_console_tail(vm, tail, sizeof(tail));
		(void)err_set(&why, ERR_UNAVAILABLE, "guest_ended", 0,
			      "VM '%s' ended (%s) before its guest was ready; "
			      "last on its console: %s",
			      vm->row.name, vm_end_text(end),
			      tail[0] ? tail : "(nothing)");
	}
	start_is_over(vm, &why);
}

/* It is down as was asked; how, if not as was asked. */
static void ended_stopping(struct vm *vm, enum vm_end end, const struct err *e)
{
	vm_set_state(vm, API_VM_STOPPED, "%s%s%s",
		     end == VM_END_POWEROFF ? "" : vm_end_text(end),
		     e ? ": " : "", e ? e->msg : "");
	if (vm->row.ephemeral)
		vm_remove(vm, NULL);
	else
		vm_finish(vm, NULL);
}

/* It ended by itself and nobody asked for it. */
static void ended_alone(struct vm *vm, enum vm_end end, const struct err *e)
{
	struct err kept = ERR_INIT;

	if (e)
		kept = *e;
	if (vm->row.ephemeral) {
		vm_remove(vm, kept.kind == ERR_NONE ? NULL : &kept);
		return;
	}
	switch (end) {
	case VM_END_POWEROFF:
		vm_set_state(vm, API_VM_STOPPED, "the guest powered off");
		return;
	case VM_END_RESET:
		vm_set_state(vm, API_VM_STOPPED, "the guest rebooted");
		/* A guest that reboots gets a new start; one that never gets
		 * ready in between ends as a failed start. */
		if (vm_start(vm, &kept) == 0)
			return;
		break;
	case VM_END_KILLED:
		vm_set_state(vm, API_VM_STOPPED,
			     "its process was ended from outside of vmd");
		return;
	case VM_END_CRASH:
	case VM_END_FAILED:
		break;
	}
	if (kept.kind == ERR_NONE)
		(void)err_set(&kept, ERR_INTERNAL, "vm_crashed", 0,
			      "VM '%s' ended: %s", vm->row.name,
			      vm_end_text(end));
	vm->row.error = kept;
	vm->daemon->count.vms_failed++;
	vm_set_state(vm, API_VM_FAILED, "%s", vm_end_text(end));
}

const char *vm_end_text(enum vm_end end)
{
	switch (end) {
	case VM_END_POWEROFF:
		return "the guest powered off";
	case VM_END_RESET:
		return "the guest asked for a reset";
	case VM_END_CRASH:
		return "the guest crashed";
	case VM_END_KILLED:
		return "it was ended by force";
	case VM_END_FAILED:
		return "the engine failed";
	}
	return "it ended";
}

/*
 * A kernel that panics asks for a reset (panic=-1), as one that reboots does;
 * its last words tell them apart. They are the guest's own: at worst it hides or
 * invents its own crash.
 */
static bool panicked(const struct vm *vm, struct err *ret)
{
	static const char word[] = "Kernel panic - not syncing";
	static const char reboot[] = "reboot: Restarting system";
	uint8_t raw[PANIC_BYTES];
	size_t len = vm_console_replay(vm, raw, sizeof(raw)), left = len, n = 0;
	const uint8_t *next = raw, *at = NULL;
	char line[200];

	while ((next = memmem(next, left, word, sizeof(word) - 1))) {
		at = next++;
		left = len - (size_t)(next - raw);
	}
	if (!at || memmem(at, left, reboot, sizeof(reboot) - 1))
		return false;
	for (; n < left && n + 1 < sizeof(line) && at[n] >= 0x20; n++)
		line[n] = at[n] < 0x7f ? (char)at[n] : '?';
	line[n] = '\0';
	(void)err_set(ret, ERR_INTERNAL, "guest_crashed", 0,
		      "the guest of VM '%s' crashed: %s", vm->row.name, line);
	return true;
}

void vm_ended(struct vm *vm, enum vm_end end, const struct err *e)
{
	struct err reason = ERR_INIT;
	struct vm_console_user *u;

	if (e && e->kind != ERR_NONE)
		reason = *e;
	if (end == VM_END_RESET && panicked(vm, &reason))
		end = VM_END_CRASH;
	e = reason.kind == ERR_NONE ? NULL : &reason;
	loop_timer_disarm(&vm->deadline);
	loop_timer_disarm(&vm->reconnect);
	vm_ports_close(vm);
	if (vm->session)
		agent_session_free(take_ptr(vm->session));
	if (vm->handle)
		vm->engine->release(take_ptr(vm->handle));
	vm_forget_processes(vm);
	vm_pause_over(vm);
	vm->ending = false;
	vm->killed = false;
	LIST_FOREACH(u, &vm->console_users, link)
	if (u->ended)
		u->ended(u);
	if (vm->after == AFTER_REMOVE) {
		reason = vm->why;
		vm_remove(vm, reason.kind == ERR_NONE ? NULL : &reason);
	} else if (vm->after == AFTER_LAUNCH) {
		vm_set_state(vm, API_VM_STARTING, "%s", "");
		vm_launch_in_turn(vm);
	} else if (op_is(vm, API_OP_VM_STOP)) {
		vm->starting = false;
		ended_stopping(vm, end, e);
	} else if (vm->starting) {
		died_starting(vm, end, e);
	} else {
		ended_alone(vm, end, e);
	}
}
