/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host side of the socket device: unix sockets. See vsock_internal.h.
 *
 * A socket is watched for reading only until it has something; then the
 * connection is queued for the guest and the bytes stay in the kernel until the
 * guest has a buffer (vsock_rx.c reads them straight into it).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "base/sock.h"
#include "virtio/vsock/vsock_internal.h"

enum {
	ACCEPT_TURN = 16,
	ACCEPT_RETRY_MS = 100,
	/* Ports of our side for clients: far from what people choose. */
	HOST_PORT_FIRST = 1 << 30,
	PORT_MAX = -2 /* VMADDR_PORT_ANY is -1 */
};

void vsock_host_listen(struct vsock *vs)
{
	bool watch = vs->free_slots && !loop_timer_armed(&vs->listen_again);

	(void)loop_modify(&vs->listener, watch ? EPOLLIN : 0);
}

void vsock_host_accept(struct loop_source *source, uint32_t events)
{
	struct vsock *vs = source->data;

	(void)events;
	for (int i = 0; i < ACCEPT_TURN && vs->free_slots; i++) {
		AUTO(fd) int fd = -1;
		struct vsock_conn *c;
		int rc = sock_accept(vs->listen_fd, &fd);

		if (rc == -ECONNABORTED || rc == -EINTR)
			continue;
		/* Out of descriptors: the backlog waits, we do not spin. */
		if (rc < 0 && rc != -EAGAIN)
			loop_timer_arm(&vs->listen_again, ACCEPT_RETRY_MS);
		if (rc < 0)
			break;
		/* No driver: the client sees the end at once. */
		if (!vs->dev.active)
			continue;
		c = vsock_conn_new(vs, fd, false);
		if (!c)
			continue;
		(void)take_fd(&fd);
		loop_timer_arm(&c->timer, vs->connect_timeout_ms);
		vsock_conn_update(c);
	}
	vsock_host_listen(vs);
}

int vsock_host_connect(struct vsock *vs, uint32_t port, int *ret_fd)
{
	char name[VSOCK_BASE_MAX + 16];

	if (vs->connect)
		return vs->connect(vs->connect_ctx, port, ret_fd);
	if (!vs->base[0])
		return -ECONNREFUSED;
	(void)snprintf(name, sizeof(name), "%s_%u", vs->base, (unsigned)port);
	return sock_connect_unix(vs->dir_fd, name, ret_fd, NULL);
}

/* A port of ours that is free towards guest_port. */
static uint32_t choose_host_port(struct vsock *vs, uint32_t guest_port)
{
	uint32_t port;

	do {
		port = HOST_PORT_FIRST |
		       (vs->next_host_port++ & (HOST_PORT_FIRST - 1));
	} while (vsock_conn_find(vs, guest_port, port));
	return port;
}

/* The whole line is there: asks the guest. False: not a request. */
static bool start_request(struct vsock_conn *c)
{
	static const char verb[] = "CONNECT ";
	uint64_t port;

	c->line[c->line_len - 1] = '\0';
	if (strncmp(c->line, verb, sizeof(verb) - 1) != 0 ||
	    strlen(c->line) != c->line_len - 1u ||
	    parse_u64(c->line + sizeof(verb) - 1, 0, (uint32_t)PORT_MAX, "port",
		      &port, NULL) < 0)
		return false;
	c->guest_port = (uint32_t)port;
	c->host_port = choose_host_port(c->vs, c->guest_port);
	c->state = VSOCK_REQUESTED;
	c->owed = VSOCK_OWE_REQUEST;
	vsock_conn_insert(c);
	loop_timer_arm(&c->timer, c->vs->connect_timeout_ms);
	vsock_conn_update(c);
	return true;
}

/*
 * Takes the line and not a byte more: what follows belongs to the guest. Peeked
 * first, for the end of the line is not known.
 */
static void read_line(struct vsock_conn *c)
{
	size_t room = (size_t)VSOCK_LINE_MAX - c->line_len;
	char *at = c->line + c->line_len;
	ssize_t n = recv(c->fd, at, room, MSG_PEEK | MSG_DONTWAIT);
	const char *end;
	size_t take;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		vsock_conn_release(c);
		return;
	}
	end = memchr(at, '\n', (size_t)n);
	take = end ? (size_t)(end - at) + 1 : (size_t)n;
	n = recv(c->fd, at, take, MSG_DONTWAIT);
	if (n != (ssize_t)take) {
		vsock_conn_release(c);
		return;
	}
	c->line_len = (uint8_t)(c->line_len + take);
	if (end ? !start_request(c) : c->line_len == VSOCK_LINE_MAX)
		vsock_conn_release(c);
}

bool vsock_host_confirm(struct vsock_conn *c)
{
	char text[24];
	int len =
		snprintf(text, sizeof(text), "OK %u\n", (unsigned)c->host_port);

	return send(c->fd, text, (size_t)len, MSG_DONTWAIT | MSG_NOSIGNAL) ==
	       len;
}

/* n more bytes of the guest have found their way. */
static void forwarded(struct vsock_conn *c, uint32_t n)
{
	c->forwarded += n;
	/* Less is not worth a packet: the guest still has half its credit. */
	if (c->forwarded - c->forwarded_told >= VIRTIO_VSOCK_BUF_LEN / 2 &&
	    (c->state == VSOCK_OPEN || c->state == VSOCK_CLOSING))
		c->owed |= VSOCK_OWE_CREDIT_UPDATE;
}

static void discard_buffer(struct vsock_conn *c)
{
	uint32_t lost = c->buf_len;

	c->buf_start = c->buf_len = 0;
	forwarded(c, lost);
}

