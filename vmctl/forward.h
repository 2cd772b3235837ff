/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmctl forward: sockets of this machine whose connections go through the API
 * (GET dial, one WebSocket for each) to ports of a VM. One thread, one loop.
 */
#ifndef VMCTL_FORWARD_H
#define VMCTL_FORWARD_H

#include <sys/queue.h>

#include "api/client/ws.h"
#include "base/listener.h"
#include "base/port_bind.h"
#include "vmctl/ctx.h"

enum {
	/* Less than the daemon has for all its clients. */
	FORWARD_CONNECTIONS_MAX = 200,
	FORWARD_FLOWS_MAX = 32,
	FORWARD_OPENING_MAX = 32, /* less than the daemon's queue of new ones */
	FORWARD_QUEUE_MAX = 131072, /* waiting for the daemon: then we wait */
};

struct forward_conn;
struct forward_flow;

struct forward {
	struct ctx *ctx;
	struct loop *loop;
	const char *socket_path;
	unsigned int conn_count; /* of all ports */
	unsigned int opening; /* links whose handshake is not over */
	LIST_HEAD(, forward_conn) conns;
	LIST_HEAD(, forward_flow) flows;
	unsigned int flow_count;
	struct loop_timer sweep;
	struct err failure; /* why the loop was stopped; ERR_NONE: a signal */
	size_t count;
	struct forward_port *ports;
};

struct forward_port {
	struct forward *all;
	struct port_spec spec;
	char *path; /* of the WebSocket */
	struct listener tcp;
	struct loop_source udp;
	int udp_fd;
};

/* A connection through the API, embedded first in its owner. */
struct forward_link {
	struct forward_port *port;
	struct api_ws *ws;
	struct loop_source source;
	struct loop_timer again; /* what was read already makes no event */
	bool opening;
	bool failed; /* told by the daemon */
	/* Something was sent or received: look at the owner's other end. */
	void (*moved)(struct forward_link *l);
	/* It has ended. The last call: frees the owner. */
	void (*ended)(struct forward_link *l);
};

/* fn gets the binary messages (ctx is the link). false: not opened, was told. */
bool forward_link_open(struct forward_link *l, struct forward_port *port,
		       api_ws_message_fn *fn);
/* After anything was queued or unpaused. */
void forward_link_update(struct forward_link *l);
void forward_link_close(struct forward_link *l);
/* A text message of the daemon. */
void forward_link_event(struct forward_link *l, const uint8_t *data,
			size_t len);

/* forward_tcp.c */
void forward_accept(void *ctx, int fd);
/* forward_udp.c */
void forward_datagrams(struct loop_source *source, uint32_t events);
void forward_sweep(struct loop_timer *timer);
/* Listeners look whether there is room for more. */
void forward_room(struct forward *f);
void forward_end_all(struct forward *f);
void forward_flows_end(struct forward *f);

#endif
