/* SPDX-License-Identifier: Apache-2.0 */
/* Watches and obituaries: how others learn of changes without pointers. */
#include <stdio.h>
#include <string.h>

#include "vmd/daemon.h"

static void run_watches(struct loop_timer *timer)
{
	struct daemon *d = timer->data;
	struct watch *w;

	d->pass++;
again:
	/* From the head each time: a callback may remove any of them. */
	LIST_FOREACH(w, &d->watches, link)
	{
		if (w->pass == d->pass)
			continue;
		w->pass = d->pass;
		w->fn(w);
		goto again;
	}
}

void watch_add(struct daemon *d, struct watch *w, void (*fn)(struct watch *),
	       void *data)
{
	w->fn = fn;
	w->data = data;
	w->daemon = d;
	w->pass = 0;
	LIST_INSERT_HEAD(&d->watches, w, link);
	daemon_changed(d);
}

void watch_remove(struct watch *w)
{
	if (!w->daemon)
		return;
	LIST_REMOVE(w, link);
	w->daemon = NULL;
}

void daemon_changed(struct daemon *d)
{
	if (!d->notify.fn)
		loop_timer_init(d->loop, &d->notify, run_watches, d);
	if (!LIST_EMPTY(&d->watches) && !loop_timer_armed(&d->notify))
		loop_timer_arm_soon(&d->notify);
}

void daemon_bury(struct daemon *d, const char *id, const struct err *why,
		 json_t *vm)
{
	struct obituary *o = &d->obituaries[d->obituary_next++ % OBITUARIES];

	json_decref(o->vm);
	(void)snprintf(o->id, sizeof(o->id), "%s", id);
	if (why)
		o->why = *why;
	else
		err_clear(&o->why);
	o->vm = vm;
}

const struct obituary *daemon_obituary(const struct daemon *d, const char *id)
{
	for (size_t i = 0; i < OBITUARIES; i++)
		if (d->obituaries[i].vm && strcmp(d->obituaries[i].id, id) == 0)
			return &d->obituaries[i];
	return NULL;
}
