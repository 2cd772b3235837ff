/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DIAL of UDP: one client's datagrams to one port, and the answers. Boundaries
 * are kept: each datagram travels behind its length. Nothing here waits: what the
 * socket does not take is lost, as on any network.
 *
 * Which address the service listens on shows only when a datagram is refused
 * (ICMP, at once on our own machine or a little later). So until the first answer
 * the last datagram is kept, and goes to the next address after a refusal.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/agent.h"

static int open_to(const struct sockaddr_storage *to, socklen_t len)
{
	int fd = socket(to->ss_family,
			SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd >= 0 && connect(fd, (const struct sockaddr *)to, len) < 0) {
		(void)close(fd);
		fd = -1;
	}
	return fd;
}

bool dial_udp_open(struct dial *d)
{
	struct sockaddr_storage to;
	socklen_t len;

	for (; dial_address(d->candidate, d->port, &to, &len); d->candidate++) {
		int self;

		if (d->fd >= 0)
			(void)close(d->fd);
		d->fd = open_to(&to, len);
		if (d->fd < 0)
			continue;
		if (!dial_is_self(d->fd, d->port))
			return true;
		/* While it is taken, the next one is another. */
		self = d->fd;
		d->fd = open_to(&to, len);
		(void)close(self);
		if (d->fd >= 0)
			return true;
	}
	return false;
}

static void keep(struct dial *d, const uint8_t *data, size_t len)
{
	uint8_t *copy = d->answered ? NULL : malloc(len ? len : 1);

	free(d->last);
	if (copy)
		memcpy(copy, data, len);
	d->last = copy;
	d->last_len = copy ? len : 0;
}

/* false: refused by an address that nobody listens on. */
static bool send_one(struct dial *d, const uint8_t *data, size_t len)
{
	int error = 0;
	socklen_t size = sizeof(error);

	if (d->fd < 0)
		return true;
	if (send(d->fd, data, len, MSG_NOSIGNAL) < 0)
		return errno != ECONNREFUSED;
	/* On our own machine the refusal is there when send() returns. */
	if (!d->answered)
		(void)getsockopt(d->fd, SOL_SOCKET, SO_ERROR, &error, &size);
	return error != ECONNREFUSED;
}

/*
 * Nobody listens on this address: the last datagram tries the next ones. After
 * all of them it is lost, and the next datagram begins with the first again.
 */
static void try_next(struct dial *d)
{
	if (d->answered)
		return;
	d->candidate++;
	while (dial_udp_open(d)) {
		if (!d->last || send_one(d, d->last, d->last_len))
			return;
		d->candidate++;
	}
	d->candidate = 0;
	(void)dial_udp_open(d);
	free(d->last);
	d->last = NULL;
}

void dial_udp_write(struct agent *a, struct dial *d)
{
	for (;;) {
		size_t have = d->pending_end - d->pending_start;
		const uint8_t *at = d->pending + d->pending_start;
		struct wire_cursor c;
		size_t len;

		if (have < 2)
			break;
		c = wire_reader(at, 2);
		len = wire_read_u16(&c);
		if (have < 2 + len)
			break;
		keep(d, at + 2, len);
		if (!send_one(d, at + 2, len))
			try_next(d);
		d->pending_start += 2 + len;
		stream_passed(a, d->stream, 2 + len);
	}
	if (d->pending_start == d->pending_end)
		d->pending_start = d->pending_end = 0;
}

void dial_udp_read(struct agent *a, struct dial *d)
{
	static uint8_t data[2 + WIRE_DATAGRAM_MAX];
	struct stream *st = d->stream;
	struct wire_cursor c = wire_writer(data, 2);
	size_t len;
	ssize_t n;

	if (st->out_credit[WIRE_OUT] < sizeof(data) ||
	    outq_len(&a->out) > OUTQ_DATA_LEVEL)
		return;
	n = recv(d->fd, data + 2, WIRE_DATAGRAM_MAX, 0);
	if (n < 0) {
		if (errno == ECONNREFUSED)
			try_next(d);
		return;
	}
	d->answered = true;
	free(d->last);
	d->last = NULL;
	wire_write_u16(&c, (uint16_t)n);
	len = 2 + (size_t)n;
	st->out_credit[WIRE_OUT] -= (uint32_t)len;
	for (size_t at = 0; at < len; at += WIRE_DATA_MAX)
		outq_frame(&a->out, WIRE_DATA, WIRE_OUT, st->id, data + at,
			   len - at < WIRE_DATA_MAX ? len - at : WIRE_DATA_MAX);
}
