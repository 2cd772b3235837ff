/* SPDX-License-Identifier: Apache-2.0 */
/* Images: list, get, build. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "vmd/image/image.h"
#include "vmd/routes/handlers.h"

enum {
	BUILD_DEADLINE_MS = 60 * 60 * 1000
};

static json_t *used_by(struct daemon *d, const struct image *image)
{
	json_t *names = json_array();
	struct vm *vm;

	LIST_FOREACH(vm, &d->vms, link)
		if (strcmp(vm->row.image_id, image->id) == 0)
			(void)json_array_append_new(names,
						    json_string(vm->row.name));
	return names;
}

static json_t *blob(const struct image_blob *b)
{
	if (!b->digest[0])
		return json_null();
	return json_pack("{s:s, s:I}", "digest", b->digest, "size_bytes",
			 (json_int_t)b->size_bytes);
}

/* A damaged image has a name and nothing else, and can be removed by it. */
static json_t *image_json(struct daemon *d, const struct image *i)
{
	uint64_t size = i->kernel.size_bytes + i->initrd.size_bytes +
			i->root.size_bytes;

	return json_pack(
		"{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:o, s:o, s:o, "
		"s:I, s:s, s:o}",
		"id", i->id, "name", i->name, "recipe", i->recipe,
		"architecture", i->arch, "init",
		i->init == IMAGE_INIT_SYSTEM ? "system" : "agent",
		"kernel_release", i->kernel_release, "kernel_format",
		i->kernel_format, "command", i->command, "size_bytes",
		(json_int_t)size, "kernel",
		json_pack("{s:s, s:I}", "digest", i->kernel.digest,
			  "size_bytes", (json_int_t)i->kernel.size_bytes),
		"initrd", blob(&i->initrd), "root", blob(&i->root),
		"min_memory_bytes", (json_int_t)i->min_memory_bytes,
		"created_at",
		i->created[0] ? i->created : "1970-01-01T00:00:00.000Z",
		"used_by", used_by(d, i));
}

void handle_image_list(struct request *r)
{
	AUTO(free) struct image *images = NULL;
	json_t *items = json_array();
	struct err e = ERR_INIT;
	size_t count = 0;

	if (image_store_list(r->daemon->images, &images, &count, &e) < 0) {
		json_decref(items);
		request_fail(r, &e);
		return;
	}
	for (size_t i = 0; i < count; i++)
		(void)json_array_append_new(items,
					    image_json(r->daemon, &images[i]));
	request_json(r, 200, json_pack("{s:o}", "items", items), NULL);
}

void handle_image_get(struct request *r)
{
	struct err e = ERR_INIT;
	struct image image;

	if (image_store_get(r->daemon->images, r->params.value, &image, &e) < 0)
		request_fail(r, &e);
	else
		request_json(r, 200, image_json(r->daemon, &image), NULL);
}

/* Together with the operation, and not when the wait is over: a client that
 * tries again is to meet this build, also when the daemon dies now. */
static int remember(struct request *r, const struct operation *op,
		    struct err *e)
{
	AUTO(json) json_t *json = operation_to_json(&op->row);
	char location[64];

	(void)snprintf(location, sizeof(location), "/v1/operations/%s",
		       op->row.id);
	return request_remember(r, 202, location, json, e);
}

static int begin_build(struct request *r, const char *name,
		       struct operation **ret, struct err *e)
{
	struct store *s = r->daemon->store;
	int rc = store_begin(s, e);

	if (rc < 0)
		return rc;
	*ret = operation_new(r->daemon, API_OP_IMAGE_BUILD, name,
			     BUILD_DEADLINE_MS, e);
	rc = *ret ? remember(r, *ret, e) : -EIO;
	if (rc == 0)
		return store_commit(s, e);
	store_rollback(s);
	return rc;
}

void handle_image_create(struct request *r)
{
	const char *name = json_string_value(json_object_get(r->body, "name"));
	struct operation *op = NULL;
	struct err e = ERR_INIT;
	char id[ID_LEN + 1];

	if (image_build_none(r->daemon, name, &e) < 0 ||
	    daemon_image_stays(r->daemon, name, &e) < 0) {
		request_fail(r, &e);
		return;
	}
	if (begin_build(r, name, &op, &e) < 0) {
		if (op)
			operation_finish(op, &e);
		request_fail(r, &e);
		return;
	}
	memcpy(id, op->row.id, sizeof(id));
	image_build_begin(op, r->body);
	request_operation(r, id);
}
