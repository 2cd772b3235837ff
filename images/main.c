/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmd-image: the slow work on images (building, cloning, checking), apart from
 * vmd so that it can be killed at any moment. Talks as report.h says; for a
 * person the output of the tools is on standard error.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/parse.h"
#include "base/process.h"
#include "images/build.h"
#include "images/clone.h"
#include "images/discard.h"
#include "images/recipe.h"
#include "images/recipe_jail.h"
#include "images/report.h"
#include "images/store_internal.h"
#include "images/verify.h"

enum option_id {
	OPT_STORE = 256,
	OPT_STAGING,
	OPT_RECIPE,
	OPT_NAME,
	OPT_OPTION,
	OPT_REPLACE,
	OPT_FROM,
	OPT_TO,
	OPT_SIZE,
	OPT_IMAGE,
	OPT_VOLATILE,
	OPT_DIR,
	OPT_MARK,
	OPT_GROUP,
	OPT_NO_JAIL
};

enum {
	DIRS_MAX = 4
};

struct arguments {
	struct build_request build;
	const char *option_list[RECIPE_OPTIONS_MAX + 1];
	const char *from, *to, *size, *image, *mark, *group;
	const char *dirs[DIRS_MAX];
	size_t dir_count;
	bool is_volatile;
};

static const char usage[] =
	"usage: vmd-image build --store DIR --staging ID --recipe NAME\n"
	"                       --name NAME [--option KEY=VALUE]... "
	"[--replace]\n"
	"                       [--no-jail]\n"
	"       vmd-image clone --from BLOB --to PATH [--size BYTES] "
	"[--volatile]\n"
	"       vmd-image verify --store DIR [--image NAME|ID]\n"
	"       vmd-image sweep --store DIR\n"
	"       vmd-image discard --dir DIR...\n"
	"       vmd-image reap --mark TEXT [--group PID]\n"
	"       vmd-image describe --recipe NAME\n";

static int bad_usage(struct err *e, const char *what)
{
	return err_set(e, ERR_INVALID, "usage", 0, "%s\n%s", what, usage);
}

static int run_build(const struct arguments *a, json_t **ret, struct err *e)
{
	struct image img;
	int rc;

	if (!a->build.store_dir || !a->build.staging_id || !a->build.recipe ||
	    !a->build.name)
		return bad_usage(e, "build needs --store, --staging, --recipe "
				    "and --name");
	rc = image_build(&a->build, &img, e);
	if (rc < 0)
		return rc;
	*ret = image_to_json(&img);
	if (*ret)
		(void)json_object_set_new(*ret, "id", json_string(img.id));
	return 0;
}

static int run_clone(const struct arguments *a, json_t **ret, struct err *e)
{
	struct clone_result result = { .size_bytes = 0 };
	uint64_t size = 0;
	int rc = 0;

	if (!a->from || !a->to)
		return bad_usage(e, "clone needs --from and --to");
	if (a->size)
		rc = parse_size(a->size, "--size", &size, e);
	if (!rc)
		rc = image_clone(a->from, a->to, size, !a->is_volatile, &result,
				 e);
	if (rc < 0)
		return rc;
	*ret = json_pack("{s:I, s:b, s:b}", "size_bytes",
			 (json_int_t)result.size_bytes, "reflink",
			 result.reflink, "grown", result.grown);
	return 0;
}

static int run_verify(const struct arguments *a, json_t **ret, struct err *e)
{
	struct verify_result result = { .images = 0 };
	int rc;

	if (!a->build.store_dir)
		return bad_usage(e, "verify needs --store");
	rc = image_verify(a->build.store_dir, a->image, &result, e);
	if (rc < 0)
		return rc;
	*ret = json_pack("{s:I, s:I, s:I}", "images", (json_int_t)result.images,
			 "blobs", (json_int_t)result.blobs, "bytes",
			 (json_int_t)result.bytes);
	return 0;
}

static int run_sweep(const struct arguments *a, json_t **ret, struct err *e)
{
	struct image_store *s;
	int n;

	if (!a->build.store_dir)
		return bad_usage(e, "sweep needs --store");
	s = image_store_open(a->build.store_dir, e);
	if (!s)
		return -1;
	n = image_store_sweep(s, e);
	image_store_free(s);
	if (n < 0)
		return n;
	*ret = json_pack("{s:i}", "removed", n);
	return 0;
}

static int run_discard(const struct arguments *a, json_t **ret, struct err *e)
{
	int rc = 0, emptied = 0;

	if (!a->dir_count)
		return bad_usage(e, "discard needs --dir");
	/* The others also when one fails. */
	for (size_t i = 0; i < a->dir_count; i++) {
		int one = discard_trash(a->dirs[i], e);

		if (one < 0)
			rc = one;
		else
			emptied += one;
	}
	*ret = json_pack("{s:i}", "emptied", emptied);
	return rc;
}

static int run_reap(const struct arguments *a, json_t **ret, struct err *e)
{
	uint64_t group = 0;
	int rc = 0;

	if (!a->mark || !a->mark[0])
		return bad_usage(e, "reap needs --mark");
	if (a->group)
		rc = parse_u64(a->group, 2, INT32_MAX, "--group", &group, e);
	if (rc == 0)
		*ret = json_pack("{s:i}", "ended",
				 (int)process_end_marked(a->mark,
							 (pid_t)group));
	return rc;
}

