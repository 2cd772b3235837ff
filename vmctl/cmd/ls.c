/* SPDX-License-Identifier: Apache-2.0 */
/* vmctl ls. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/parse.h"
#include "vmctl/list.h"

static void cells(const json_t *vm, char (*out)[CELL_MAX])
{
	char size[24], age[24];

	(void)snprintf(out[0], CELL_MAX, "%.63s", text_of(vm, "name"));
	(void)snprintf(out[1], CELL_MAX, "%.12s", text_of(vm, "id"));
	(void)snprintf(out[2], CELL_MAX, "%.63s", text_of(vm, "image"));
	(void)snprintf(out[3], CELL_MAX, "%.20s", text_of(vm, "state"));
	/* Nothing on this side is wrong with it: what it waits for. */
	if (strcmp(out[3], "paused") == 0)
		(void)snprintf(out[3], CELL_MAX, "paused: %.20s",
			       text_of(vm, "reason"));
	(void)snprintf(out[4], CELL_MAX, "%.20s%s", text_of(vm, "engine"),
		       json_is_true(json_object_get(vm, "emulated"))
			       ? " (emulated)"
			       : "");
	/* Its record is damaged: nobody knows. */
	if (json_is_null(json_object_get(vm, "vcpus")))
		(void)snprintf(out[5], CELL_MAX, "-");
	else
		(void)snprintf(out[5], CELL_MAX, "%" PRIu64,
			       number_of(vm, "vcpus"));
	(void)snprintf(out[6], CELL_MAX, "%s",
		       format_size(number_of(vm, "memory_bytes"), size));
	(void)snprintf(out[7], CELL_MAX, "%s",
		       format_age(text_of(vm, "created_at"), clock_wall_ms(),
				  age));
}

static int add_parameter(struct buf *path, const char *name, const char *value)
{
	AUTO(free) char *encoded = api_percent_encode(value);

	return encoded ? buf_printf(path, "&%s=%s", name, encoded) : -1;
}

int cmd_ls(struct ctx *ctx, const struct args *args)
{
	static const char *const headings[] = { "NAME",	  "ID",	    "IMAGE",
						"STATE",  "ENGINE", "CPUS",
						"MEMORY", "AGE" };
	AUTO(buf) struct buf path = BUF_INIT(65536);
	const char *state = args_value(args, "state"), *label;
	struct list_spec spec = { .name = "name",
				  .headings = headings,
				  .columns = 8,
				  .cells = cells };
	AUTO(free) char *text = NULL;
	struct err e = ERR_INIT;
	size_t cursor = 0;
	int rc = buf_printf(&path, "/v1/vms?limit=1000");

	if (state && rc == 0)
		rc = add_parameter(&path, "state", state);
	while (rc == 0 && (label = args_next(args, "label", &cursor)))
		rc = add_parameter(&path, "label", label);
	text = rc == 0 ? buf_to_string(&path) : NULL;
	if (!text) {
		(void)usage_error(&e, "the filters are too long");
		return ctx_fail(ctx, &e);
	}
	spec.path = text;
	if (args_has(args, "quiet")) {
		ctx->output = OUTPUT_NAME;
		spec.name = "id";
	}
	return list_print(ctx, &spec);
}
