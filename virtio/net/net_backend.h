/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What carries frames for a network device. A backend owns its descriptor and
 * its buffers, all allocated at creation; it never touches guest memory except
 * through the iovecs it is given, and knows nothing of queues.
 */
#ifndef VIRTIO_NET_BACKEND_H
#define VIRTIO_NET_BACKEND_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/err.h"
#include "virtio/net/net_wire.h"

struct net_backend;

/*
 * A frame from the host, kept by the backend until frame_done(). Whoever changes
 * data (completes a checksum) changes hdr with it: the frame may be given again.
 */
struct net_frame {
	struct net_hdr hdr; /* num_buffers is not set */
	uint8_t *data;
	size_t len; /* NET_ETH_HDR_LEN..NET_FRAME_MAX */
};

struct net_backend_ops {
	const char *name;
	/*
	 * The next frame: 1 with *ret set, 0 when there is none now, -ENOBUFS
	 * (see net_errno), or -errno: the link is lost. The same frame is given again until
	 * frame_done(), as it was left. may_read false: only what is in memory
	 * already.
	 */
	int (*next_frame)(struct net_backend *b, bool may_read,
			  struct net_frame **ret);
	void (*frame_done)(struct net_backend *b);
	/*
	 * Takes one whole frame of len bytes: 0; -EAGAIN: no room now, wait for
	 * EPOLLOUT; -ENOBUFS; -EMSGSIZE: this frame cannot be carried; other:
	 * link lost.
	 * hdr was checked against len and the negotiated features.
	 */
	int (*send)(struct net_backend *b, const struct net_hdr *hdr,
		    const struct iovec *iov, size_t count, size_t len);
	/* Writes what send() gathered: 0, -EAGAIN (EPOLLOUT), -ENOBUFS, or link
	 * lost. */
	int (*flush)(struct net_backend *b);
	/* The driver's features are final: what next_frame may give. */
	int (*set_features)(struct net_backend *b, uint64_t features);
};

/* The first member of what net_*_new() allocates. */
struct net_backend {
	const struct net_backend_ops *ops;
	int fd;
	uint64_t features; /* NET_F_* bits the backend can serve */
};

/*
 * The host is short of memory: no reason to lose a link, but no event tells when
 * it is over. Such calls answer -ENOBUFS: try again in a moment.
 */
static inline int net_errno(int sys)
{
	return sys == ENOMEM ? -ENOBUFS : -sys;
}

/* What a stream can serve. */
#define NET_STREAM_FEATURES (1ull << NET_F_CSUM)

/* On success the backend owns fd; on failure the caller still does. */
int net_tap_new(int fd, struct net_backend **ret, struct err *e);
int net_stream_new(int fd, struct net_backend **ret, struct err *e);

/* Closes the descriptor. */
static inline void net_backend_free(struct net_backend *b)
{
	if (!b)
		return;
	(void)close(b->fd);
	free(b);
}

#endif
