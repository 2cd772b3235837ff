/* SPDX-License-Identifier: Apache-2.0 */
/*
 * UDP of vmctl forward: each client of the local port is a flow with a WebSocket of
 * its own, so that answers find their way back. Nothing waits: what has no room is
 * lost.
 */
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/datagram.h"
#include "vmctl/forward.h"

enum {
	DATAGRAM_MAX = 65535,
	DATAGRAMS_MAX = 16, /* in one turn of the loop */
	ASKING_MS = 30000, /* as the daemon's own flows */
	IDLE_MS = 120000,
	SWEEP_MS = 5000,
};

struct forward_flow {
	struct forward_link link;
	LIST_ENTRY(forward_flow) entry;
	struct datagram_peer peer;
	uint64_t used_ms;
	bool answered;
};

static void flow_free(struct forward_flow *f)
{
	struct forward *all = f->link.port->all;

	forward_link_close(&f->link);
	LIST_REMOVE(f, entry);
	all->flow_count--;
	free(f);
}

static void on_message(void *ctx, bool text, const uint8_t *data, size_t len)
{
	struct forward_flow *f = ctx;

	if (text) {
		forward_link_event(&f->link, data, len);
		return;
	}
	f->answered = true;
	f->used_ms = clock_mono_ms();
	datagram_send(f->link.port->udp_fd, &f->peer, data, len);
}

static void on_moved(struct forward_link *l)
{
	forward_link_update(l);
}

static void on_ended(struct forward_link *l)
{
	flow_free((struct forward_flow *)l);
}

static struct forward_flow *oldest(struct forward *all)
{
	struct forward_flow *f, *found = LIST_FIRST(&all->flows);

	LIST_FOREACH(f, &all->flows, entry)
		if (f->used_ms < found->used_ms)
			found = f;
	return found;
}

/* The flow of a peer, a new one if need be. NULL: there can be none. */
static struct forward_flow *flow_of(struct forward_port *p,
				    const struct datagram_peer *peer)
{
	struct forward *all = p->all;
	struct forward_flow *f, *old;

	LIST_FOREACH(f, &all->flows, entry)
		if (f->link.port == p && datagram_same_peer(&f->peer, peer))
			return f;
	old = all->flow_count < FORWARD_FLOWS_MAX ? NULL : oldest(all);
	if (old)
		flow_free(old);
	f = calloc(1, sizeof(*f));
	if (!f)
		return NULL;
	f->peer = *peer;
	f->link.moved = on_moved;
	f->link.ended = on_ended;
	f->link.port = p;
	LIST_INSERT_HEAD(&all->flows, f, entry);
	all->flow_count++;
	if (!forward_link_open(&f->link, p, on_message)) {
		flow_free(f);
		return NULL;
	}
	if (!loop_timer_armed(&all->sweep))
		loop_timer_arm(&all->sweep, SWEEP_MS);
	return f;
}

static bool take_one(struct forward_port *p)
{
	static uint8_t data[DATAGRAM_MAX];
	struct datagram_peer peer;
	ssize_t n = datagram_recv(p->udp_fd, data, sizeof(data), &peer);
	struct forward_flow *f = n < 0 ? NULL : flow_of(p, &peer);

	if (f && api_ws_queued(f->link.ws) < FORWARD_QUEUE_MAX) {
		f->used_ms = clock_mono_ms();
		(void)api_ws_send(f->link.ws, false, data, (size_t)n);
		forward_link_update(&f->link);
	}
	return n >= 0;
}

void forward_datagrams(struct loop_source *source, uint32_t events)
{
	struct forward_port *p = source->data;

	(void)events;
	for (int i = 0; i < DATAGRAMS_MAX && take_one(p); i++)
		;
}

void forward_sweep(struct loop_timer *timer)
{
	struct forward *all = timer->data;
	struct forward_flow *f = LIST_FIRST(&all->flows), *next;
	uint64_t now = clock_mono_ms();

	for (; f; f = next) {
		next = LIST_NEXT(f, entry);
		if (now - f->used_ms >= (f->answered ? IDLE_MS : ASKING_MS))
			flow_free(f);
	}
	if (all->flow_count)
		loop_timer_arm(&all->sweep, SWEEP_MS);
}

void forward_flows_end(struct forward *f)
{
	while (!LIST_EMPTY(&f->flows))
		flow_free(LIST_FIRST(&f->flows));
}
