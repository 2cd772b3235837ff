/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The byte stream to the host: a vsock connection, a virtio-serial port, or a
 * descriptor that was given (tests).
 *
 * vsock: we listen on a port that only root may bind, and take callers from the
 * host (CID 2) alone: a process of the guest can neither be taken for the agent
 * nor for the host. The newest connection wins: only the host makes any.
 * virtio-serial: poll() reports POLLHUP all the time while nobody is connected
 * at the host's end, so then the port is not polled but watched through an
 * edge-triggered epoll, which reports changes only.
 *
 * Source: Linux, Documentation/ABI (virtio-ports), vsock(7).
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "agent/agent.h"

enum {
	VSOCK_FAMILY = 40,
	VSOCK_HOST = 2
};
#define VSOCK_GET_CID _IO(7, 0xb9)
#define VSOCK_CID_ANY UINT32_MAX

/* struct sockaddr_vm of vsock(7). */
struct vsock_address {
	sa_family_t family;
	uint16_t reserved;
	uint32_t port, cid;
	uint8_t flags, zero[3];
};

static void close_slot(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
	*fd = -1;
}

void channel_init(struct channel *c)
{
	memset(c, 0, sizeof(*c));
	c->fd = c->listener = c->uevents = c->wait = -1;
}

static void input_clear(struct agent *a)
{
	a->channel.in_start = a->channel.in_end = 0;
	wire_parser_reset(&a->parser);
}

/* A new byte stream: nothing of the old one is left on either side. */
static void replace(struct agent *a, int fd)
{
	session_end(a);
	outq_clear(&a->out);
	input_clear(a);
	close_slot(&a->channel.fd);
	a->channel.fd = fd;
}

void channel_use_fd(struct agent *a, int fd)
{
	(void)fcntl(fd, F_SETFL, O_NONBLOCK);
	(void)fcntl(fd, F_SETFD, FD_CLOEXEC);
	a->channel.kind = CHANNEL_FD;
	replace(a, fd);
}

/* ---- vsock ------------------------------------------------------------------ */

static uint32_t vsock_cid(void)
{
	uint32_t cid = VSOCK_CID_ANY;
	int fd = open("/dev/vsock", O_RDONLY | O_CLOEXEC);

	if (fd >= 0 && ioctl(fd, VSOCK_GET_CID, &cid) < 0)
		cid = VSOCK_CID_ANY;
	close_slot(&fd);
	return cid;
}

static int vsock_socket(void)
{
	return socket(VSOCK_FAMILY, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
		      0);
}

static bool vsock_open(struct channel *c)
{
	struct vsock_address at = { .family = VSOCK_FAMILY,
				    .port = WIRE_VSOCK_PORT };
	uint32_t cid = vsock_cid();

	if (cid == VSOCK_CID_ANY || cid <= VSOCK_HOST)
		return false;
	c->listener = vsock_socket();
	at.cid = VSOCK_CID_ANY;
	if (c->listener < 0 ||
	    bind(c->listener, (struct sockaddr *)&at, sizeof(at)) < 0 ||
	    listen(c->listener, 4) < 0) {
		say("cannot listen on vsock port %d: %s", WIRE_VSOCK_PORT,
		    strerror(errno));
		close_slot(&c->listener);
		return false;
	}
	c->kind = CHANNEL_VSOCK;
	say_debug("vsock: CID %u", (unsigned int)cid);
	return true;
}

static void on_accept(struct agent *a, void *data, short revents)
{
	struct vsock_address from = { .cid = VSOCK_CID_ANY };
	socklen_t len = sizeof(from);
	int fd = accept4(a->channel.listener, (struct sockaddr *)&from, &len,
			 SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)data;
	(void)revents;
	if (fd < 0)
		return;
	if (len < sizeof(from) || from.family != VSOCK_FAMILY ||
	    from.cid != VSOCK_HOST) {
		say("vsock: CID %u is not the host: refused",
		    (unsigned int)from.cid);
		close_slot(&fd);
		return;
	}
	replace(a, fd);
}

/* ---- virtio-serial ------------------------------------------------------------ */

static bool serial_host_here(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, 0) >= 0 && !(p.revents & POLLHUP);
}

/* Registers before it looks: a change in between is an event. */
static void serial_wait(struct channel *c)
{
	struct epoll_event e = { .events = EPOLLIN | EPOLLOUT | EPOLLET };

	if (c->wait < 0) {
		c->wait = epoll_create1(EPOLL_CLOEXEC);
		(void)epoll_ctl(c->wait, EPOLL_CTL_ADD, c->fd, &e);
	}
	(void)epoll_wait(c->wait, &e, 1, 0);
	c->host_away = !serial_host_here(c->fd);
}

