/* SPDX-License-Identifier: Apache-2.0 */
/* vmctl operation ls, inspect, cancel, wait. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json.h"
#include "vmctl/list.h"

static void cells(const json_t *op, char (*out)[CELL_MAX])
{
	const json_t *resource = json_object_get(op, "resource");
	const json_t *progress = json_object_get(op, "progress");
	uint64_t done = number_of(progress, "done");
	uint64_t total = number_of(progress, "total");
	char age[24];

	(void)snprintf(out[0], CELL_MAX, "%.40s", text_of(op, "id"));
	(void)snprintf(out[1], CELL_MAX, "%.20s", text_of(op, "kind"));
	(void)snprintf(out[2], CELL_MAX, "%.20s", text_of(op, "state"));
	(void)snprintf(out[3], CELL_MAX, "%.8s %.40s",
		       text_of(resource, "kind"), text_of(resource, "id"));
	(void)snprintf(out[4], CELL_MAX, "%s",
		       format_age(text_of(op, "created_at"), clock_wall_ms(),
				  age));
	/* The last step of what has ended is no news. */
	if (strcmp(text_of(op, "state"), "running") != 0)
		(void)snprintf(out[5], CELL_MAX, "%.70s",
			       text_of(json_object_get(op, "error"), "detail"));
	else if (total > 0)
		(void)snprintf(out[5], CELL_MAX, "%.60s %u%%",
			       text_of(progress, "step"),
			       (unsigned)((double)done * 100 / (double)total));
	else
		(void)snprintf(out[5], CELL_MAX, "%.70s",
			       text_of(progress, "step"));
}

int cmd_operation_ls(struct ctx *ctx, const struct args *args)
{
	static const char *const headings[] = { "ID",	 "KIND",
						"STATE", "RESOURCE",
						"AGE",	 "STEP OR ERROR" };
	const struct list_spec spec = { .path = "/v1/operations?limit=1000",
					.name = "id",
					.headings = headings,
					.columns = 6,
					.cells = cells };

	(void)args;
	return list_print(ctx, &spec);
}

int cmd_operation_inspect(struct ctx *ctx, const struct args *args)
{
	return inspect_each(ctx, args, "operations");
}

static int cancel_one(struct ctx *ctx, const struct args *args, const char *id,
		      struct err *e)
{
	AUTO(free) char *path = ctx_path("operations", id, "", e);
	int rc;

	(void)args;
	if (!path)
		return -EINVAL;
	rc = api_client_call(ctx->client, "DELETE", path, NULL, NULL, NULL, e);
	if (rc == 0)
		rc = operation_follow(ctx, id, false, NULL, e);
	/* Cancelled is what was asked for; too late is told. */
	if (rc == 0)
		return err_set(e, ERR_CONFLICT, "operation_finished", 0,
			       "the operation %.40s had already succeeded", id);
	if (strcmp(e->code, "operation_cancelled") != 0 &&
	    e->kind != ERR_CANCELLED)
		return rc;
	(void)puts(id);
	return 0;
}

int cmd_operation_cancel(struct ctx *ctx, const struct args *args)
{
	return for_each_operand(ctx, args, cancel_one);
}

int cmd_operation_wait(struct ctx *ctx, const struct args *args)
{
	struct err e = ERR_INIT;
	AUTO(json) json_t *op = NULL;
	AUTO(free) char *path = NULL;
	uint64_t seconds = 0;
	char suffix[64];
	int rc = option_seconds(args, "timeout", &seconds, &e);

	if (rc == 0 && seconds > 0) {
		(void)snprintf(suffix, sizeof(suffix), "/wait?timeout=%" PRIu64,
			       seconds);
		path = ctx_path("operations", args->operands[0], suffix, &e);
		rc = path ? ctx_get(ctx, path, &op, &e) : -EINVAL;
	}
	json_decref(op);
	op = NULL;
	if (rc == 0)
		rc = operation_follow(ctx, args->operands[0], false, &op, &e);
	if (rc < 0)
		return ctx_fail(ctx, &e);
	if (ctx->output == OUTPUT_JSON)
		return print_json(op);
	return EXIT_OK;
}
