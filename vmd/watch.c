/* SPDX-License-Identifier: Apache-2.0 */
/* Watches and obituaries: how others learn of changes without pointers. */
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "vmd/daemon.h"

static void run_watches(struct loop_timer *timer)
{
	struct daemon *d = timer->data;
	struct watch *w;

	d->pass++;
	/* From the head each time: a callback may remove any of them. Who is woken
	 * by one of these has to wait for the next turn. */
	while ((w = TAILQ_FIRST(&d->woken)) && w->pass < d->pass) {
		TAILQ_REMOVE(&d->woken, w, woken_link);
		w->woken = false;
		w->fn(w);
	}
}

static struct watch_bucket *bucket(struct daemon *d, const char *id)
{
	return &d->watches[text_hash(id) % WATCH_BUCKETS];
}

static void wake(struct watch *w)
{
	struct daemon *d = w->daemon;

	if (w->woken)
		return;
	w->woken = true;
	w->pass = d->pass;
	TAILQ_INSERT_TAIL(&d->woken, w, woken_link);
	if (!loop_timer_armed(&d->notify))
		loop_timer_arm_soon(&d->notify);
}

void watch_open(struct daemon *d)
{
	TAILQ_INIT(&d->woken);
	loop_timer_init(d->loop, &d->notify, run_watches, d);
}

void watch_add(struct daemon *d, struct watch *w, const char *id,
	       void (*fn)(struct watch *), void *data)
{
	watch_remove(w);
	*w = (struct watch){ .fn = fn, .data = data, .daemon = d };
	(void)snprintf(w->id, sizeof(w->id), "%s", id);
	LIST_INSERT_HEAD(bucket(d, w->id), w, link);
	wake(w);
}

void watch_remove(struct watch *w)
{
	if (!w->daemon)
		return;
	LIST_REMOVE(w, link);
	if (w->woken)
		TAILQ_REMOVE(&w->daemon->woken, w, woken_link);
	w->daemon = NULL;
	w->woken = false;
}

void daemon_changed(struct daemon *d, const char *id)
{
	struct watch *w;

	LIST_FOREACH(w, bucket(d, id), link) {
		if (strcmp(w->id, id) == 0)
			wake(w);
	}
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
