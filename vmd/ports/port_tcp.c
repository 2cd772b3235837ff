/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A TCP connection of a published port: the client's socket (base/relay.h) on one
 * side, a stream of the agent on the other.
 */
#include <stdlib.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/relay.h"
#include "vmd/ports/vm_ports_internal.h"

struct port_conn {
	struct vm_ports *all;
	LIST_ENTRY(port_conn) link;
	struct relay relay;
	struct agent_stream *stream; /* NULL: it has ended */
};

/* The socket is closed, or was never opened. */
static void conn_free(struct port_conn *c)
{
	struct vm_ports *all = c->all;

	if (c->stream)
		agent_stream_close(take_ptr(c->stream));
	LIST_REMOVE(c, link);
	all->conn_count--;
	free(c);
	ports_update(all);
}

static size_t on_room(void *ctx)
{
	struct port_conn *c = ctx;

	return c->stream ? agent_stream_room(c->stream) : 0;
}

static bool on_write(void *ctx, const void *data, size_t len)
{
	struct port_conn *c = ctx;

	/* It takes what it had room for. */
	return agent_stream_write(c->stream, data, len) == len;
}

static void on_write_end(void *ctx)
{
	struct port_conn *c = ctx;

	agent_stream_write_eof(c->stream);
}

static void on_taken(void *ctx, size_t len)
{
	struct port_conn *c = ctx;

	if (c->stream)
		agent_stream_consumed(c->stream, WIRE_OUT, len);
}

static void on_closed(void *ctx)
{
	conn_free(ctx);
}

static const struct relay_ops socket_ops = {
	.room = on_room,
	.write = on_write,
	.write_end = on_write_end,
	.taken = on_taken,
	.closed = on_closed,
};

static void on_data(void *ctx, enum wire_channel channel, const void *data,
		    size_t len)
{
	struct port_conn *c = ctx;

	(void)channel;
	(void)relay_put(&c->relay, data, len);
}

static void on_eof(void *ctx, enum wire_channel channel)
{
	struct port_conn *c = ctx;

	(void)channel;
	relay_put_end(&c->relay);
}

static void on_writable(void *ctx)
{
	struct port_conn *c = ctx;

	relay_wake(&c->relay);
}

static void on_done(void *ctx, uint32_t status, uint32_t signal,
		    const struct err *e)
{
	struct port_conn *c = ctx;

	(void)status;
	(void)signal;
	c->stream = NULL;
	if (!e) {
		relay_finish(&c->relay);
		return;
	}
	relay_reset(&c->relay);
	conn_free(c);
}

static const struct agent_stream_ops stream_ops = {
	.data = on_data,
	.eof = on_eof,
	.writable = on_writable,
	.done = on_done,
};

void port_tcp_accept(struct port *port, int fd)
{
	struct vm_ports *all = port->all;
	struct vm *vm = all->vm;
	struct port_conn *c = calloc(1, sizeof(*c));

	if (!c) {
		(void)close(fd);
		return;
	}
	c->all = all;
	LIST_INSERT_HEAD(&all->conns, c, link);
	all->conn_count++;
	/* Within the limit: the guest has no more credit. */
	if (relay_open(&c->relay, vm->daemon->loop, fd, WIRE_WINDOW,
		       &socket_ops, c) == 0)
		c->stream = agent_session_dial(vm->session, WIRE_TCP,
					       port->spec.guest_port,
					       &stream_ops, c, NULL);
	if (!c->stream) {
		relay_reset(&c->relay);
		conn_free(c);
		return;
	}
	relay_wake(&c->relay);
	ports_update(all);
}

void port_tcp_end_all(struct vm_ports *all)
{
	struct port_conn *c;

	while ((c = LIST_FIRST(&all->conns))) {
		relay_reset(&c->relay);
		conn_free(c);
	}
}
