/* SPDX-License-Identifier: Apache-2.0 */
/* Builds of images: an operation with a child, vmd-image build. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "vmd/image/image.h"
#include "vmd/task.h"

enum {
	BUILD_OPTIONS_MAX = 32
};

static void forget_staging(struct daemon *d, const char *op_id)
{
	struct err e = ERR_INIT;

	if (store_journal_remove(d->store, op_id, JOURNAL_STAGING, NULL, &e) <
	    0)
		log_error("operation %s: %s", op_id, e.msg);
}

static void build_over(struct operation *op, const struct err *why)
{
	struct daemon *d = op->daemon;

	forget_staging(d, op->row.id);
	operation_finish(op, why);
	if (why)
		image_sweep(d);
}

static void on_built(void *data, const json_t *result, const struct err *why)
{
	(void)result;
	build_over(data, why);
}

static void stop_build(struct operation *op, const struct err *why)
{
	struct err kept = *why;

	task_kill(op->owner);
	build_over(op, &kept);
}

static int start_build(struct operation *op, const json_t *body, struct err *e)
{
	const char *args[16 + 2 * BUILD_OPTIONS_MAX] = { NULL };
	char *texts[BUILD_OPTIONS_MAX] = { NULL };
	struct journal_row row = { .kind = JOURNAL_STAGING };
	json_t *options = json_object_get(body, "options"), *value;
	size_t n = 0, t = 0;
	const char *key;
	int rc;

	args[n++] = "build";
	args[n++] = "--store";
	args[n++] = op->daemon->images_dir;
	args[n++] = "--staging";
	args[n++] = op->row.id;
	args[n++] = "--recipe";
	args[n++] = json_string_value(json_object_get(body, "recipe"));
	args[n++] = "--name";
	args[n++] = json_string_value(json_object_get(body, "name"));
	if (!op->daemon->config->jailed)
		args[n++] = "--no-jail";
	json_object_foreach(options, key, value) {
		if (t == BUILD_OPTIONS_MAX ||
		    asprintf(&texts[t], "%s=%s", key,
			     json_string_value(value)) < 0)
			break;
		args[n++] = "--option";
		args[n++] = texts[t++];
	}
	memcpy(row.owner, op->row.id, sizeof(row.owner));
	memcpy(row.name, op->row.id, sizeof(row.owner));
	rc = store_journal_add(op->daemon->store, &row, e);
	if (rc == 0) {
		op->owner = task_start(op->daemon, op, args, on_built, op, e);
		rc = op->owner ? 0 : -EIO;
	}
	while (t)
		free(texts[--t]);
	return rc;
}

void image_build_begin(struct operation *op, const json_t *body)
{
	struct err e = ERR_INIT;

	op->stop = stop_build;
	if (start_build(op, body, &e) < 0)
		build_over(op, &e);
}

int image_build_none(struct daemon *d, const char *name, struct err *e)
{
	struct operation *op;

	LIST_FOREACH(op, &d->operations, link)
		if (op->row.state == API_OP_RUNNING &&
		    op->kind == API_OP_IMAGE_BUILD &&
		    strcmp(op->row.resource_id, name) == 0)
			return err_set(e, ERR_CONFLICT, "operation_running", 0,
				       "image '%s' is being built already "
				       "(operation %s)",
				       name, op->row.id);
	return 0;
}
