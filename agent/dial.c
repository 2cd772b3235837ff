/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DIAL: connections from the host to ports of this machine. Needs no network
 * device: the service is reached over the loopback, or under the address of an
 * interface when it listens only there.
 *
 * host DATA -> pending -> socket, credit goes back as the socket takes it;
 * socket -> one DATA frame per turn, with credit and room in the queue only. So a
 * connection holds one window at most, and one that moves much does not keep
 * commands or other connections waiting.
 *
 * End: EOF of the host becomes shutdown(SHUT_WR), that of the service EOF; after
 * both, RESULT 0. A reset on either side resets the other.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/agent.h"

void dial_free(struct agent *a, struct dial *d)
{
	const struct linger now = { .l_onoff = 1, .l_linger = 0 };

	if (!d)
		return;
	TAILQ_REMOVE(&a->dials, d, link);
	if (d->fd >= 0) {
		/* Not ended by both: the service must not take it for an end. */
		if (!d->udp && !(d->in_shut && d->out_eof))
			(void)setsockopt(d->fd, SOL_SOCKET, SO_LINGER, &now,
					 sizeof(now));
		(void)close(d->fd);
	}
	free(d->pending);
	free(d->last);
	free(d);
}

static void dial_fail(struct agent *a, struct dial *d, int sys,
		      const char *code, const char *what)
{
	struct failure f;

	failure_set(&f, sys, code, "%s port %u: %s", d->udp ? "udp" : "tcp",
		    d->port, what);
	stream_fail(a, d->stream, &f);
}

static void refused(struct agent *a, struct dial *d)
{
	dial_fail(a, d, ECONNREFUSED, WIRE_CODE_REFUSED,
		  "nothing listens there");
}

static void was_reset(struct agent *a, struct dial *d)
{
	dial_fail(a, d, ECONNRESET, WIRE_CODE_RESET,
		  "the connection was reset");
}

static void connected(struct agent *a, struct dial *d)
{
	const int on = 1;

	d->connecting = false;
	/* Who waits for more is the client, not somebody on the way. */
	if (!d->udp)
		(void)setsockopt(d->fd, IPPROTO_TCP, TCP_NODELAY, &on,
				 sizeof(on));
	outq_frame(&a->out, WIRE_CONNECTED, 0, d->stream->id, NULL, 0);
}

/* On our own machine all has been said when connect() returns, but only the second
 * call tells. false: see errno. */
static bool connect_now(int fd, const struct sockaddr_storage *to,
			socklen_t len)
{
	const struct sockaddr *at = (const void *)to;

	if (connect(fd, at, len) == 0)
		return true;
	if (errno != EINPROGRESS)
		return false;
	if (connect(fd, at, len) == 0)
		return true;
	if (errno == EALREADY)
		errno = EINPROGRESS;
	return false;
}

/* Starts with the first address from d->candidate on that does not refuse at
 * once. false: there is none. */
static bool connect_next(struct agent *a, struct dial *d)
{
	struct sockaddr_storage to;
	socklen_t len;

	for (; dial_address(d->candidate, d->port, &to, &len); d->candidate++) {
		if (d->fd >= 0)
			(void)close(d->fd);
		d->fd = socket(to.ss_family,
			       SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		if (d->fd < 0)
			continue;
		if (connect_now(d->fd, &to, len)) {
			if (dial_is_self(d->fd, d->port))
				continue;
			connected(a, d);
			return true;
		}
		if (errno == EINPROGRESS) {
			d->connecting = true;
			return true;
		}
	}
	return false;
}

void dial_open(struct agent *a, struct stream *st, const uint8_t *payload,
	       size_t len)
{
	struct wire_dial request;
	struct failure f;
	struct dial *d;

	if (!wire_decode_dial(payload, len, &request)) {
		failure_set(&f, 0, WIRE_CODE_BAD_REQUEST,
			    "malformed dial request");
		stream_fail(a, st, &f);
		return;
	}
	d = calloc(1, sizeof(*d));
	if (!d) {
		failure_set(&f, ENOMEM, WIRE_CODE_IO, "cannot connect");
		stream_fail(a, st, &f);
		return;
	}
	*d = (struct dial){ .stream = st,
			    .udp = request.protocol == WIRE_UDP,
			    .port = request.port,
			    .fd = -1 };
	TAILQ_INSERT_TAIL(&a->dials, d, link);
	st->kind = STREAM_DIAL;
	st->dial = d;
	st->window = st->in_credit = wire_dial_window(request.protocol);
	st->out_credit[WIRE_OUT] = st->window;
	st->out_credit[WIRE_ERR] = 0;
	if (!d->udp) {
		if (!connect_next(a, d))
			refused(a, d);
		return;
	}
	if (dial_udp_open(d))
		connected(a, d);
	else
		dial_fail(a, d, errno, WIRE_CODE_IO, "no socket");
}

/* Both directions have ended: true, and d is gone. */
static bool ended(struct agent *a, struct dial *d)
{
	if (!d->in_shut || !d->out_eof)
		return false;
	if (d->reset)
		was_reset(a, d);
	else
		stream_done(a, d->stream);
	return true;
}

/* Bytes of data that are off our hands: written, or of no use any more. */
static size_t write_some(struct agent *a, struct dial *d, const uint8_t *data,
			 size_t len)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = send(d->fd, data + done, len - done, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0) {
			d->reset = d->in_shut = true;
			n = (ssize_t)(len - done);
		}
		done += (size_t)n;
	}
	if (done)
		stream_passed(a, d->stream, done);
	return done;
}

