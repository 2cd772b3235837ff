/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of resources. */
#include "vmctl/list.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"

/* A daemon that never ends its list must not fill our memory. */
enum {
	PAGES_MAX = 1000
};

int list_fetch(const struct ctx *ctx, const char *path, json_t **ret,
	       struct err *e)
{
	AUTO(json) json_t *all = json_array();
	AUTO(free) char *cursor = NULL;

	for (int page = 0; page < PAGES_MAX; page++) {
		AUTO(json) json_t *answer = NULL;
		AUTO(free) char *url = NULL;
		const char *next;
		int rc;

		if (asprintf(&url, "%s%s%s%s", path,
			     !cursor		 ? ""
			     : strchr(path, '?') ? "&"
						 : "?",
			     cursor ? "cursor=" : "",
			     cursor ? cursor : "") < 0) {
			url = NULL;
			return err_sys(e, ENOMEM, "request");
		}
		rc = ctx_get(ctx, url, &answer, e);
		if (rc < 0)
			return rc;
		if (json_array_extend(all, json_object_get(answer, "items")) <
		    0)
			return err_set(e, ERR_PROTOCOL, "bad_answer", 0,
				       "the daemon's list has no items");
		next = text_of(answer, "next_cursor");
		free(cursor);
		cursor = *next ? api_percent_encode(next) : NULL;
		if (!cursor)
			break;
	}
	*ret = take_ptr(all);
	return 0;
}

static int print_rows(const struct list_spec *spec, const json_t *items)
{
	size_t rows = json_array_size(items) + 1, n = spec->columns;
	AUTO(free) char *space = calloc(rows * n, CELL_MAX);
	char(*cells)[CELL_MAX] = (char(*)[CELL_MAX])space;
	AUTO(free) const char **table = calloc(rows * n, sizeof(*table));

	if (!space || !table)
		return EXIT_ERROR;
	for (size_t i = 0; i < n; i++)
		table[i] = spec->headings[i];
	for (size_t r = 1; r < rows; r++) {
		spec->cells(json_array_get(items, r - 1), cells + r * n);
		for (size_t i = 0; i < n; i++)
			table[r * n + i] =
				cells[r * n + i][0] ? cells[r * n + i] : "-";
	}
	print_table(stdout, table, rows, n);
	return EXIT_OK;
}

int list_print(struct ctx *ctx, const struct list_spec *spec)
{
	struct err e = ERR_INIT;
	AUTO(json) json_t *items = NULL;

	if (list_fetch(ctx, spec->path, &items, &e) < 0)
		return ctx_fail(ctx, &e);
	if (ctx->output == OUTPUT_JSON)
		return print_json(items);
	if (ctx->output == OUTPUT_TABLE)
		return print_rows(spec, items);
	for (size_t i = 0; i < json_array_size(items); i++) {
		print_safe(stdout,
			   text_of(json_array_get(items, i), spec->name), 0);
		(void)putchar('\n');
	}
	return EXIT_OK;
}

int inspect_each(struct ctx *ctx, const struct args *args,
		 const char *collection)
{
	int status = EXIT_OK;

	for (size_t i = 0; i < args->operand_count; i++) {
		struct err e = ERR_INIT;
		AUTO(free)
		char *path = ctx_path(collection, args->operands[i], "", &e);
		AUTO(json) json_t *object = NULL;

		if (!path || ctx_get(ctx, path, &object, &e) < 0) {
			image_hint(&e);
			status = ctx_fail(ctx, &e);
		} else if (ctx->output == OUTPUT_NAME) {
			const char *name = text_of(object, "name");

			(void)puts(*name ? name : text_of(object, "id"));
		} else {
			(void)print_json(object);
		}
	}
	return status;
}
