/* SPDX-License-Identifier: Apache-2.0 */
/* The VM as clients see it. */
#include <string.h>

#include "api/problem.h"
#include "base/json.h"
#include "vmd/vm/vm.h"

static json_t *member(const struct vm *vm, const char *name)
{
	json_t *value = json_object_get(vm_spec(vm), name);

	return value ? json_incref(value) : json_null();
}

static json_t *pids(const struct vm *vm)
{
	json_t *list = json_array();

	for (size_t i = 0; list && i < vm->process_count; i++)
		(void)json_array_append_new(list,
					    json_integer(vm->processes[i].pid));
	return list;
}

static json_t *exit_or_null(const struct vm_row *r)
{
	if (!r->has_exit)
		return json_null();
	return json_pack("{s:i, s:i}", "status", r->exit_status, "signal",
			 r->exit_signal);
}

static json_t *agent_or_null(const struct vm *vm)
{
	if (!vm->row.agent_release[0] || vm->row.state != API_VM_READY)
		return json_null();
	return json_pack("{s:s, s:s}", "release", vm->row.agent_release,
			 "version", vm->row.agent_version);
}

json_t *vm_to_json(const struct vm *vm)
{
	const struct vm_row *r = &vm->row;
	json_t *j = json_object();

	if (!j)
		return NULL;
#define PUT(name, value) (void)json_object_set_new(j, name, value)
	PUT("id", json_string(r->id));
	PUT("name", json_string(r->name));
	PUT("image", json_string(r->image));
	PUT("image_id", json_string(r->image_id));
	PUT("state", json_string(api_vm_state_name(r->state)));
	PUT("reason", json_text_or_null(r->reason));
	PUT("engine", json_string(r->engine[0] ? r->engine : "auto"));
	PUT("engine_reason", json_text_or_null(r->engine_reason));
	PUT("emulated", json_boolean(r->emulated));
	PUT("vcpus", member(vm, "vcpus"));
	PUT("memory_bytes", json_integer((json_int_t)r->memory_bytes));
	PUT("disk_bytes", r->disk_bytes
				  ? json_integer((json_int_t)r->disk_bytes)
				  : json_null());
	PUT("labels", member(vm, "labels"));
	PUT("ephemeral", json_boolean(r->ephemeral));
	PUT("ttl_seconds", member(vm, "ttl_seconds"));
	PUT("expires_at", json_time_or_null(r->expires_ms));
	PUT("network", member(vm, "network"));
	PUT("command", member(vm, "command"));
	PUT("exit", exit_or_null(r));
	PUT("created_at", json_time_or_null(r->created_ms));
	PUT("started_at", json_time_or_null(r->started_ms));
	PUT("ready_at", json_time_or_null(r->ready_ms));
	PUT("agent", agent_or_null(vm));
	PUT("pids", pids(vm));
	PUT("error", r->error.kind == ERR_NONE
			     ? json_null()
			     : api_problem_new(&r->error, NULL));
	PUT("revision", json_integer((json_int_t)r->revision));
#undef PUT
	return j;
}

bool vm_label_matches(const struct vm *vm, const char *key, const char *value)
{
	const char *have = json_string_value(
		json_object_get(json_object_get(vm_spec(vm), "labels"), key));

	return have && strcmp(have, value) == 0;
}
