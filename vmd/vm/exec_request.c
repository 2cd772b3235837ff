/* SPDX-License-Identifier: Apache-2.0 */
#include "vmd/vm/exec_request.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* What the strings of a command need, on the wire and in Linux. */
struct need {
	size_t count, text, longest;
};

static void need_add(struct need *n, size_t len)
{
	n->count++;
	n->text += len;
	if (len > n->longest)
		n->longest = len;
}

static struct need need_of(const json_t *json)
{
	json_t *env = json_object_get(json, "env"), *value;
	const char *name;
	struct need n = { 0 };
	size_t i;

	json_array_foreach(json_object_get(json, "command"), i, value) {
		need_add(&n, json_string_length(value));
	}
	json_object_foreach(env, name, value) {
		need_add(&n, strlen(name) + 1 + json_string_length(value));
	}
	return n;
}

int exec_request_check(const json_t *json, struct err *e)
{
	struct need n = need_of(json);
	size_t total = n.text + WIRE_ARG_COST * n.count;

	if (n.longest > WIRE_ARG_BYTES_MAX)
		return err_set(e, ERR_INVALID, "argument_list_too_long", E2BIG,
			       "an argument or variable (with its name) has "
			       "%zu bytes; Linux takes at most %d in one: pass "
			       "it on standard input or in a file",
			       n.longest, WIRE_ARG_BYTES_MAX);
	if (total > WIRE_ARGS_BYTES_MAX)
		return err_set(e, ERR_INVALID, "argument_list_too_long", E2BIG,
			       "command and environment have %zu bytes "
			       "together (%d beside each string's text); Linux "
			       "takes at most %d: pass data on standard input "
			       "or in a file",
			       total, WIRE_ARG_COST, WIRE_ARGS_BYTES_MAX);
	return 0;
}

static void write_argument(struct wire_cursor *c, struct wire_list *list,
			   struct wire_str s)
{
	wire_write_str(c, s);
	list->count++;
	list->len = (size_t)(c->at - list->at);
}

static struct wire_list write_command(struct wire_cursor *c, const json_t *json,
				      const char *fallback)
{
	struct wire_list list = { .at = c->at };
	json_t *arg;
	size_t i;

	json_array_foreach(json_object_get(json, "command"), i, arg) {
		write_argument(c, &list, wire_str(json_string_value(arg)));
	}
	if (list.count == 0)
		write_argument(c, &list, wire_str(fallback));
	return list;
}

static struct wire_list write_env(struct wire_cursor *c, const json_t *json)
{
	json_t *env = json_object_get(json, "env"), *value;
	struct wire_list list = { .at = c->at };
	const char *name;

	json_object_foreach(env, name, value) {
		size_t name_len = strlen(name);
		size_t value_len = json_string_length(value);

		wire_write_u32(c, (uint32_t)(name_len + 1 + value_len));
		wire_write_bytes(c, name, name_len);
		wire_write_bytes(c, "=", 1);
		wire_write_bytes(c, json_string_value(value), value_len);
		list.count++;
		list.len = (size_t)(c->at - list.at);
	}
	return list;
}

int exec_request_build(const json_t *json, const char *fallback,
		       struct exec_request *ret, struct err *e)
{
	struct need n = need_of(json);
	size_t room = n.text + 4 * n.count + 4 + strlen(fallback);
	struct wire_cursor c;

	*ret = (struct exec_request){ .items = NULL };
	if (exec_request_check(json, e) < 0)
		return -E2BIG;
	ret->items = malloc(room);
	if (!ret->items)
		return err_sys(e, ENOMEM, "preparing a command");
	c = wire_writer(ret->items, room);
	ret->wire = (struct wire_exec){
		.rows = (uint16_t)json_integer_value(
			json_object_get(json, "rows")),
		.columns = (uint16_t)json_integer_value(
			json_object_get(json, "columns")),
		.cwd = wire_str(
			json_string_value(json_object_get(json, "cwd"))),
		.user = wire_str(
			json_string_value(json_object_get(json, "user"))),
		.argv = write_command(&c, json, fallback),
	};
	ret->wire.envp = write_env(&c, json);
	if (json_is_true(json_object_get(json, "tty")))
		ret->wire.flags |= WIRE_EXEC_TTY;
	if (json_is_true(json_object_get(json, "stdin")))
		ret->wire.flags |= WIRE_EXEC_STDIN;
	return 0;
}

void exec_request_done(struct exec_request *r)
{
	free(r->items);
	r->items = NULL;
}