static void write_pending(struct agent *a, struct dial *d)
{
	d->pending_start += write_some(a, d, d->pending + d->pending_start,
				       d->pending_end - d->pending_start);
	if (d->pending_end > d->pending_start)
		return;
	d->pending_start = d->pending_end = 0;
	if (d->in_eof && !d->in_shut) {
		d->in_shut = true;
		(void)shutdown(d->fd, SHUT_WR);
	}
}

static void pump_input(struct agent *a, struct dial *d)
{
	if (d->connecting)
		return;
	if (d->udp) {
		dial_udp_write(a, d);
		return;
	}
	write_pending(a, d);
	(void)ended(a, d);
}

void dial_input(struct agent *a, struct dial *d, const uint8_t *data,
		size_t len)
{
	if (d->in_eof) {
		dial_fail(a, d, EPROTO, WIRE_CODE_BAD_REQUEST,
			  "data after its end");
		return;
	}
	if (d->in_shut) {
		stream_passed(a, d->stream, len);
		return;
	}
	/* Most often all of it goes at once, and nothing is kept. */
	if (!d->udp && !d->connecting && d->pending_end == d->pending_start) {
		size_t n = write_some(a, d, data, len);

		data += n;
		len -= n;
	}
	if (!len) {
		(void)ended(a, d);
		return;
	}
	if (!d->pending)
		d->pending = malloc(WIRE_WINDOW); /* pages as they are used */
	if (!d->pending) {
		dial_fail(a, d, ENOMEM, WIRE_CODE_IO, "no memory");
		return;
	}
	if (len > d->stream->window - d->pending_end) {
		memmove(d->pending, d->pending + d->pending_start,
			d->pending_end - d->pending_start);
		d->pending_end -= d->pending_start;
		d->pending_start = 0;
	}
	/* It fits: the credit is never more than the window. */
	memcpy(d->pending + d->pending_end, data, len);
	d->pending_end += len;
	pump_input(a, d);
}

void dial_input_eof(struct agent *a, struct dial *d)
{
	if (d->udp || d->in_eof) {
		dial_fail(a, d, EPROTO, WIRE_CODE_BAD_REQUEST,
			  "an end that cannot be");
		return;
	}
	d->in_eof = true;
	pump_input(a, d);
}

static void read_frame(struct agent *a, struct dial *d)
{
	struct stream *st = d->stream;
	size_t room = WIRE_DATA_MAX;
	uint8_t *at = outq_data_begin(&a->out);
	ssize_t n;

	if (!at || d->out_eof || st->out_credit[WIRE_OUT] == 0)
		return;
	if (room > st->out_credit[WIRE_OUT])
		room = st->out_credit[WIRE_OUT];
	n = recv(d->fd, at, room, 0);
	if (n > 0) {
		st->out_credit[WIRE_OUT] -= (uint32_t)n;
		outq_data_commit(&a->out, WIRE_OUT, st->id, (size_t)n);
		return;
	}
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0 || d->reset) {
		was_reset(a, d);
		return;
	}
	d->out_eof = true;
	outq_frame(&a->out, WIRE_EOF, WIRE_OUT, st->id, NULL, 0);
	(void)ended(a, d);
}

static void on_connect(struct agent *a, struct dial *d)
{
	int error = 0;
	socklen_t len = sizeof(error);

	(void)getsockopt(d->fd, SOL_SOCKET, SO_ERROR, &error, &len);
	if (!error && !dial_is_self(d->fd, d->port)) {
		connected(a, d);
		pump_input(a, d);
		return;
	}
	d->connecting = false;
	d->candidate++;
	if (!connect_next(a, d))
		refused(a, d);
	else
		pump_input(a, d);
}

static void on_dial(struct agent *a, void *data, short revents)
{
	struct stream *st = data;
	struct dial *d = st->dial;

	/* Ended by a frame of this very round; or others have filled the queue,
	 * in which there must be room for what we have to say. */
	if (!d || d->fd < 0 || outq_len(&a->out) > OUTQ_DATA_LEVEL)
		return;
	/* Others come before it the next time. */
	TAILQ_REMOVE(&a->dials, d, link);
	TAILQ_INSERT_TAIL(&a->dials, d, link);
	if (d->connecting) {
		on_connect(a, d);
		return;
	}
	if (d->udp) {
		dial_udp_read(a, d);
		return;
	}
	if (revents & ~POLLOUT)
		read_frame(a, d);
	/* The stream may have ended. */
	if (st->dial == d && (revents & POLLOUT))
		pump_input(a, d);
}

/* Listed only when wanted: POLLHUP cannot be masked. */
static void poll_one(struct agent *a, struct dial *d)
{
	struct stream *st = d->stream;
	uint32_t need = d->udp ? WIRE_DATAGRAM_MAX + 2 : 1;
	short events = 0;

	if (d->fd < 0)
		return;
	if (d->connecting || (!d->udp && d->pending_end > d->pending_start))
		events |= POLLOUT;
	if (!d->connecting && !d->out_eof && st->out_credit[WIRE_OUT] >= need)
		events |= POLLIN;
	if (events)
		agent_poll_add(a, d->fd, events, on_dial, st);
}

void dials_poll(struct agent *a)
{
	struct dial *d;

	if (outq_len(&a->out) > OUTQ_DATA_LEVEL)
		return;
	TAILQ_FOREACH(d, &a->dials, link)
		poll_one(a, d);
}
