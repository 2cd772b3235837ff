/* SPDX-License-Identifier: Apache-2.0 */
/*
 * UDP of a published port: a flow for each client (its address, and the one of
 * ours that it sent to) is a stream of the agent, so that the service sees each
 * client as a peer of its own and its answers find the way back.
 *
 * Nothing waits: what has no room is lost. A flow ends when it was not used for a
 * while; when there are too many, the one that was unused for the longest.
 */
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/datagram.h"
#include "vmd/ports/vm_ports_internal.h"

enum {
	DATAGRAMS_MAX = 16, /* in one turn of the loop */
	SWEEP_MS = 5000,
};

struct port_flow {
	struct port *port;
	TAILQ_ENTRY(port_flow) link;
	struct datagram_peer peer;
	struct agent_stream *stream;
	uint64_t used_ms;
	bool answered;
};

static void flow_free(struct port_flow *f)
{
	struct vm_ports *all = f->port->all;

	if (f->stream)
		agent_stream_close(take_ptr(f->stream));
	TAILQ_REMOVE(&all->flows, f, link);
	all->flow_count--;
	free(f);
}

static void flow_used(struct port_flow *f)
{
	struct vm_ports *all = f->port->all;

	f->used_ms = clock_mono_ms();
	TAILQ_REMOVE(&all->flows, f, link);
	TAILQ_INSERT_TAIL(&all->flows, f, link);
}

static void on_data(void *ctx, enum wire_channel channel, const void *data,
		    size_t len)
{
	struct port_flow *f = ctx;

	datagram_send(f->port->udp_fd, &f->peer, data, len);
	f->answered = true;
	flow_used(f);
	agent_stream_consumed(f->stream, channel, len);
}

static void on_done(void *ctx, uint32_t status, uint32_t signal,
		    const struct err *e)
{
	struct port_flow *f = ctx;

	(void)status;
	(void)signal;
	(void)e;
	f->stream = NULL;
	flow_free(f);
}

static const struct agent_stream_ops flow_ops = {
	.data = on_data,
	.done = on_done,
};

/* The flow of a peer, a new one if need be. NULL: there can be none. */
static struct port_flow *flow_of(struct port *p,
				 const struct datagram_peer *peer)
{
	struct vm_ports *all = p->all;
	struct vm *vm = all->vm;
	struct port_flow *f;

	TAILQ_FOREACH_REVERSE(f, &all->flows, flow_list, link)
		if (f->port == p && datagram_same_peer(&f->peer, peer))
			return f;
	if (!agent_session_ready(vm->session))
		return NULL;
	if (all->flow_count == PORT_FLOWS_MAX)
		flow_free(TAILQ_FIRST(&all->flows));
	f = calloc(1, sizeof(*f));
	if (!f)
		return NULL;
	f->port = p;
	f->peer = *peer;
	f->stream = agent_session_dial(vm->session, WIRE_UDP,
				       p->spec.guest_port, &flow_ops, f, NULL);
	if (!f->stream) {
		free(f);
		return NULL;
	}
	TAILQ_INSERT_TAIL(&all->flows, f, link);
	all->flow_count++;
	if (!loop_timer_armed(&all->flow_sweep))
		loop_timer_arm(&all->flow_sweep, SWEEP_MS);
	return f;
}

/* One datagram. false: there is none. */
static bool take_one(struct port *p)
{
	static uint8_t data[WIRE_DATAGRAM_MAX];
	struct datagram_peer peer;
	ssize_t n = datagram_recv(p->udp_fd, data, sizeof(data), &peer);
	struct port_flow *f = n < 0 ? NULL : flow_of(p, &peer);

	if (f) {
		flow_used(f);
		(void)agent_stream_write_datagram(f->stream, data, (size_t)n);
	}
	return n >= 0;
}

void port_udp_readable(struct loop_source *source, uint32_t events)
{
	struct port *p = source->data;

	(void)events;
	for (int i = 0; i < DATAGRAMS_MAX && take_one(p); i++)
		;
}

void port_udp_sweep(struct loop_timer *timer)
{
	struct vm_ports *all = timer->data;
	uint64_t now = clock_mono_ms();
	struct port_flow *f = TAILQ_FIRST(&all->flows), *next;

	for (; f; f = next) {
		next = TAILQ_NEXT(f, link);
		if (now - f->used_ms >=
		    (f->answered ? FLOW_IDLE_MS : FLOW_ASKING_MS))
			flow_free(f);
	}
	if (all->flow_count)
		loop_timer_arm(&all->flow_sweep, SWEEP_MS);
}

void port_udp_end_all(struct vm_ports *all)
{
	while (!TAILQ_EMPTY(&all->flows))
		flow_free(TAILQ_FIRST(&all->flows));
}
