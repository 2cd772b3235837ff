/* SPDX-License-Identifier: Apache-2.0 */
/* See vsock_link.h. Source: Firecracker's docs/vsock.md for the protocol. */
#include "vmd/engines/microvm/vsock_link.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "agent/wire.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/sock.h"

enum {
	CALL_PATIENCE_MS = 10000
};

static void end_call(struct vsock_link *l)
{
	loop_remove(&l->source);
	close_fd(&l->fd);
	l->used = 0;
}

static void on_answer(struct loop_source *source, uint32_t events)
{
	struct vsock_link *l = source->data;
	int fd;
	ssize_t n;

	(void)events;
	/* Byte by byte: what follows the line belongs to the agent. */
	n = recv(l->fd, l->answer + l->used, 1, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		end_call(l); /* nobody listens in the guest: called again */
		return;
	}
	l->used++;
	if (l->answer[l->used - 1] != '\n') {
		if (l->used == sizeof(l->answer))
			end_call(l);
		return;
	}
	if (strncmp(l->answer, "OK ", 3) != 0) {
		end_call(l);
		return;
	}
	loop_remove(&l->source);
	l->used = 0;
	fd = take_fd(&l->fd);
	l->fn(l->ctx, fd);
}

void vsock_link_init(struct vsock_link *l, struct loop *loop, int dirfd,
		     vsock_link_fn *fn, void *ctx)
{
	*l = (struct vsock_link){ .loop = loop,
				  .dirfd = dirfd,
				  .fd = -1,
				  .source = LOOP_SOURCE_INIT,
				  .fn = fn,
				  .ctx = ctx };
}

void vsock_link_call(struct vsock_link *l)
{
	char call[32];
	int len = snprintf(call, sizeof(call), "CONNECT %d\n", WIRE_VSOCK_PORT);
	int fd = -1;

	/* A guest that is slow to answer is not asked again at once. */
	if (l->fd >= 0 && clock_mono_ms() < l->call_ms + CALL_PATIENCE_MS)
		return;
	end_call(l);
	if (sock_connect_unix(l->dirfd, "vsock.sock", &fd, NULL) < 0)
		return;
	if (send(fd, call, (size_t)len, MSG_NOSIGNAL | MSG_DONTWAIT) != len ||
	    loop_add(l->loop, &l->source, fd, EPOLLIN, on_answer, l) < 0) {
		close_fd(&fd);
		return;
	}
	l->fd = fd;
	l->call_ms = clock_mono_ms();
}

void vsock_link_close(struct vsock_link *l)
{
	if (!l->loop)
		return;
	end_call(l);
}
