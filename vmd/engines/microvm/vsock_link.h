/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection to an agent behind the monitor's vsock: we call the guest
 * (vsock.sock with "CONNECT 1000\n", answered "OK <port>\n"). Nothing is taken
 * from the guest: any process in it may call the host, and none may be
 * mistaken for the agent.
 *
 * Loop thread only; the callback may close the link, whose memory must then
 * stay valid until it returns.
 */
#ifndef VMD_VSOCK_LINK_H
#define VMD_VSOCK_LINK_H

#include <stddef.h>
#include <stdint.h>

#include "base/loop.h"

/* A byte stream to the agent; fd is owned by the receiver. */
typedef void vsock_link_fn(void *ctx, int fd);

struct vsock_link {
	struct loop *loop;
	int dirfd; /* borrowed */
	int fd; /* of the call under way, or -1 */
	struct loop_source source;
	uint64_t call_ms; /* when the call was made */
	size_t used;
	char answer[32];
	vsock_link_fn *fn;
	void *ctx;
};

/* dirfd: the run directory of the VM, open as long as the link. */
void vsock_link_init(struct vsock_link *l, struct loop *loop, int dirfd,
		     vsock_link_fn *fn, void *ctx);
/* Calls the guest, unless a recent call still waits for its answer. */
void vsock_link_call(struct vsock_link *l);
/* Also fine with zeroed memory. */
void vsock_link_close(struct vsock_link *l);

#endif
