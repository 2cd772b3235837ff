/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Turns: how many VMs may come up at once. Making a disk and booting a kernel
 * take the whole of a processor each; sixty at once make a host unusable and
 * every one of them slow. So those above the limit wait, in the order in which
 * they came, and are told so.
 *
 * A turn is taken before the disk is made or the engine started, and given back
 * with the state that holds it (vm_table.c), or when the guest has had TURN_MS: one
 * that never gets ready does not keep the others from starting.
 */
#include "base/log.h"
#include "vmd/vm/vm.h"

enum {
	TURN_MS = 20000
};

static void tell_waiting(struct daemon *d)
{
	unsigned before = 0;
	struct vm *vm;

	TAILQ_FOREACH(vm, &d->turns.waiting, turn_link)
		operation_progress(
			vm->op, 0, 0,
			"waiting for its turn: %u starts are under way, "
			"%u more come first",
			d->turns.taken, before++);
}

static void take(struct vm *vm)
{
	struct turns *turns = &vm->daemon->turns;

	turns->taken++;
	vm->turn = TURN_TAKEN;
	vm_arm_soon(vm);
}

void vm_turn_take(struct vm *vm)
{
	struct turns *turns = &vm->daemon->turns;

	vm_turn_leave(vm);
	if (turns->taken < vm->daemon->config->starts_max) {
		take(vm);
		return;
	}
	vm->turn = TURN_AWAITED;
	TAILQ_INSERT_TAIL(&turns->waiting, vm, turn_link);
	tell_waiting(vm->daemon);
}

void vm_turn_leave(struct vm *vm)
{
	struct turns *turns = &vm->daemon->turns;
	enum vm_turn had = vm->turn;
	struct vm *next;

	loop_timer_disarm(&vm->turn_end);
	vm->turn = TURN_NONE;
	if (had == TURN_AWAITED) {
		TAILQ_REMOVE(&turns->waiting, vm, turn_link);
		tell_waiting(vm->daemon);
		return;
	}
	if (had == TURN_NONE)
		return;
	turns->taken--;
	next = TAILQ_FIRST(&turns->waiting);
	if (!next || vm->daemon->stopping)
		return;
	TAILQ_REMOVE(&turns->waiting, next, turn_link);
	take(next);
	tell_waiting(vm->daemon);
}

static void on_turn_end(struct loop_timer *timer)
{
	vm_turn_leave(timer->data);
}

void vm_turn_begin_boot(struct vm *vm)
{
	if (vm->turn == TURN_TAKEN)
		loop_timer_start(&vm->turn_end, on_turn_end, TURN_MS);
}

void vm_act_take_turn(struct vm *vm, const struct err *why)
{
	(void)why;
	vm_turn_take(vm);
}
