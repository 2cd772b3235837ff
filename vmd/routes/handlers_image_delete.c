/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Removing an image. Its name goes from the disk on a worker thread; the answer
 * waits for that. The blobs go with the next sweep, in a child: they are large.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "vmd/image/image.h"
#include "vmd/routes/handlers.h"

struct image_removal {
	struct worker_job job;
	struct daemon *daemon;
	struct request *request; /* NULL: the client has gone */
	char name[IMAGE_NAME_MAX + 1];
	int rc;
	struct err e;
	LIST_ENTRY(image_removal) link;
};

static void removal_run(struct worker_job *job)
{
	struct image_removal *m = job->data;

	m->rc = image_store_remove(m->daemon->images, m->name, &m->e);
}

static void removal_done(struct worker_job *job)
{
	struct image_removal *m = job->data;
	struct request *r = m->request;

	LIST_REMOVE(m, link);
	if (r) {
		r->stream = NULL;
		if (m->rc < 0)
			request_fail(r, &m->e);
		else
			request_empty(r, 204);
	} else if (m->rc < 0) {
		log_warn("image '%s': %s", m->name, m->e.msg);
	}
	if (!job->dropped)
		image_sweep(m->daemon);
	free(m);
}

static void client_gone(struct request *r)
{
	struct image_removal *m = r->stream;

	if (m)
		m->request = NULL;
}

int daemon_image_stays(const struct daemon *d, const char *name, struct err *e)
{
	const struct image_removal *m;

	LIST_FOREACH(m, &d->image_removals, link)
		if (strcmp(m->name, name) == 0)
			return err_set(e, ERR_CONFLICT, "operation_running", 0,
				       "image '%s' is being removed", name);
	return 0;
}

static void begin(struct request *r, const char *name)
{
	struct image_removal *m = calloc(1, sizeof(*m));
	struct err e = ERR_INIT;

	if (!m) {
		(void)err_sys(&e, ENOMEM, "removing image '%s'", name);
		request_fail(r, &e);
		return;
	}
	m->daemon = r->daemon;
	m->request = r;
	(void)snprintf(m->name, sizeof(m->name), "%s", name);
	m->job = (struct worker_job){ .run = removal_run,
				      .done = removal_done,
				      .data = m };
	LIST_INSERT_HEAD(&m->daemon->image_removals, m, link);
	r->stream = m;
	r->gone = client_gone;
	worker_submit(m->daemon->workers, &m->job);
}

void handle_image_delete(struct request *r)
{
	struct daemon *d = r->daemon;
	struct err e = ERR_INIT;
	struct image image;
	struct vm *vm;

	if (image_store_get(d->images, r->params.value, &image, &e) < 0 &&
	    strcmp(e.code, "image_corrupt") != 0) {
		request_fail(r, &e);
		return;
	}
	if (e.kind != ERR_NONE) { /* what is broken can be removed, by name */
		image = (struct image){ 0 };
		(void)snprintf(image.name, sizeof(image.name), "%.63s",
			       r->params.value);
		err_clear(&e);
	}
	LIST_FOREACH(vm, &d->vms, link) {
		if (strcmp(vm->row.image_id, image.id) != 0)
			continue;
		(void)err_set(
			&e, ERR_CONFLICT, "image_in_use", 0,
			"image '%s' is used by VM '%s': remove that first",
			image.name, vm->row.name);
		request_fail(r, &e);
		return;
	}
	if (daemon_image_stays(d, image.name, &e) < 0)
		request_fail(r, &e);
	else
		begin(r, image.name);
}
