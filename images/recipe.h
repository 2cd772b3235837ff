/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A recipe: a shell script that makes a kernel, an initramfs and perhaps a root
 * disk out of distribution packages; how it talks to us is told in
 * recipes/lib.sh. Its head declares what it is and which options it takes:
 *   # summary: TEXT
 *   # option: NAME TEXT
 */
#ifndef IMAGES_RECIPE_H
#define IMAGES_RECIPE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "images/publish.h"

enum {
	RECIPE_OPTIONS_MAX = 16,
	RECIPE_OPTION_NAME_MAX = 23,
	RECIPE_OPTION_VALUE_MAX = 255
};

struct recipe {
	char name[32];
	char *dir; /* where it and lib.sh are */
	char *path;
	char summary[120];
	struct {
		char name[RECIPE_OPTION_NAME_MAX + 1];
		char text[120];
	} options[RECIPE_OPTIONS_MAX];
	size_t option_count;
};

/* ERR_NOT_FOUND code recipe_not_found, with the names there are. */
int recipe_open(const char *name, struct recipe *ret, struct err *e);
void recipe_done(struct recipe *r);

static inline void auto_recipe(struct recipe *r)
{
	recipe_done(r);
}

/* option is "name=value": declared by the recipe, and plain printable text. */
int recipe_check_option(const struct recipe *r, const char *option,
			struct err *e);

struct recipe_run {
	const struct recipe *recipe;
	const char *const *options; /* checked */
	size_t option_count;
	const char *staging_path;
	bool no_jail; /* on a host that allows no namespaces: as we are */
	struct publish *publish; /* out: files */
	struct image *img; /* out: texts */
};

/*
 * Runs it in the staging directory until it ends. On SIGTERM, SIGINT or SIGHUP
 * it is killed with all its children: ERR_CANCELLED code operation_cancelled.
 */
int recipe_run(const struct recipe_run *run, struct err *e);

#endif