/* The host does not read any more: what the guest sends goes nowhere. */
static void host_stopped_reading(struct vsock_conn *c)
{
	discard_buffer(c);
	if (c->state == VSOCK_OPEN && !(c->host_shut & VSOCK_SHUT_RCV)) {
		c->host_shut |= VSOCK_SHUT_RCV;
		c->owed |= VSOCK_OWE_SHUTDOWN;
	}
}

/* Bytes taken by the host's socket; -EPIPE when it takes none ever again. */
static ssize_t send_parts(struct vsock_conn *c, struct iovec *iov, size_t count)
{
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = count };
	ssize_t n;

	do {
		n = sendmsg(c->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	if (n >= 0)
		return n;
	/* ENOBUFS: the host is short of memory for a moment. */
	return errno == EAGAIN || errno == ENOBUFS ? 0 : -EPIPE;
}

/* The tail of the chain goes to the buffer; credit says that it fits. */
static void buffer_rest(struct vsock_conn *c, const struct virtq_chain *chain,
			size_t offset, uint32_t len)
{
	while (len) {
		uint32_t at =
			(c->buf_start + c->buf_len) % VIRTIO_VSOCK_BUF_LEN;
		uint32_t n = VIRTIO_VSOCK_BUF_LEN - at;

		if (n > len)
			n = len;
		(void)virtq_chain_read(chain, offset, c->buf + at, n);
		c->buf_len += n;
		c->buf_used = true;
		offset += n;
		len -= n;
	}
}

void vsock_host_write(struct vsock_conn *c, struct virtq_chain *chain,
		      size_t offset, uint32_t len)
{
	struct iovec save[VIRTQ_CHAIN_MAX], *iov;
	ssize_t n = 0;

	if (c->fd < 0 || (c->host_shut & VSOCK_SHUT_RCV)) {
		forwarded(c, len);
		return;
	}
	if (!c->buf_len) {
		size_t count = chain->read_count;

		memcpy(save, chain->iov, count * sizeof(*save));
		count = vsock_iov_cut(save, count, offset, len, &iov);
		n = send_parts(c, iov, count);
		if (n < 0) {
			host_stopped_reading(c);
			forwarded(c, len);
			return;
		}
		forwarded(c, (uint32_t)n);
	}
	buffer_rest(c, chain, offset + (size_t)n, len - (uint32_t)n);
}

/* Everything the guest sent has left, and it will send no more. */
static void write_side_done(struct vsock_conn *c)
{
	if (c->state == VSOCK_DRAINING) {
		/* The RST that ends it may still wait for a guest buffer. */
		if (c->hashed)
			vsock_conn_reset(c);
		else
			vsock_conn_release(c);
		return;
	}
	(void)shutdown(c->fd, SHUT_WR);
}

void vsock_host_flush(struct vsock_conn *c)
{
	while (c->buf_len) {
		uint32_t to_end = VIRTIO_VSOCK_BUF_LEN - c->buf_start;
		uint32_t first = c->buf_len < to_end ? c->buf_len : to_end;
		struct iovec iov[2] = {
			{ .iov_base = c->buf + c->buf_start, .iov_len = first },
			{ .iov_base = c->buf, .iov_len = c->buf_len - first },
		};
		ssize_t n = send_parts(c, iov, 2);

		if (n == 0)
			return;
		if (n < 0) {
			host_stopped_reading(c);
			break;
		}
		c->buf_start =
			(c->buf_start + (uint32_t)n) % VIRTIO_VSOCK_BUF_LEN;
		c->buf_len -= (uint32_t)n;
		forwarded(c, (uint32_t)n);
		if (c->state == VSOCK_DRAINING)
			loop_timer_arm(&c->timer, c->vs->linger_timeout_ms);
	}
	if (c->guest_shut & VSOCK_SHUT_SEND)
		write_side_done(c);
}

void vsock_host_refuse(struct vsock_conn *c)
{
	c->readable = false;
	/* Nothing is left to wait for on a socket that has hung up. */
	if (c->hup)
		vsock_conn_host_closed(c);
	else
		(void)shutdown(c->fd, SHUT_RD);
}

/* Both ways are closed. epoll would repeat that for ever. */
static void hung_up(struct vsock_conn *c)
{
	loop_remove(&c->source);
	c->hup = true;
	switch (c->state) {
	case VSOCK_LINE:
	case VSOCK_DRAINING:
	case VSOCK_REQUESTED:
		vsock_conn_reset(c);
		break;
	case VSOCK_OPEN:
		discard_buffer(c);
		c->host_shut |= VSOCK_SHUT_RCV;
		if ((c->host_shut & VSOCK_SHUT_SEND) ||
		    (c->guest_shut & VSOCK_SHUT_RCV)) {
			vsock_conn_host_closed(c);
			break;
		}
		/* The guest still gets what was sent before, then SHUTDOWN. */
		c->readable = true;
		vsock_conn_update(c);
		break;
	case VSOCK_FREE:
	case VSOCK_CLOSING:
	case VSOCK_RESET:
		break;
	}
}

void vsock_host_event(struct loop_source *source, uint32_t events)
{
	struct vsock_conn *c = source->data;
	struct vsock *vs = c->vs;

	if (c->state == VSOCK_LINE && (events & EPOLLIN)) {
		read_line(c);
	} else if (events & (EPOLLHUP | EPOLLERR)) {
		hung_up(c);
	} else {
		if (events & EPOLLIN)
			c->readable = true;
		if (events & EPOLLOUT)
			vsock_host_flush(c);
		if (c->state != VSOCK_FREE)
			vsock_conn_update(c);
	}
	vsock_run(vs);
}
