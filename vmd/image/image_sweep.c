/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sweeping the image store: trees of staging directories are removed by a child
 * (vmd-image sweep), because that takes seconds, and without root a user
 * namespace. What lives is known to the child by its lock, so nothing has to be
 * told to it and builds may begin meanwhile. One sweep at a time.
 */
#include "base/log.h"
#include "vmd/image/image.h"
#include "vmd/task.h"

static void on_swept(void *data, const json_t *result, const struct err *why)
{
	struct daemon *d = data;
	json_int_t removed =
		json_integer_value(json_object_get(result, "removed"));

	d->sweep = NULL;
	if (why)
		log_warn("image store: %s", why->msg);
	else if (removed > 0)
		log_info("image store: %lld left-overs removed",
			 (long long)removed);
	if (d->sweep_again) {
		d->sweep_again = false;
		image_sweep(d);
	}
}

void image_sweep(struct daemon *d)
{
	const char *const args[] = { "sweep", "--store", d->images_dir, NULL };
	struct err e = ERR_INIT;

	if (d->stopping)
		return;
	/* What is new may be behind the one that runs already. */
	if (d->sweep) {
		d->sweep_again = true;
		return;
	}
	d->sweep = task_start(d, NULL, args, on_swept, d, &e);
	if (!d->sweep)
		log_warn("image store: it is swept at the next start: %s",
			 e.msg);
}
