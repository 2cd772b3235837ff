/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Both ways to an agent behind the monitor's vsock: the guest calls (a unix
 * socket of ours, vsock.sock_1024), or we call the guest (vsock.sock with
 * "CONNECT 1024\n", answered "OK <port>\n").
 *
 * Loop thread only; the callback may close the link, whose memory must then
 * stay valid until it returns.
 */
#ifndef VMD_VSOCK_LINK_H
#define VMD_VSOCK_LINK_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/listener.h"

/* A byte stream to the agent; fd is owned by the receiver. */
typedef void vsock_link_fn(void *ctx, int fd);

struct vsock_link {
	struct loop *loop;
	int dirfd; /* borrowed */
	int call_fd;
	struct listener listener;
	struct loop_source call_source;
	uint64_t call_ms; /* when the call was made */
	size_t used;
	char answer[32];
	vsock_link_fn *fn;
	void *ctx;
};

void vsock_link_init(struct vsock_link *l);
/* Listens for the guest. */
int vsock_link_open(struct vsock_link *l, struct loop *loop, int dirfd,
		    vsock_link_fn *fn, void *ctx, struct err *e);
/* Calls the guest, unless a recent call still waits for its answer. */
void vsock_link_call(struct vsock_link *l);
void vsock_link_close(struct vsock_link *l);

#endif
