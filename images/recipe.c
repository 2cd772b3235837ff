/* SPDX-License-Identifier: Apache-2.0 */
/* See recipe.h. */
#include "images/recipe.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/parse.h"
#include "base/text.h"

enum {
	RECIPE_BYTES_MAX = 256 * 1024
};

static bool has_library(const char *dir)
{
	AUTO(free) char *path = NULL;

	if (asprintf(&path, "%s/lib.sh", dir) < 0) {
		path = NULL;
		return false;
	}
	return access(path, R_OK) == 0;
}

/* VMD_RECIPES, where an installation has them, or beside us (build tree). */
static char *find_dir(void)
{
	static const char *const near[] = { "../../share/vmd/recipes",
					    "../share/vmd/recipes", "." };
	const char *given = getenv("VMD_RECIPES");
	char exe[4096];
	ssize_t n;
	char *slash;

	if (given)
		return has_library(given) ? realpath(given, NULL) : NULL;
	n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	if (n <= 0)
		return NULL;
	exe[n] = '\0';
	slash = strrchr(exe, '/');
	if (!slash)
		return NULL;
	*slash = '\0';
	for (size_t i = 0; i < sizeof(near) / sizeof(near[0]); i++) {
		AUTO(free) char *dir = NULL;

		if (asprintf(&dir, "%s/%s", exe, near[i]) < 0) {
			dir = NULL;
			return NULL;
		}
		if (has_library(dir))
			return realpath(dir, NULL);
	}
	return NULL;
}

static char *read_recipe(const char *path, struct err *e)
{
	char *text = NULL;
	size_t len = 0;

	if (file_read(AT_FDCWD, path, RECIPE_BYTES_MAX, &text, &len, e) < 0)
		return NULL;
	return text;
}

/* The names of the recipes in dir: "debian, tiny"; as many as fit the limit. */
static void list_names(const char *dir, struct buf *names)
{
	struct dirent **entries = NULL;
	int n = scandir(dir, &entries, NULL, alphasort);

	for (int i = 0; i < n; i++) {
		const char *name = entries[i]->d_name;
		AUTO(free) char *path = NULL;
		AUTO(free) char *text = NULL;

		if (parse_name_ok(name) && !strchr(name, '.') &&
		    asprintf(&path, "%s/%s", dir, name) > 0)
			text = read_recipe(path, NULL);
		if (text && strncmp(text, "#!/bin/sh", 9) == 0 &&
		    strstr(text, "\n# summary: "))
			(void)buf_printf(names, "%s%s",
					 buf_len(names) ? ", " : "", name);
		free(entries[i]);
	}
	free(entries);
}

static void copy_text(char *to, size_t size, const char *from, size_t len)
{
	(void)snprintf(to, size, "%.*s", (int)len, from);
}

static void parse_head(struct recipe *r, const char *text)
{
	static const char summary[] = "# summary: ", option[] = "# option: ";

	while (*text == '#') {
		size_t len = strcspn(text, "\n");

		if (strncmp(text, summary, sizeof(summary) - 1) == 0) {
			copy_text(r->summary, sizeof(r->summary),
				  text + sizeof(summary) - 1,
				  len - (sizeof(summary) - 1));
		} else if (strncmp(text, option, sizeof(option) - 1) == 0 &&
			   r->option_count < RECIPE_OPTIONS_MAX) {
			const char *name = text + sizeof(option) - 1;
			size_t n = strcspn(name, " \n");
			const char *rest = name + n + strspn(name + n, " ");

			copy_text(r->options[r->option_count].name,
				  sizeof(r->options[0].name), name, n);
			copy_text(r->options[r->option_count].text,
				  sizeof(r->options[0].text), rest,
				  (size_t)(text + len - rest));
			r->option_count++;
		}
		text += len;
		text += *text == '\n';
	}
}

static int unknown_recipe(const char *name, const char *dir, struct err *e)
{
	AUTO(buf) struct buf names = BUF_INIT(200);

	list_names(dir, &names);
	return err_set(e, ERR_NOT_FOUND, "recipe_not_found", ENOENT,
		       "there is no recipe '%.64s'; there are: %.*s", name,
		       (int)buf_len(&names),
		       names.data ? (const char *)buf_head(&names) : "");
}

int recipe_open(const char *name, struct recipe *ret, struct err *e)
{
	AUTO(recipe) struct recipe r = { .name = "" };
	AUTO(free) char *text = NULL;

	r.dir = find_dir();
	if (!r.dir)
		return err_set(e, ERR_UNAVAILABLE, "recipes_missing", 0,
			       "the image recipes were not found (lib.sh in "
			       "share/vmd/recipes); reinstall vmd, or set "
			       "VMD_RECIPES to their directory");
	if (!parse_name_ok(name) || strlen(name) >= sizeof(r.name) ||
	    strchr(name, '.'))
		return unknown_recipe(name, r.dir, e);
	(void)snprintf(r.name, sizeof(r.name), "%s", name);
	if (asprintf(&r.path, "%s/%s", r.dir, name) < 0) {
		r.path = NULL;
		return err_sys(e, ENOMEM, "recipe %s", name);
	}
	if (access(r.path, F_OK) < 0)
		return unknown_recipe(name, r.dir, e);
	text = read_recipe(r.path, e);
	if (!text)
		return err_wrap(e, -EIO, "recipe %s", name);
	parse_head(&r, text);
	/* A program that lies beside the recipes in the build tree is none. */
	if (strncmp(text, "#!/bin/sh", 9) != 0 || !r.summary[0])
		return unknown_recipe(name, r.dir, e);
	*ret = r;
	r.dir = r.path = NULL;
	return 0;
}

void recipe_done(struct recipe *r)
{
	free(r->dir);
	free(r->path);
	r->dir = r->path = NULL;
}

int recipe_check_option(const struct recipe *r, const char *option,
			struct err *e)
{
	size_t len = strcspn(option, "="), used = 0;
	char known[240] = "";

	if (!option[len])
		return err_set(e, ERR_INVALID, "option_invalid", 0,
			       "an option is given as NAME=VALUE, not '%.64s'",
			       option);
	for (const char *p = option + len + 1; *p; p++) {
		if (!text_printable(*p) ||
		    p - option - (ptrdiff_t)len > RECIPE_OPTION_VALUE_MAX)
			return err_set(e, ERR_INVALID, "option_invalid", 0,
				       "the value of option '%.*s' is longer "
				       "than %d bytes or not printable ASCII",
				       len < 64 ? (int)len : 64, option,
				       RECIPE_OPTION_VALUE_MAX);
	}
	for (size_t i = 0; i < r->option_count; i++) {
		const char *name = r->options[i].name;

		if (strlen(name) == len && strncmp(name, option, len) == 0)
			return 0;
		used += (size_t)snprintf(known + used, sizeof(known) - used,
					 "%s%s", used ? ", " : "", name);
		if (used >= sizeof(known))
			used = sizeof(known) - 1;
	}
	return err_set(e, ERR_INVALID, "option_unknown", 0,
		       "the recipe '%s' has no option '%.*s'; it has: %s",
		       r->name, len < 64 ? (int)len : 64, option, known);
}
