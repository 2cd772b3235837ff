/* SPDX-License-Identifier: Apache-2.0 */
/* The network device's own state, shared by net.c, net_rx.c and net_tx.c. */
#ifndef VIRTIO_NET_INTERNAL_H
#define VIRTIO_NET_INTERNAL_H

#include "base/listener.h"
#include "virtio/net/net.h"
#include "virtio/net/net_backend.h"
#include "virtio/net/net_wire.h"

struct virtio_net {
	struct virtio_device dev;
	struct net_backend *backend; /* NULL: the link is lost */
	struct loop_source source; /* backend->fd */
	struct listener
		listener; /* peers come and go; not open: one for good */
	struct loop_timer again; /* looks again where no event will tell */
	struct net_space space;
	bool rx_waiting; /* a frame waits for guest buffers: do not read */
	bool rx_kicks; /* the driver was asked to kick the rx queue */
	bool starved; /* the host is short of memory: neither for a moment */
	bool tx_waiting; /* the backend has unsent bytes or more is queued */
	struct virtio_net_stats stats;
	void (*link_lost)(void *ctx, const char *why);
	void *ctx;
	/* Scratch: too large for the stack, used within one call only. */
	struct virtq_chain first, chain;
};

static inline bool net_has(const struct virtio_net *net, unsigned bit)
{
	return virtio_has_feature(&net->dev, bit);
}

/* Moves frames while both sides have room; updates the flags above. */
void net_rx_run(struct virtio_net *net);
void net_tx_run(struct virtio_net *net);

/* Closes the backend; the guest learns by link status. */
void net_link_lost(struct virtio_net *net, int rc);

#endif
