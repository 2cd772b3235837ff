/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest whose disk write met a full disk of the host is paused by its engine,
 * with nothing lost. It goes on by itself: while such a VM exists, the room on the
 * disk is looked at, less and less often. What also fails with room (a quota, a
 * disk that gives errors) is tried at the same pace.
 */
#include "base/clock.h"
#include "base/file.h"
#include "vmd/vm/vm.h"

#define ROOM_BYTES (UINT64_C(1) << 20)

enum {
	LOOK_FIRST_MS = 500,
	LOOK_MAX_MS = 30000,
	/* One that ran so long since was not paused for the same want. */
	CALM_MS = 60000
};

uint64_t vm_limit_look(const struct vm *vm)
{
	return vm->room_ms;
}

void vm_act_look(struct vm *vm, const struct err *why)
{
	uint64_t room = 0;

	(void)why;
	vm->room_ms *= 2;
	if (vm->room_ms > LOOK_MAX_MS)
		vm->room_ms = LOOK_MAX_MS;
	vm_arm(vm); /* unless it says that it goes on */
	if (file_free_bytes(vm->daemon->state_vms_fd, &room, NULL) < 0 ||
	    room >= ROOM_BYTES)
		vm->engine->resume(vm->handle);
}

void vm_act_paused(struct vm *vm, const struct err *why)
{
	operation_progress(vm->op, 0, 0, "paused: %s", why->msg);
}

void vm_on_paused(void *ctx, const char *text)
{
	struct vm *vm = ctx;
	uint64_t now = clock_mono_ms();
	struct err words = ERR_INIT;

	if (text && !vm->paused) {
		if (!vm->room_ms || now - vm->resumed_ms > CALM_MS)
			vm->room_ms = LOOK_FIRST_MS;
		vm->paused_since_ms = now;
	} else if (!text && vm->paused) {
		vm->resumed_ms = now;
		vm->paused_ms += now - vm->paused_since_ms;
	} else if (!text) {
		return;
	}
	vm->paused = text;
	if (text)
		(void)snprintf(words.msg, sizeof(words.msg), "%s", text);
	vm_event(vm, text ? ON_PAUSED : ON_RESUMED, &words);
}
