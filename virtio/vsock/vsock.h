/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The socket device (VIRTIO 1.2, section 5.10): stream connections between the
 * guest and unix sockets of the host, in Firecracker's convention.
 *
 * Host to guest: a client of the listening socket sends "CONNECT <port>\n";
 * when the guest accepts it reads "OK <host port>\n" and then the stream. When
 * the guest refuses, is not there or does not answer, the client sees the end
 * of the stream.
 *
 * Guest to host: a connection to CID 2, port P goes to the unix socket
 * "<base>_<P>"; when nobody listens there the guest's connect is reset.
 *
 * Everything the guest sends is hostile, and so is what a client writes before
 * the stream is open. Both directions are flow-controlled: bytes for the guest
 * stay in the host's socket until the guest has buffers and credit, bytes for
 * the host in a fixed buffer per connection, whose size is the guest's credit.
 */
#ifndef VIRTIO_VSOCK_H
#define VIRTIO_VSOCK_H

#include <stdint.h>

#include "base/err.h"
#include "base/loop.h"
#include "virtio/device.h"
#include "virtio/guest_mem.h"

enum {
	/* All connections of a guest; the limits below are parts of it. */
	VIRTIO_VSOCK_CONNS_MAX = 256,
	/* What the guest may open: the rest is kept for the host's clients. */
	VIRTIO_VSOCK_GUEST_CONNS_MAX = 192,
	/* Credit of the guest per connection, and the buffer behind it. */
	VIRTIO_VSOCK_BUF_LEN = 128 * 1024
};

struct virtio_vsock_config {
	uint64_t guest_cid; /* 3..2^32-2 */
	int listen_fd; /* owned by the device after success; -1: none */
	int dir_fd; /* where base lies; borrowed; AT_FDCWD */
	const char *base; /* copied; "vsock.sock"; NULL: guest refused */
	/* In place of base: connects for the guest to what stands for a port. 0 and
	 * a non-blocking socket, or -errno; must not wait for anybody. */
	int (*connect)(void *ctx, uint32_t port, int *ret_fd);
	void *connect_ctx;
	/* Deadlines in ms; 0: the default in vsock_conn.c. */
	uint64_t connect_timeout_ms; /* CONNECT line; the guest's answer */
	uint64_t linger_timeout_ms; /* last words to a peer that is gone */
};

struct virtio_vsock_stats {
	uint64_t opened; /* connections that reached the open state */
	uint64_t refused; /* requests of the guest answered by a reset */
	uint64_t resets; /* connections ended by a reset of ours */
	uint64_t dropped; /* packets of the guest that were ignored */
	unsigned in_use; /* slots taken now */
};

/*
 * Creates the device; config is read only during the call. The device is freed,
 * with its memory and the listening socket, by its ops->free. dir_fd must stay
 * open as long as the device lives. Errors: vsock_config_invalid, no_memory.
 *
 * System calls after creation: accept4, socket, connect, recvfrom, readv,
 * sendto, sendmsg, shutdown, close, madvise, epoll_ctl, timerfd_settime.
 */
int virtio_vsock_new(const struct virtio_vsock_config *config,
		     const struct guest_mem *mem, struct loop *loop,
		     struct virtio_device **ret, struct err *e);

const struct virtio_vsock_stats *
virtio_vsock_stats(const struct virtio_device *dev);

#endif
