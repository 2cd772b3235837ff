/* SPDX-License-Identifier: Apache-2.0 */
/* The VM object, its list and its durable row. */
#include "vmd/vm/vm.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/lookup.h"
#include "base/suggest.h"
#include "base/text.h"
#include "vmd/ports/vm_ports.h"

struct vm *vm_new(struct daemon *d, struct err *e)
{
	struct vm *vm = calloc(1, sizeof(*vm));

	if (!vm) {
		(void)err_sys(e, ENOMEM, "making a VM");
		return NULL;
	}
	vm->daemon = d;
	vm->run_dirfd = -1;
	LIST_INIT(&vm->console_users);
	loop_timer_init(d->loop, &vm->timer, NULL, vm);
	loop_timer_init(d->loop, &vm->reconnect, NULL, vm);
	loop_timer_init(d->loop, &vm->life, NULL, vm);
	loop_timer_init(d->loop, &vm->turn_end, NULL, vm);
	LIST_INSERT_HEAD(&d->vms, vm, link);
	d->vm_count++;
	return vm;
}

static struct vm_bucket *bucket(struct vm_bucket *table, const char *text)
{
	return &table[text_hash(text) % VM_BUCKETS];
}

void vm_index(struct vm *vm)
{
	struct daemon *d = vm->daemon;

	LIST_INSERT_HEAD(bucket(d->vms_by_id, vm->row.id), vm, by_id);
	LIST_INSERT_HEAD(bucket(d->vms_by_name, vm->row.name), vm, by_name);
	vm->indexed = true;
}

void vm_free(struct vm *vm)
{
	struct vm_console_user *u;

	while ((u = LIST_FIRST(&vm->console_users))) {
		LIST_REMOVE(u, link);
		u->gone(u);
	}
	vm_turn_leave(vm);
	loop_timer_disarm(&vm->timer);
	loop_timer_disarm(&vm->life);
	loop_timer_disarm(&vm->reconnect);
	vm_ports_close(vm);
	if (vm->session)
		agent_session_free(take_ptr(vm->session));
	if (vm->handle)
		vm->engine->release(take_ptr(vm->handle));
	close_fd(&vm->run_dirfd);
	vm_stop_making(vm);
	vm_console_end(vm);
	LIST_REMOVE(vm, link);
	if (vm->indexed) {
		LIST_REMOVE(vm, by_id);
		LIST_REMOVE(vm, by_name);
	}
	vm->daemon->vm_count--;
	vm_spec_drop(vm);
	free(vm->why);
	vm_row_done(&vm->row);
	free(vm);
}

struct vm *vm_find_id(struct daemon *d, const char *id)
{
	struct vm *vm;

	LIST_FOREACH(vm, bucket(d->vms_by_id, id), by_id)
		if (strcmp(vm->row.id, id) == 0)
			return vm;
	return NULL;
}

struct vm *vm_find_name(struct daemon *d, const char *name)
{
	struct vm *vm;

	LIST_FOREACH(vm, bucket(d->vms_by_name, name), by_name)
		if (strcmp(vm->row.name, name) == 0)
			return vm;
	return NULL;
}

/* There is no such VM; one of a similar name may be meant. */
static void suggest_vm(struct daemon *d, const char *ref, struct err *e)
{
	struct suggest near;
	struct vm *vm;

	suggest_begin(&near, ref);
	LIST_FOREACH(vm, &d->vms, link)
		suggest_offer(&near, vm->row.name);
	(void)err_subject(e, -ENOENT, ref, suggest_end(&near));
}

struct vm *vm_find(struct daemon *d, const char *ref, struct err *e)
{
	struct vm *vm = vm_find_id(d, ref);
	const struct vm *found;
	struct lookup l;

	if (!vm) /* names are looked for before beginnings of ids */
		vm = vm_find_name(d, ref);
	if (vm)
		return vm;
	/* Only a prefix has to be compared with all. */
	lookup_begin(&l, ref);
	LIST_FOREACH(vm, &d->vms, link)
		lookup_offer(&l, vm->row.id, vm->row.name, vm);
	found = lookup_end(&l, "vm", "VM", e);
	if (!found && l.rank == LOOKUP_NONE)
		suggest_vm(d, ref, e);
	return (struct vm *)(uintptr_t)found;
}

const struct err *vm_why(const struct vm *vm)
{
	static const struct err none = ERR_INIT;

	return vm->why ? vm->why : &none;
}

void vm_set_why(struct vm *vm, const struct err *why)
{
	struct err *copy = NULL;

	if (why && (why->kind != ERR_NONE || why->msg[0])) {
		copy = malloc(sizeof(*copy));
		if (copy)
			*copy = *why;
		else
			log_vm(LOG_LEVEL_ERROR, vm->row.id, "no memory: %s",
			       why->msg);
	}
	free(vm->why);
	vm->why = copy;
}

int vm_save(struct vm *vm, struct err *e)
{
	vm->unsaved = false;
	vm->row.revision++;
	daemon_changed(vm->daemon, vm->row.id);
	return store_vm_update(vm->daemon->store, &vm->row, e);
}

bool vm_rests(const struct vm *vm)
{
	return vm_state_in(vm, 1 << VM_STOPPED | 1 << VM_FAILED |
				       1 << VM_STUCK | 1 << VM_UNKNOWN);
}

bool vm_is_active(const struct vm *vm)
{
	return vm->handle ||
	       vm_state_in(vm, 1 << VM_CREATED | 1 << VM_MAKING |
				       1 << VM_WAITING | 1 << VM_LAUNCHING);
}
