/* SPDX-License-Identifier: Apache-2.0 */
/* vmctl image ls, inspect, rm. */
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/parse.h"
#include "vmctl/list.h"

static void cells(const json_t *image, char (*out)[CELL_MAX])
{
	char size[24], age[24];

	(void)snprintf(out[0], CELL_MAX, "%.63s", text_of(image, "name"));
	(void)snprintf(out[1], CELL_MAX, "%.12s", text_of(image, "id"));
	(void)snprintf(out[2], CELL_MAX, "%.16s", text_of(image, "recipe"));
	(void)snprintf(out[3], CELL_MAX, "%.40s",
		       text_of(image, "kernel_release"));
	(void)snprintf(out[4], CELL_MAX, "%s",
		       format_size(number_of(image, "size_bytes"), size));
	(void)snprintf(out[5], CELL_MAX, "%zu",
		       json_array_size(json_object_get(image, "used_by")));
	(void)snprintf(out[6], CELL_MAX, "%s",
		       format_age(text_of(image, "created_at"), clock_wall_ms(),
				  age));
}

int cmd_image_ls(struct ctx *ctx, const struct args *args)
{
	static const char *const headings[] = { "NAME",	  "ID",	  "RECIPE",
						"KERNEL", "SIZE", "VMS",
						"AGE" };
	const struct list_spec spec = { .path = "/v1/images",
					.name = "name",
					.headings = headings,
					.columns = 7,
					.cells = cells };

	(void)args;
	return list_print(ctx, &spec);
}

int cmd_image_inspect(struct ctx *ctx, const struct args *args)
{
	return inspect_each(ctx, args, "images");
}

static int remove_one(struct ctx *ctx, const struct args *args,
		      const char *name, struct err *e)
{
	AUTO(free) char *path = ctx_path("images", name, "", e);
	int rc;

	(void)args;
	if (!path)
		return -1;
	rc = api_client_call(ctx->client, "DELETE", path, NULL, NULL, NULL, e);
	if (rc == 0)
		(void)puts(name);
	return rc;
}

int cmd_image_rm(struct ctx *ctx, const struct args *args)
{
	return for_each_operand(ctx, args, remove_one);
}
