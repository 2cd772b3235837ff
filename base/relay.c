/* SPDX-License-Identifier: Apache-2.0 */
/* See relay.h. */
#include "base/relay.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "base/cleanup.h"

static void close_socket(struct relay *r, bool reset)
{
	const struct linger now = { .l_onoff = 1, .l_linger = 0 };

	loop_remove(&r->source);
	if (reset && r->fd >= 0)
		(void)setsockopt(r->fd, SOL_SOCKET, SO_LINGER, &now,
				 sizeof(now));
	close_fd(&r->fd);
	buf_done(&r->out);
}

/* Last act of a caller: the owner may be gone after it. */
static void end(struct relay *r, bool reset)
{
	close_socket(r, reset);
	r->ops->closed(r->ctx);
}

void relay_reset(struct relay *r)
{
	close_socket(r, true);
}

static void on_socket(struct loop_source *source, uint32_t events);

/* Watches for what can be done now. */
static void update(struct relay *r)
{
	uint32_t events = 0;

	if (!r->in_end && r->ops->room(r->ctx) > 0)
		events |= EPOLLIN;
	if (buf_len(&r->out))
		events |= EPOLLOUT;
	/* We have ended and wait for nothing: a client that has ended as well is
	 * reported for ever, whatever is asked for. */
	if (!events && r->out_shut)
		loop_remove(&r->source);
	else if (!loop_source_active(&r->source))
		(void)loop_add(r->source.loop, &r->source, r->fd, events,
			       on_socket, r);
	else if (events != r->source.events)
		(void)loop_modify(&r->source, events);
}

/* false: closed. */
static bool flush(struct relay *r)
{
	size_t sent = 0;

	while (buf_len(&r->out)) {
		ssize_t n = send(r->fd, buf_head(&r->out), buf_len(&r->out),
				 MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0) {
			end(r, true);
			return false;
		}
		buf_consume(&r->out, (size_t)n);
		sent += (size_t)n;
	}
	if (sent)
		r->ops->taken(r->ctx, sent);
	if (buf_len(&r->out))
		return true;
	/* Many connections that are idle shall cost little. */
	buf_done(&r->out);
	if (r->out_end && !r->out_shut) {
		r->out_shut = true;
		(void)shutdown(r->fd, SHUT_WR);
	}
	if (r->finished) {
		end(r, false);
		return false;
	}
	return true;
}

/* One piece from the client. false: closed. */
static bool read_piece(struct relay *r)
{
	uint8_t piece[RELAY_PIECE];
	size_t room = r->in_end ? 0 : r->ops->room(r->ctx);
	ssize_t n;

	if (!room)
		return true;
	n = recv(r->fd, piece, room < sizeof(piece) ? room : sizeof(piece), 0);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return true;
	if (n == 0) {
		r->in_end = true;
		r->ops->write_end(r->ctx);
		return true;
	}
	if (n > 0 && r->ops->write(r->ctx, piece, (size_t)n))
		return true;
	end(r, true);
	return false;
}

static void on_socket(struct loop_source *source, uint32_t events)
{
	struct relay *r = source->data;

	if (events & EPOLLERR) {
		end(r, true);
		return;
	}
	if ((events & EPOLLOUT) && !flush(r))
		return;
	if ((events & (EPOLLIN | EPOLLHUP)) && !read_piece(r))
		return;
	update(r);
}

int relay_open(struct relay *r, struct loop *loop, int fd, size_t limit,
	       const struct relay_ops *ops, void *ctx)
{
	const int on = 1;
	int rc;

	*r = (struct relay){ .ops = ops,
			     .ctx = ctx,
			     .source = LOOP_SOURCE_INIT,
			     .fd = fd,
			     .out = BUF_INIT(limit) };
	/* Whoever waits for more is the service, not we; and a client that went
	 * without a word must not keep its place for ever. */
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	rc = loop_add(loop, &r->source, fd, 0, on_socket, r);
	if (rc < 0)
		close_socket(r, true);
	return rc;
}

void relay_wake(struct relay *r)
{
	if (read_piece(r))
		update(r);
}

bool relay_put(struct relay *r, const void *data, size_t len)
{
	if (buf_append(&r->out, data, len) < 0) {
		end(r, true);
		return false;
	}
	if (!flush(r))
		return false;
	update(r);
	return true;
}

void relay_put_end(struct relay *r)
{
	r->out_end = true;
	if (flush(r))
		update(r);
}

void relay_finish(struct relay *r)
{
	r->in_end = r->out_end = r->finished = true;
	if (flush(r))
		update(r);
}
