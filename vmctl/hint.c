/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Errors in the words of the command line: options, not fields; near names. What
 * an error is about stands in it as data; its text is not read.
 */
#include "vmctl/hint.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/validate.h"
#include "base/checked.h"
#include "base/parse.h"
#include "vmctl/ctx.h"

#define MIB (1u << 20)

static const struct {
	const char *field, *option;
} options[] = {
	{ "name", "--name" },
	{ "engine", "--engine" },
	{ "kernel_args", "--kernel-args" },
	{ "network.mode", "--net" },
	{ "network.ports", "--publish" },
	{ "labels", "--label" },
	{ "label", "--label" },
	{ "state", "--state" },
	{ "env", "--env" },
	{ "cwd", "--workdir" },
	{ "user", "--user" },
	{ "vcpus", "--cpus" },
	{ "memory_bytes", "--memory" },
	{ "disk_bytes", "--disk" },
	{ "ttl_seconds", "--ttl" },
	{ "ready_timeout_seconds", "--timeout" },
	{ "timeout_seconds", "--timeout" },
	{ "tail_bytes", "--tail" },
};

/* The option for a field: the field itself or what lies in it. NULL: none. */
static const char *option_of(const char *field, size_t *ret_len)
{
	for (size_t i = 0; i < ARRAY_LEN(options); i++) {
		size_t len = strlen(options[i].field);

		if (strncmp(field, options[i].field, len) == 0 &&
		    strchr(".[", field[len])) {
			*ret_len = len;
			return options[i].option;
		}
	}
	return NULL;
}

/* A message about a field begins with it. */
static void name_option(struct err *e)
{
	char rest[sizeof(e->msg)];
	size_t field = strlen(e->field), known;
	const char *option = option_of(e->field, &known), *key;

	if (!option || !field || strncmp(e->msg, e->field, field) != 0)
		return;
	/* Keys of labels and variables stay; indices and inner fields of the
	 * JSON say nothing to who typed an option. */
	key = e->field[known] == '.' && strncmp(e->field, "network", 7) != 0
		      ? e->field + known + 1
		      : "";
	(void)snprintf(rest, sizeof(rest), "%s%s%s%s", option, *key ? " " : "",
		       key, e->msg + field);
	(void)snprintf(e->msg, sizeof(e->msg), "%s", rest);
}

/* What could be had instead, as it would be typed. */
static void say_available(struct err *e)
{
	size_t known;
	const char *option = option_of(e->field, &known);
	char text[96];

	if (!option || !e->amounts || e->available == ERR_UNKNOWN ||
	    e->available < MIB || e->kind != ERR_LIMIT)
		return;
	(void)snprintf(text, sizeof(text), "; try %s %lluM", option,
		       (unsigned long long)(e->available / MIB));
	err_append(e, text);
}

void hint_add(struct err *e)
{
	char text[128];

	name_option(e);
	say_available(e);
	if (!e->suggestion[0])
		return;
	(void)snprintf(text, sizeof(text), "; did you mean '%s'?",
		       e->suggestion);
	err_append(e, text);
}

int hint_bounds(const struct api_object *object, const char *field,
		const char *option, uint64_t value, bool size, struct err *e)
{
	char have[32], bound[32];

	for (const struct api_field *f = object->fields; f->name; f++) {
		bool low = value < f->min;

		if (strcmp(f->name, field) != 0)
			continue;
		if (!low && (f->max == 0 || value <= f->max))
			return 0;
		if (size) {
			(void)format_size(value, have);
			(void)format_size(low ? f->min : f->max, bound);
		} else {
			(void)snprintf(have, sizeof(have), "%llu s",
				       (unsigned long long)value);
			(void)snprintf(bound, sizeof(bound), "%llu s",
				       (unsigned long long)(low ? f->min
								: f->max));
		}
		return usage_error(
			e, "--%s: %s is %s than %s%s", option, have,
			low ? "less" : "more", bound,
			size && low && value > 0 && value < 65536
				? "; a number without a unit is bytes, 512M "
				  "are mebibytes"
				: "");
	}
	return 0;
}
