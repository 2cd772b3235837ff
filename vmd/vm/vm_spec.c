/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The wish that a VM was made from. Ten thousand resting VMs keep its text
 * only; parsed it would be ten times as large. The few that were looked at last
 * are kept parsed, by the daemon.
 */
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "base/log.h"
#include "vmd/vm/vm.h"

static json_t *keep(const struct vm *vm, json_t *steal_spec)
{
	struct daemon *d = vm->daemon;
	struct parsed_spec *p = &d->parsed[d->parsed_next++ % SPECS_PARSED];

	json_decref(p->spec);
	*p = (struct parsed_spec){ .vm = vm, .spec = steal_spec };
	return steal_spec;
}

json_t *vm_spec(const struct vm *vm)
{
	struct daemon *d = vm->daemon;
	struct err e = ERR_INIT;
	json_t *spec;

	for (size_t i = 0; i < SPECS_PARSED; i++)
		if (d->parsed[i].vm == vm)
			return d->parsed[i].spec;
	if (!vm->row.spec)
		return NULL;
	if (json_parse_strict(vm->row.spec, strlen(vm->row.spec), "spec", &spec,
			      &e) < 0) {
		log_vm(LOG_LEVEL_DEBUG, vm->row.id, "its record: %s", e.msg);
		return NULL;
	}
	return keep(vm, spec);
}

void vm_spec_set(struct vm *vm, json_t *spec)
{
	vm_spec_drop(vm);
	(void)keep(vm, json_incref(spec));
}

void vm_spec_drop(const struct vm *vm)
{
	struct daemon *d = vm->daemon;

	for (size_t i = 0; i < SPECS_PARSED; i++) {
		if (d->parsed[i].vm != vm)
			continue;
		json_decref(d->parsed[i].spec);
		d->parsed[i] = (struct parsed_spec){ .vm = NULL };
	}
}
