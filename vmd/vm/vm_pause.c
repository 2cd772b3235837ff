/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest whose disk write met a full disk of the host is paused by its engine,
 * with nothing lost. It goes on by itself: while such a VM exists, the room on the
 * disk is looked at, less and less often. What also fails with room (a quota, a
 * disk that gives errors) is tried at the same pace.
 */
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "vmd/vm/vm.h"

#define ROOM_BYTES (UINT64_C(1) << 20)

enum {
	LOOK_FIRST_MS = 500,
	LOOK_MAX_MS = 30000,
	/* One that ran so long since was not paused for the same want. */
	CALM_MS = 60000
};

static void look_later(struct vm *vm)
{
	loop_timer_arm(&vm->room, vm->room_ms);
	vm->room_ms *= 2;
	if (vm->room_ms > LOOK_MAX_MS)
		vm->room_ms = LOOK_MAX_MS;
}

static void on_look(struct loop_timer *timer)
{
	struct vm *vm = timer->data;
	uint64_t room = 0;

	if (!vm->paused || !vm->handle)
		return;
	look_later(vm); /* unless it says that it goes on */
	if (file_free_bytes(vm->daemon->state_vms_fd, &room, NULL) < 0 ||
	    room >= ROOM_BYTES)
		vm->engine->resume(vm->handle);
}

static void begin(struct vm *vm, const char *why)
{
	if (!vm->paused) {
		if (clock_mono_ms() - vm->resumed_ms > CALM_MS)
			vm->room_ms = LOOK_FIRST_MS;
		vm->paused_since_ms = clock_mono_ms();
		/* No step of the guest has a time limit meanwhile. */
		if (vm->starting)
			loop_timer_disarm(&vm->deadline);
		operation_progress(vm->op, 0, 0, "paused: %s", why);
	}
	vm->paused = true;
	if (vm->row.state != API_VM_PAUSED)
		vm_set_state(vm, API_VM_PAUSED, "%s", why);
	if (!loop_timer_armed(&vm->room))
		look_later(vm);
}

static void end(struct vm *vm)
{
	uint64_t now = clock_mono_ms();
	bool ready = vm->session && agent_session_ready(vm->session);

	if (!vm->paused)
		return;
	vm_pause_over(vm);
	vm->resumed_ms = now;
	vm->paused_ms += now - vm->paused_since_ms;
	vm_set_state(vm, ready ? API_VM_READY : API_VM_RUNNING, "%s", "");
	if (vm->starting)
		vm_await_ready(vm);
}

void vm_pause_over(struct vm *vm)
{
	vm->paused = false;
	loop_timer_disarm(&vm->room);
}

void vm_on_paused(void *ctx, const char *why)
{
	struct vm *vm = ctx;

	if (!vm->room.fn) {
		loop_timer_init(vm->daemon->loop, &vm->room, on_look, vm);
		vm->room_ms = LOOK_FIRST_MS;
	}
	if (vm->ending)
		vm_pause_over(vm); /* its end is under way, whatever it does */
	else if (why)
		begin(vm, why);
	else
		end(vm);
}
