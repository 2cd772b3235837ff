/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A TCP connection of a published port: the client's socket on one side, a stream
 * of the agent on the other.
 *
 * client -> guest: read as much as the stream takes now, into no buffer of ours;
 * guest -> client: written at once, the rest kept (one window at most) until the
 * socket takes it; only then the guest gets credit for it.
 *
 * Ends: a FIN of either side is passed on and the other direction lives; a reset,
 * a refusal or the loss of the agent resets the client, and a client's reset the
 * connection in the guest.
 */
#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "vmd/vm_ports_internal.h"

struct port_conn {
	struct vm_ports *all;
	LIST_ENTRY(port_conn) link;
	struct loop_source source;
	int fd;
	struct agent_stream *stream; /* NULL: it has ended well */
	struct buf out; /* for the client */
	bool in_eof; /* the client's end was passed on */
	bool out_eof; /* the guest sends no more */
	bool out_shut; /* ... and the client was told so */
};

static void conn_free(struct port_conn *c, bool reset)
{
	const struct linger now = { .l_onoff = 1, .l_linger = 0 };
	struct vm_ports *all = c->all;

	if (c->stream)
		agent_stream_close(take_ptr(c->stream));
	loop_remove(&c->source);
	if (reset)
		(void)setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &now,
				 sizeof(now));
	close_fd(&c->fd);
	buf_done(&c->out);
	LIST_REMOVE(c, link);
	all->conn_count--;
	free(c);
	ports_update(all);
}

/* Watches for what can be done now. */
static void conn_update(struct port_conn *c)
{
	uint32_t events = 0;

	/* Ended both ways, the socket only reports its end, for ever. */
	if (c->in_eof && c->out_shut) {
		loop_remove(&c->source);
		return;
	}
	if (!c->in_eof && c->stream && agent_stream_room(c->stream) > 0)
		events |= EPOLLIN;
	if (buf_len(&c->out))
		events |= EPOLLOUT;
	if (events != c->source.events)
		(void)loop_modify(&c->source, events);
}

/* false: the client has gone, and c with it. */
static bool conn_flush(struct port_conn *c)
{
	while (buf_len(&c->out)) {
		ssize_t n = send(c->fd, buf_head(&c->out), buf_len(&c->out),
				 MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return true;
		if (n < 0) {
			conn_free(c, true);
			return false;
		}
		buf_consume(&c->out, (size_t)n);
		if (c->stream)
			agent_stream_consumed(c->stream, WIRE_OUT, (size_t)n);
	}
	/* Many connections that are idle shall cost little. */
	buf_done(&c->out);
	if (c->out_eof && !c->out_shut) {
		c->out_shut = true;
		(void)shutdown(c->fd, SHUT_WR);
	}
	if (!c->stream) { /* all was said */
		conn_free(c, false);
		return false;
	}
	return true;
}

/* One piece from the client. false: c is gone. */
static bool conn_read(struct port_conn *c)
{
	uint8_t piece[WIRE_DATA_MAX];
	size_t room =
		c->stream && !c->in_eof ? agent_stream_room(c->stream) : 0;
	ssize_t n;

	if (!room)
		return true;
	n = recv(c->fd, piece, room, 0);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return true;
	if (n == 0) {
		c->in_eof = true;
		agent_stream_write_eof(c->stream);
		return true;
	}
	/* It takes what it had room for. */
	if (n > 0 &&
	    agent_stream_write(c->stream, piece, (size_t)n) == (size_t)n)
		return true;
	conn_free(c, true);
	return false;
}

static void on_socket(struct loop_source *source, uint32_t events)
{
	struct port_conn *c = source->data;

	if (events & EPOLLERR) {
		conn_free(c, true);
		return;
	}
	if ((events & EPOLLOUT) && !conn_flush(c))
		return;
	if ((events & (EPOLLIN | EPOLLHUP)) && !conn_read(c))
		return;
	conn_update(c);
}

static void on_data(void *ctx, enum wire_channel channel, const void *data,
		    size_t len)
{
	struct port_conn *c = ctx;

	(void)channel;
	/* Within the limit: the guest has no more credit. */
	if (buf_append(&c->out, data, len) < 0) {
		conn_free(c, true);
		return;
	}
	if (conn_flush(c))
		conn_update(c);
}

static void on_eof(void *ctx, enum wire_channel channel)
{
	struct port_conn *c = ctx;

	(void)channel;
	c->out_eof = true;
	if (conn_flush(c))
		conn_update(c);
}

static void on_writable(void *ctx)
{
	struct port_conn *c = ctx;

	if (conn_read(c))
		conn_update(c);
}

static void on_done(void *ctx, uint32_t status, uint32_t signal,
		    const struct err *e)
{
	struct port_conn *c = ctx;

	(void)status;
	(void)signal;
	c->stream = NULL;
	if (e) {
		conn_free(c, true);
		return;
	}
	c->in_eof = c->out_eof = true;
	if (conn_flush(c))
		conn_update(c);
}

static const struct agent_stream_ops conn_ops = {
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
	const int on = 1;

	if (!c) {
		(void)close(fd);
		return;
	}
	*c = (struct port_conn){ .all = all,
				 .fd = fd,
				 .source = LOOP_SOURCE_INIT,
				 .out = BUF_INIT(WIRE_DIAL_WINDOW) };
	LIST_INSERT_HEAD(&all->conns, c, link);
	all->conn_count++;
	/* Whoever waits for more is the service, not we; and a client that went
	 * without a word must not keep its place for ever. */
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	if (loop_add(vm->daemon->loop, &c->source, fd, 0, on_socket, c) < 0) {
		conn_free(c, true);
		return;
	}
	c->stream =
		agent_session_dial(vm->session, WIRE_TCP, port->spec.guest_port,
				   &conn_ops, c, NULL);
	if (!c->stream) {
		conn_free(c, true);
		return;
	}
	conn_update(c);
	ports_update(all);
}

void port_tcp_end_all(struct vm_ports *all)
{
	while (!LIST_EMPTY(&all->conns))
		conn_free(LIST_FIRST(&all->conns), true);
}
