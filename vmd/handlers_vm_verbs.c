/* SPDX-License-Identifier: Apache-2.0 */
/* start, stop, restart, delete: each answers with its operation. */
#include "vmd/handlers.h"

static void answer(struct request *r, struct vm *vm, int rc,
		   const struct err *e)
{
	if (rc < 0)
		request_fail(r, e);
	else
		request_operation(r, vm->op->row.id);
}

void handle_vm_start(struct request *r)
{
	struct vm *vm = request_vm(r);
	struct err e = ERR_INIT;

	if (vm)
		answer(r, vm, vm_start(vm, &e), &e);
}

void handle_vm_restart(struct request *r)
{
	struct vm *vm = request_vm(r);
	struct err e = ERR_INIT;

	if (vm)
		answer(r, vm, vm_restart(vm, &e), &e);
}

void handle_vm_stop(struct request *r)
{
	struct vm *vm = request_vm(r);
	uint64_t seconds = (uint64_t)json_integer_value(
		json_object_get(r->body, "timeout_seconds"));
	bool force = json_is_true(json_object_get(r->body, "force"));
	struct err e = ERR_INIT;
	char op_id[ID_LEN + 1];

	if (!vm || !request_match(r, vm))
		return;
	if (vm_stop(vm, seconds * 1000, force, op_id, &e) < 0)
		request_fail(r, &e);
	else
		request_operation(r, op_id);
}

void handle_vm_delete(struct request *r)
{
	struct vm *vm = request_vm(r);
	struct err e = ERR_INIT;
	char op_id[ID_LEN + 1];

	if (!vm || !request_match(r, vm))
		return;
	if (vm_delete(vm, request_query_bool(r, "force"), op_id, &e) < 0)
		request_fail(r, &e);
	else
		request_operation(r, op_id);
}