static bool serial_start(struct agent *a)
{
	int fd = serial_open(WIRE_PORT_NAME);

	if (fd < 0)
		return false;
	a->channel.kind = CHANNEL_SERIAL;
	a->channel.fd = fd;
	serial_wait(&a->channel);
	say_debug("virtio-serial port %s", WIRE_PORT_NAME);
	return true;
}

static void on_serial_change(struct agent *a, void *data, short revents)
{
	(void)data;
	(void)revents;
	serial_wait(&a->channel);
}

/* ---- whichever it is ------------------------------------------------------------ */

void channel_open(struct agent *a)
{
	const char *wish = a->channel_wish;
	struct channel *c = &a->channel;

	if (c->kind != CHANNEL_NONE)
		return;
	/* Listening for changes before looking: none is missed. */
	if (c->uevents < 0)
		c->uevents = uevents_open();
	if (wish && strcmp(wish, "vsock") == 0)
		(void)vsock_open(c);
	else if ((wish && strcmp(wish, "serial") == 0) || !vsock_open(c))
		(void)serial_start(a);
	if (c->kind != CHANNEL_NONE)
		close_slot(&c->uevents);
}

static void on_uevent(struct agent *a, void *data, short revents)
{
	char text[4096];

	(void)data;
	(void)revents;
	while (recv(a->channel.uevents, text, sizeof(text), MSG_DONTWAIT) > 0)
		;
	channel_open(a);
}

static void lost(struct agent *a)
{
	struct channel *c = &a->channel;

	say_debug("the host is gone");
	session_end(a);
	input_clear(a);
	if (c->kind == CHANNEL_SERIAL) {
		serial_wait(c);
		return;
	}
	outq_clear(&a->out);
	close_slot(&c->fd);
	if (c->kind == CHANNEL_FD)
		a->quit = true;
}

bool channel_busy(const struct agent *a)
{
	return a->channel.in_start < a->channel.in_end &&
	       outq_len(&a->out) <= OUTQ_INPUT_LEVEL;
}

void channel_parse(struct agent *a)
{
	struct channel *c = &a->channel;

	while (channel_busy(a))
		c->in_start += wire_parser_feed(&a->parser, c->in + c->in_start,
						c->in_end - c->in_start,
						session_frame, a);
}

/*
 * One turn's worth. A port of QEMU gives one buffer of 4 KiB for each piece and ends
 * with one that is not full; no call is made to learn that nothing is left, for
 * poll() tells.
 */
static void receive(struct agent *a)
{
	struct channel *c = &a->channel;
	struct iovec pieces[HOST_READ_MAX / HOST_PIECE];
	const int count = sizeof(pieces) / sizeof(pieces[0]);
	ssize_t n;

	for (int i = 0; i < count; i++)
		pieces[i] = (struct iovec){ c->in + (size_t)i * HOST_PIECE,
					    HOST_PIECE };
	n = readv(c->fd, pieces, count);
	if (n > 0) {
		c->in_start = 0;
		c->in_end = (size_t)n;
		channel_parse(a);
	} else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
		lost(a);
	}
}

static bool wants_input(const struct agent *a)
{
	return a->channel.in_start == a->channel.in_end &&
	       outq_len(&a->out) <= OUTQ_INPUT_LEVEL;
}

static void on_host(struct agent *a, void *data, short revents)
{
	/* It may have been replaced in this very round. */
	if ((int)(intptr_t)data != a->channel.fd)
		return;
	if (wants_input(a) && (revents & (POLLIN | POLLHUP | POLLERR)))
		receive(a);
	else if (revents & (POLLHUP | POLLERR))
		lost(a);
}

void channel_poll(struct agent *a)
{
	struct channel *c = &a->channel;
	short events = 0;

	if (c->uevents >= 0)
		agent_poll_add(a, c->uevents, POLLIN, on_uevent, NULL);
	if (c->listener >= 0)
		agent_poll_add(a, c->listener, POLLIN, on_accept, NULL);
	if (c->fd < 0)
		return;
	if (c->host_away) {
		agent_poll_add(a, c->wait, POLLIN, on_serial_change, NULL);
		return;
	}
	if (wants_input(a))
		events |= POLLIN;
	if (outq_len(&a->out))
		events |= POLLOUT;
	agent_poll_add(a, c->fd, events, on_host, (void *)(intptr_t)c->fd);
}

void channel_flush(struct agent *a)
{
	struct outq *q = &a->out;

	if (q->overflow) {
		/* Cannot happen with an honest host: see OUTQ_INPUT_LEVEL. */
		say("the host does not read: its session is closed");
		lost(a);
	}
	while (a->channel.fd >= 0 && !a->channel.host_away && outq_len(q)) {
		ssize_t n =
			write(a->channel.fd, q->data + q->start, outq_len(q));

		if (n <= 0) {
			if (n < 0 && errno != EAGAIN && errno != EINTR)
				lost(a);
			return;
		}
		outq_sent(q, (size_t)n);
	}
}
