/* SPDX-License-Identifier: Apache-2.0 */
/* Errors in the words of the command line: options, not fields; near names. */
#include "vmctl/hint.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/validate.h"
#include "base/cleanup.h"
#include "base/json.h"
#include "base/parse.h"
#include "vmctl/list.h"

enum {
	NAMES_MAX = 1000
};

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

void hint_options(struct err *e)
{
	char rest[sizeof(e->msg)];
	const char *from;

	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
		size_t len = strlen(options[i].field);

		from = e->msg + len;
		if (strncmp(e->msg, options[i].field, len) != 0 ||
		    !strchr(" :[.", *from) || !*from)
			continue;
		/* Keys of labels and variables stay; indices and inner fields of
		 * the JSON say nothing to who typed an option. */
		if (strncmp(options[i].field, "network", 7) == 0 ||
		    *from == '[')
			from += strcspn(from, ": ");
		(void)snprintf(rest, sizeof(rest), "%s%s%s", options[i].option,
			       *from == '.' ? " " : "",
			       *from == '.' ? from + 1 : from);
		(void)snprintf(e->msg, sizeof(e->msg), "%s", rest);
		return;
	}
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

static const char *collection_of(const struct err *e)
{
	if (strcmp(e->code, "vm_not_found") == 0)
		return "/v1/vms?limit=1000";
	if (strcmp(e->code, "image_not_found") == 0)
		return "/v1/images";
	return NULL;
}

void hint_near_name(const struct ctx *ctx, struct err *e)
{
	const char *collection = collection_of(e);
	const char *open = strchr(e->msg, '\''), *close, *near;
	const char *names[NAMES_MAX + 1] = { NULL };
	AUTO(json) json_t *list = NULL;
	char word[64], text[128];
	struct err ignored = ERR_INIT;
	size_t n = 0;

	close = open ? strchr(open + 1, '\'') : NULL;
	if (!collection || !close || !ctx->client ||
	    (size_t)(close - open) > sizeof(word))
		return;
	(void)snprintf(word, sizeof(word), "%.*s", (int)(close - open - 1),
		       open + 1);
	if (list_fetch(ctx, collection, &list, &ignored) < 0)
		return;
	for (size_t i = 0; i < json_array_size(list) && n < NAMES_MAX; i++)
		names[n++] = text_of(json_array_get(list, i), "name");
	/* One slip makes any name of two letters near. */
	near = strlen(word) > 2 ? suggest(word, names) : NULL;
	if (!near)
		return;
	(void)snprintf(text, sizeof(text), "; did you mean '%.63s'?", near);
	err_append(e, text);
}
