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
#include "vmd/ports/vm_ports.h"
#include "vmd/vm/trash.h"
#include "vmd/vm/vm.h"

enum {
	REMOVE_AGAIN_MS = 2000,
	PANIC_BYTES = 8192 /* the words and the call trace that follows them */
};

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

uint64_t vm_limit_none(const struct vm *vm)
{
	(void)vm;
	return 0;
}

uint64_t vm_limit_remove_again(const struct vm *vm)
{
	(void)vm;
	return REMOVE_AGAIN_MS;
}

void vm_late_deleting(const struct vm *vm, struct err *ret)
{
	*ret = *vm_why(vm);
}

/* Files and rows, then the object. */
void vm_act_remove(struct vm *vm, const struct err *why)
{
	const struct err *because = why->kind == ERR_NONE ? NULL : why;
	bool asked = vm->op && vm->op->kind == API_OP_VM_DELETE;
	struct err e = ERR_INIT;

	if (remove_files(vm, &e) < 0) {
		vm_event(vm, ON_NOT_REMOVED, &e);
		return;
	}
	log_vm(LOG_LEVEL_INFO, vm->row.id, "%s: removed%s%s", vm->row.name,
	       because ? ": " : "", because ? because->msg : "");
	daemon_bury(vm->daemon, vm->row.id, because, vm_to_json(vm));
	if (vm->op)
		operation_finish(take_ptr(vm->op), asked ? NULL : because);
	daemon_changed(vm->daemon, vm->row.id);
	vm_free(vm);
}

void vm_act_count_failed(struct vm *vm, const struct err *why)
{
	(void)why;
	vm->daemon->count.vms_failed++;
}

/* No process of the VM is left: neither in the journal nor in its picture. */
void vm_forget_processes(struct vm *vm)
{
	struct err e = ERR_INIT;

	vm->process_count = 0;
	vm_cgroup_end(vm);
	if (store_journal_remove(vm->daemon->store, vm->row.id, JOURNAL_PROCESS,
				 NULL, &e) < 0)
		log_vm(LOG_LEVEL_ERROR, vm->row.id, "%s", e.msg);
}

static const char *end_text(enum vm_end end)
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
	case VM_END_OOM:
		return "its memory was out";
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

/* What its end means to who waits for it, or works on it. */
static void explain(const struct vm *vm, enum vm_end end,
		    const struct err *engine, struct err *ret)
{
	const uint32_t asked = 1 << VM_STOPPING | 1 << VM_KILLING;
	const uint32_t decided =
		1 << VM_FAILING | 1 << VM_REMOVING | 1 << VM_HELD_REMOVING;
	bool starting = vm_state_in(vm, 1 << VM_LAUNCHING | 1 << VM_BOOTING |
						1 << VM_COMMAND |
						1 << VM_PAUSED_START) ||
			(vm->state == VM_LOADED && !vm->row.ready_ms);
	char tail[420];

	*ret = *engine;
	if (vm_state_in(vm, asked)) {
		err_clear(ret);
		(void)snprintf(ret->msg, sizeof(ret->msg), "%s%s%.600s",
			       end == VM_END_POWEROFF ? "" : end_text(end),
			       engine->msg[0] ? ": " : "", engine->msg);
	} else if (vm_state_in(vm, decided) ||
		   (starting && vm_why(vm)->kind != ERR_NONE)) {
		*ret = *vm_why(vm);
	} else if (starting && ret->kind == ERR_NONE) {
		vm_console_tail(vm, tail, sizeof(tail));
		(void)err_set(ret, ERR_UNAVAILABLE, "guest_ended", 0,
			      "VM '%s' ended (%s) before its guest was ready; "
			      "last on its console: %s",
			      vm->row.name, end_text(end),
			      tail[0] ? tail : "(nothing)");
	} else if (ret->kind == ERR_NONE && !vm->row.ephemeral &&
		   (end == VM_END_CRASH || end == VM_END_FAILED)) {
		(void)err_set(ret, ERR_INTERNAL, "vm_crashed", 0,
			      "VM '%s' ended: %s", vm->row.name, end_text(end));
	}
}

void vm_ended(struct vm *vm, enum vm_end end, const struct err *e)
{
	static const enum vm_event events[] = {
		[VM_END_POWEROFF] = ON_POWEROFF, [VM_END_RESET] = ON_RESET,
		[VM_END_CRASH] = ON_CRASH,	 [VM_END_KILLED] = ON_KILLED,
		[VM_END_FAILED] = ON_DIED,	 [VM_END_OOM] = ON_STARVED,
	};
	struct err engine = ERR_INIT, why;

	if (e && e->kind != ERR_NONE)
		engine = *e;
	if (end == VM_END_RESET && panicked(vm, &engine))
		end = VM_END_CRASH;
	/* What an engine sees as a death of its process. */
	vm_cgroup_end(vm);
	if ((end == VM_END_FAILED || end == VM_END_KILLED) &&
	    vm_cgroup_oom(vm, &engine))
		end = VM_END_OOM;
	explain(vm, end, &engine, &why);
	vm_event(vm, events[end], &why);
}
