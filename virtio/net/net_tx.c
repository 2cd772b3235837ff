/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Transmit side of the network device: guest to backend (5.1.6.2). The header
 * is copied, checked and rebuilt from what was negotiated; the frame is read
 * where it lies. A frame that the rules forbid is dropped and counted; a chain
 * without room for a header breaks the device's rules and fails it.
 */
#include <errno.h>

#include "virtio/net/net_internal.h"

enum {
	/* Frames per call, so that one guest cannot hold the loop. */
	TX_BUDGET = 512
};

/* Rebuilds the header; false when the frame must not leave. */
static bool check_header(const struct virtio_net *net,
			 const struct net_hdr *raw, size_t len,
			 struct net_hdr *ret)
{
	unsigned gso = raw->gso_type & ~(unsigned)NET_GSO_ECN;
	bool csum = raw->flags & NET_HDR_F_NEEDS_CSUM;

	*ret = (struct net_hdr){ .gso_type = NET_GSO_NONE };
	if (len < NET_ETH_HDR_LEN || len > NET_FRAME_MAX)
		return false;
	if (csum) {
		if (!net_has(net, NET_F_CSUM) ||
		    raw->csum_start < NET_ETH_HDR_LEN ||
		    (size_t)raw->csum_start + raw->csum_offset + 2 > len)
			return false;
		ret->flags = NET_HDR_F_NEEDS_CSUM;
		ret->csum_start = raw->csum_start;
		ret->csum_offset = raw->csum_offset;
	}
	if (gso == NET_GSO_NONE)
		return !net_has(net, NET_F_MTU) ||
		       len <= (size_t)net->space.mtu + NET_ETH_HDR_LEN +
				       NET_VLAN_LEN;
	if ((gso != NET_GSO_TCPV4 || !net_has(net, NET_F_HOST_TSO4)) &&
	    (gso != NET_GSO_TCPV6 || !net_has(net, NET_F_HOST_TSO6)))
		return false;
	if ((raw->gso_type & NET_GSO_ECN) && !net_has(net, NET_F_HOST_ECN))
		return false;
	if (!csum || raw->gso_size == 0 || raw->hdr_len > len)
		return false;
	ret->gso_type = raw->gso_type;
	ret->gso_size = raw->gso_size;
	ret->hdr_len = raw->hdr_len;
	return true;
}

/* The read parts behind the header, in place. Returns their number. */
static size_t skip_header(struct virtq_chain *c, struct iovec **ret)
{
	size_t skip = sizeof(struct net_hdr), i = 0;

	while (i < c->read_count && c->iov[i].iov_len <= skip)
		skip -= c->iov[i++].iov_len;
	if (i < c->read_count) {
		c->iov[i].iov_base = (uint8_t *)c->iov[i].iov_base + skip;
		c->iov[i].iov_len -= skip;
	}
	*ret = &c->iov[i];
	return c->read_count - i;
}

/* 0: the chain is dealt with; -EAGAIN, -ENOBUFS; -EPROTO: the device has failed. */
static int send_chain(struct virtio_net *net, struct virtq_chain *c)
{
	struct net_backend *b = net->backend;
	struct net_hdr raw, hdr;
	struct iovec *iov;
	size_t count, len;
	int rc;

	if (c->read_len < sizeof(raw)) {
		virtio_device_fail(&net->dev, "frame of %llu bytes",
				   (unsigned long long)c->read_len);
		return -EPROTO;
	}
	(void)virtq_chain_read(c, 0, &raw, sizeof(raw));
	if (c->read_len - sizeof(raw) > NET_FRAME_MAX)
		len = NET_FRAME_MAX + 1;
	else
		len = (size_t)(c->read_len - sizeof(raw));
	if (!b || !check_header(net, &raw, len, &hdr)) {
		net->stats.tx_dropped++;
		return 0;
	}
	count = skip_header(c, &iov);
	rc = b->ops->send(b, &hdr, iov, count, len);
	if (rc == -EAGAIN || rc == -ENOBUFS)
		return rc;
	if (rc == 0) {
		net->stats.tx_frames++;
		net->stats.tx_bytes += len;
		return 0;
	}
	net->stats.tx_dropped++;
	if (rc != -EMSGSIZE)
		net_link_lost(net, rc);
	return 0;
}

/* Number of frames taken; sets tx_waiting when there is more to do. */
static unsigned drain_queue(struct virtio_net *net, struct virtq *q)
{
	unsigned done = 0;

	virtq_enable_kicks(q, false);
	while (done < TX_BUDGET) {
		enum virtq_status st = virtq_pop(q, &net->chain);

		if (st == VIRTQ_EMPTY) {
			virtq_enable_kicks(q, true);
			if (virtq_pending(q) == 0)
				return done;
			virtq_enable_kicks(q, false);
			continue;
		}
		if (st == VIRTQ_OK) {
			int rc = send_chain(net, &net->chain);

			if (rc == -EAGAIN || rc == -ENOBUFS) {
				virtq_unpop(q);
				net->tx_waiting = true;
				net->starved |= rc == -ENOBUFS;
				return done;
			}
			if (rc < 0)
				return done;
		}
		if (st == VIRTQ_BROKEN || !virtq_push(q, net->chain.head, 0)) {
			virtio_device_fail(&net->dev, "transmit ring");
			return done;
		}
		done++;
	}
	net->tx_waiting = true;
	return done;
}

void net_tx_run(struct virtio_net *net)
{
	struct virtq *q = &net->dev.queues[NET_QUEUE_TX];
	unsigned done = 0;

	net->tx_waiting = false;
	if (net->dev.active && q->ready)
		done = drain_queue(net, q);
	if (net->backend) {
		int rc = net->backend->ops->flush(net->backend);

		if (rc == -EAGAIN || rc == -ENOBUFS) {
			net->tx_waiting = true;
			net->starved |= rc == -ENOBUFS;
		} else if (rc < 0) {
			net_link_lost(net, rc);
		}
	}
	if (done)
		virtio_device_signal(&net->dev, NET_QUEUE_TX);
}
