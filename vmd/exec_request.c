/* SPDX-License-Identifier: Apache-2.0 */
#include "vmd/exec_request.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int fill_env(json_t *env, struct exec_request *r, struct err *e)
{
	const char *name;
	json_t *value;
	size_t need = 0, at = 0;

	json_object_foreach(env, name, value) need +=
		strlen(name) + json_string_length(value) + 2;
	r->env = malloc(need ? need : 1);
	if (!r->env)
		return err_sys(e, ENOMEM, "preparing a command");
	json_object_foreach(env, name, value)
	{
		size_t name_len = strlen(name);
		size_t value_len = json_string_length(value);
		char *entry = r->env + at;

		if (r->wire.envc == WIRE_ENVS_MAX)
			return err_set(e, ERR_INVALID, "too_many_variables", 0,
				       "env has more than %d variables",
				       WIRE_ENVS_MAX);
		/* Counted, on the wire. NOLINTNEXTLINE(bugprone-not-null*) */
		memcpy(entry, name, name_len);
		entry[name_len] = '=';
		memcpy(entry + name_len + 1, json_string_value(value),
		       value_len);
		at += name_len + value_len + 1;
		r->wire.envp[r->wire.envc++] = (struct wire_str){
			entry, (uint32_t)(name_len + value_len + 1)
		};
	}
	return 0;
}

int exec_request_build(const json_t *json, const char *fallback,
		       struct exec_request *ret, struct err *e)
{
	json_t *argv = json_object_get(json, "command"), *arg;
	size_t i;

	ret->wire.flags = 0;
	ret->wire.tag = 0;
	ret->wire.argc = 0;
	ret->wire.envc = 0;
	ret->env = NULL;
	ret->wire.rows =
		(uint16_t)json_integer_value(json_object_get(json, "rows"));
	ret->wire.columns =
		(uint16_t)json_integer_value(json_object_get(json, "columns"));
	ret->wire.cwd =
		wire_str(json_string_value(json_object_get(json, "cwd")));
	ret->wire.user =
		wire_str(json_string_value(json_object_get(json, "user")));
	if (json_is_true(json_object_get(json, "tty")))
		ret->wire.flags |= WIRE_EXEC_TTY;
	if (json_is_true(json_object_get(json, "stdin")))
		ret->wire.flags |= WIRE_EXEC_STDIN;
	json_array_foreach(argv, i, arg)
	{
		if (ret->wire.argc == WIRE_ARGS_MAX)
			return err_set(e, ERR_INVALID, "too_many_arguments", 0,
				       "command has more than %d arguments",
				       WIRE_ARGS_MAX);
		ret->wire.argv[ret->wire.argc++] =
			wire_str(json_string_value(arg));
	}
	if (ret->wire.argc == 0)
		ret->wire.argv[ret->wire.argc++] = wire_str(fallback);
	return fill_env(json_object_get(json, "env"), ret, e);
}

void exec_request_done(struct exec_request *r)
{
	free(r->env);
	r->env = NULL;
}