static int run_describe(const struct arguments *a, json_t **ret, struct err *e)
{
	AUTO(recipe) struct recipe r = { .name = "" };
	json_t *options = json_object();
	int rc;

	if (!a->build.recipe) {
		json_decref(options);
		return bad_usage(e, "describe needs --recipe");
	}
	rc = recipe_open(a->build.recipe, &r, e);
	for (size_t i = 0; !rc && i < r.option_count; i++)
		(void)json_object_set_new(options, r.options[i].name,
					  json_string(r.options[i].text));
	if (rc < 0) {
		json_decref(options);
		return rc;
	}
	*ret = json_pack("{s:s, s:s, s:o}", "recipe", r.name, "summary",
			 r.summary, "options", options);
	return 0;
}

struct command {
	const char *name;
	int (*run)(const struct arguments *a, json_t **ret, struct err *e);
};

static const struct command commands[] = {
	{ "build", run_build },	      { "clone", run_clone },
	{ "verify", run_verify },     { "sweep", run_sweep },
	{ "discard", run_discard },   { "reap", run_reap },
	{ "describe", run_describe },
};

static const struct option long_options[] = {
	{ "store", required_argument, NULL, OPT_STORE },
	{ "staging", required_argument, NULL, OPT_STAGING },
	{ "recipe", required_argument, NULL, OPT_RECIPE },
	{ "name", required_argument, NULL, OPT_NAME },
	{ "option", required_argument, NULL, OPT_OPTION },
	{ "replace", no_argument, NULL, OPT_REPLACE },
	{ "from", required_argument, NULL, OPT_FROM },
	{ "to", required_argument, NULL, OPT_TO },
	{ "size", required_argument, NULL, OPT_SIZE },
	{ "image", required_argument, NULL, OPT_IMAGE },
	{ "volatile", no_argument, NULL, OPT_VOLATILE },
	{ "dir", required_argument, NULL, OPT_DIR },
	{ "mark", required_argument, NULL, OPT_MARK },
	{ "group", required_argument, NULL, OPT_GROUP },
	{ "no-jail", no_argument, NULL, OPT_NO_JAIL },
	{ NULL, 0, NULL, 0 },
};

static int parse_arguments(int argc, char **argv, struct arguments *a,
			   struct err *e)
{
	struct build_request *b = &a->build;
	int opt;

	b->options = a->option_list;
	opterr = 0;
	while ((opt = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
		switch (opt) {
		case OPT_STORE:
			b->store_dir = optarg;
			break;
		case OPT_STAGING:
			b->staging_id = optarg;
			break;
		case OPT_RECIPE:
			b->recipe = optarg;
			break;
		case OPT_NAME:
			b->name = optarg;
			break;
		case OPT_OPTION:
			/* One too many is kept, so that it is refused later. */
			if (b->option_count <= RECIPE_OPTIONS_MAX)
				a->option_list[b->option_count++] = optarg;
			break;
		case OPT_REPLACE:
			b->replace = true;
			break;
		case OPT_FROM:
			a->from = optarg;
			break;
		case OPT_TO:
			a->to = optarg;
			break;
		case OPT_SIZE:
			a->size = optarg;
			break;
		case OPT_IMAGE:
			a->image = optarg;
			break;
		case OPT_NO_JAIL:
			b->no_jail = true;
			break;
		case OPT_VOLATILE:
			a->is_volatile = true;
			break;
		case OPT_DIR:
			if (a->dir_count == DIRS_MAX)
				return bad_usage(e, "too many --dir");
			a->dirs[a->dir_count++] = optarg;
			break;
		case OPT_MARK:
			a->mark = optarg;
			break;
		case OPT_GROUP:
			a->group = optarg;
			break;
		default:
			return bad_usage(e, "an option is unknown or lacks its "
					    "value");
		}
	}
	return optind < argc ? bad_usage(e, "there is an argument too many")
			     : 0;
}

int main(int argc, char **argv)
{
	const struct command *command = NULL;
	struct arguments a = { .from = NULL };
	struct err e = ERR_INIT;
	json_t *result = NULL;
	int rc;

	if (file_open_standard() < 0)
		return 1;
	if (argc == 2 && strcmp(argv[1], "--version") == 0) {
		(void)printf("vmd-image %s\n", VMD_VERSION);
		return 0;
	}
	if (argc == 2 && strcmp(argv[1], "--help") == 0) {
		(void)fputs(usage, stdout);
		return 0;
	}
	for (size_t i = 0;
	     argc > 1 && i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (strcmp(commands[i].name, argv[1]) == 0)
			command = &commands[i];
	}
	if (!command)
		rc = bad_usage(&e, "the first argument is a command");
	else
		rc = parse_arguments(argc - 1, argv + 1, &a, &e);
	if (!rc && command->run == run_build)
		recipe_jail_get_ids(argv);
	if (!rc)
		rc = command->run(&a, &result, &e);
	if (rc < 0) {
		report_error(&e);
		return 1;
	}
	report_result(result);
	return 0;
}
