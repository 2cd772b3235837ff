/* SPDX-License-Identifier: Apache-2.0 */
/* start, stop, restart, delete: each answers with its operation. */
#include <string.h>

#include "vmd/routes/handlers.h"

/* The VM of the path if it is the one the client knows (If-Match). */
static struct vm *matching_vm(struct request *r)
{
	struct vm *vm = request_vm(r);

	return vm && request_match(r, vm) ? vm : NULL;
}

static void answer(struct request *r, int rc, const char *op_id,
		   const struct err *e)
{
	if (rc < 0)
		request_fail(r, e);
	else
		request_operation(r, op_id);
}

static uint64_t timeout_ms(const struct request *r)
{
	return UINT64_C(1000) * (uint64_t)json_integer_value(json_object_get(
					r->body, "timeout_seconds"));
}

static bool by_force(const struct request *r)
{
	return json_is_true(json_object_get(r->body, "force"));
}

void handle_vm_start(struct request *r)
{
	struct vm *vm = matching_vm(r);
	struct err e = ERR_INIT;
	char op_id[ID_LEN + 1];

	if (vm)
		answer(r, vm_start(vm, op_id, &e), op_id, &e);
}

void handle_vm_restart(struct request *r)
{
	struct vm *vm = matching_vm(r);
	struct err e = ERR_INIT;
	char op_id[ID_LEN + 1];

	if (vm)
		answer(r, vm_restart(vm, timeout_ms(r), by_force(r), op_id, &e),
		       op_id, &e);
}

void handle_vm_stop(struct request *r)
{
	struct vm *vm = matching_vm(r);
	struct err e = ERR_INIT;
	char op_id[ID_LEN + 1];

	if (vm)
		answer(r, vm_stop(vm, timeout_ms(r), by_force(r), op_id, &e),
		       op_id, &e);
}

void handle_vm_delete(struct request *r)
{
	struct vm *vm = matching_vm(r);
	struct err e = ERR_INIT;
	char op_id[ID_LEN + 1];

	if (vm)
		answer(r,
		       vm_delete(vm, request_query_bool(r, "force"), op_id, &e),
		       op_id, &e);
}
