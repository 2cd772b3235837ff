/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of resources as table, JSON or names; all pages of them. */
#ifndef VMCTL_LIST_H
#define VMCTL_LIST_H

#include <jansson.h>

#include "vmctl/ctx.h"
#include "vmctl/text.h"

enum {
	CELL_MAX = 80
};

struct list_spec {
	const char *path; /* with its query or without */
	const char *name; /* field that -o name prints */
	const char *const *headings;
	size_t columns;
	/* The cells of one item. */
	void (*cells)(const json_t *item, char (*cells)[CELL_MAX]);
};

/* Fetches all pages. *ret is an array. */
int list_fetch(const struct ctx *ctx, const char *path, json_t **ret,
	       struct err *e);
/* Exit status. */
int list_print(struct ctx *ctx, const struct list_spec *spec);

/* inspect: the object of each operand as JSON. */
int inspect_each(struct ctx *ctx, const struct args *args,
		 const char *collection);

#endif
