/* SPDX-License-Identifier: Apache-2.0 */
/* What vm_ports.c (listeners), port_tcp.c and port_udp.c share. */
#ifndef VMD_VM_PORTS_INTERNAL_H
#define VMD_VM_PORTS_INTERNAL_H

#include <netinet/in.h>
#include <sys/queue.h>

#include "base/buf.h"
#include "base/listener.h"
#include "base/port_bind.h"
#include "vmd/vm/vm.h"

enum {
	/* Beside them `dial` connections of the API find room (WIRE_DIALS_MAX). */
	PORT_CONNECTIONS_MAX = 256,
	PORT_FLOWS_MAX = 128,
	/* A flow that nobody answered, and one that was in use. */
	FLOW_ASKING_MS = 30000,
	FLOW_IDLE_MS = 120000,
};

/* Whether those who come are let in. */
enum ports_mode {
	PORTS_WAIT, /* the agent is awaited: they wait too */
	PORTS_SERVE,
	PORTS_REFUSE, /* the agent does not come back: they are told */
};

struct port {
	struct vm_ports *all;
	struct port_spec spec;
	struct listener tcp; /* fd -1: not bound */
	struct loop_source udp;
	int udp_fd;
};

struct port_conn;
struct port_flow;

struct vm_ports {
	struct vm *vm;
	enum ports_mode mode;
	struct loop_timer patience; /* with an agent that was lost */
	struct loop_timer bind_again;
	char told[200]; /* the VM's reason, as we have set it */
	struct loop_timer flow_sweep;
	LIST_HEAD(, port_conn) conns;
	unsigned int conn_count;
	TAILQ_HEAD(flow_list, port_flow)
	flows; /* the longest unused one first */
	unsigned int flow_count;
	size_t count;
	struct port ports[];
};

/* vm_ports.c: a connection more or less: look whether others are let in. */
void ports_update(struct vm_ports *all);

/* port_tcp.c: takes fd. */
void port_tcp_accept(struct port *port, int fd);
void port_tcp_end_all(struct vm_ports *all);

/* port_udp.c */
void port_udp_readable(struct loop_source *source, uint32_t events);
void port_udp_sweep(struct loop_timer *timer);
void port_udp_end_all(struct vm_ports *all);

#endif
