/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long a VM may live: its time to live (kept in the store, so that it holds
 * across restarts) and, for an ephemeral one without a command, the lease: the
 * time it may be without an attached connection.
 */
#include "base/clock.h"
#include "vmd/vm/vm.h"

static void on_unwanted(struct loop_timer *timer)
{
	vm_event(timer->data, ON_DESTROY, NULL);
}

void vm_destroy(struct vm *vm, const struct err *why)
{
	/* One whose connection goes with what the VM held: it is gone soon. */
	if (vm->dropping)
		loop_timer_start_soon(&vm->life, on_unwanted);
	else
		vm_event(vm, ON_DESTROY, why);
}

static void on_life_end(struct loop_timer *timer)
{
	struct vm *vm = timer->data;
	struct err why = ERR_INIT;

	if (vm->row.expires_ms && clock_wall_ms() >= vm->row.expires_ms) {
		(void)err_set(&why, ERR_TIMEOUT, "ttl_expired", 0,
			      "the time to live of VM '%s' has passed",
			      vm->row.name);
	} else if (vm->lease_end_ms && clock_mono_ms() >= vm->lease_end_ms) {
		(void)err_set(
			&why, ERR_TIMEOUT, "lease_expired", 0,
			"nobody was attached to the ephemeral VM '%s' "
			"for %llu s",
			vm->row.name,
			(unsigned long long)(vm->daemon->config->lease_ms /
					     1000));
	} else {
		vm_life_begin(vm); /* the wall clock was set back */
		return;
	}
	vm_destroy(vm, &why);
}

static void arm(struct vm *vm)
{
	uint64_t now = clock_mono_ms(), after = UINT64_MAX;

	if (vm->row.expires_ms) {
		int64_t left = vm->row.expires_ms - clock_wall_ms();

		/* At most a day: the wall clock may be set meanwhile. */
		after = left < 0 ? 0 : (uint64_t)left;
		if (after > 86400000)
			after = 86400000;
	}
	if (vm->lease_end_ms) {
		uint64_t left =
			vm->lease_end_ms > now ? vm->lease_end_ms - now : 0;

		if (left < after)
			after = left;
	}
	if (after == UINT64_MAX)
		loop_timer_disarm(&vm->life);
	else
		loop_timer_start(&vm->life, on_life_end, after);
}

void vm_life_begin(struct vm *vm)
{
	/* With a damaged record nobody knows whether it has a command. */
	if (vm->row.ephemeral && vm_spec(vm) && !vm_wants_command(vm) &&
	    vm->attached == 0 && !vm->lease_end_ms)
		vm->lease_end_ms =
			clock_mono_ms() + vm->daemon->config->lease_ms;
	arm(vm);
}

void vm_attach(struct vm *vm)
{
	vm->attached++;
	vm->lease_end_ms = 0;
	arm(vm);
}

void vm_detach(struct vm *vm)
{
	vm->attached--;
	if (vm->row.ephemeral && vm->attached == 0 && !vm->daemon->stopping)
		vm_destroy(vm, NULL);
}
