/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Receive side of the network device: backend to guest (5.1.6.4). With
 * mergeable buffers a frame spans as many chains as it needs; they become
 * visible to the driver together, when all of it is written. When the driver has
 * too few buffers everything is put back and the frame waits in the backend.
 */
#include <errno.h>

#include "virtio/net/net_csum.h"
#include "virtio/net/net_internal.h"

enum {
	/* Frames per call, so that one device cannot hold the loop. */
	RX_BUDGET = 256
};

enum rx_result {
	RX_DELIVERED,
	RX_DROPPED,
	RX_NO_BUFFERS,
	RX_FAILED
};

/*
 * Frames that were queued in the kernel before the driver's features were known
 * may ask for more than it understands. What is changed here stays with the
 * frame, which may come again: a checksum is completed once.
 */
static bool fit_features(const struct virtio_net *net, struct net_frame *f)
{
	struct net_hdr *h = &f->hdr;
	unsigned gso = h->gso_type & ~(unsigned)NET_GSO_ECN;

	h->num_buffers = 1;
	h->flags &= NET_HDR_F_NEEDS_CSUM | NET_HDR_F_DATA_VALID;
	if ((gso == NET_GSO_TCPV4 && !net_has(net, NET_F_GUEST_TSO4)) ||
	    (gso == NET_GSO_TCPV6 && !net_has(net, NET_F_GUEST_TSO6)) ||
	    (gso && gso != NET_GSO_TCPV4 && gso != NET_GSO_TCPV6))
		return false;
	if (net_has(net, NET_F_GUEST_CSUM))
		return true;
	if ((h->flags & NET_HDR_F_NEEDS_CSUM) &&
	    !net_csum_complete(f->data, f->len, h->csum_start, h->csum_offset))
		return false;
	*h = (struct net_hdr){ .num_buffers = 1 };
	return !gso;
}

static void put_back(struct virtq *q, unsigned count)
{
	while (count--)
		virtq_unpop(q);
}

/*
 * Pops the next buffer chain. When there is none the driver is asked to kick
 * while nothing is popped-and-unused behind the queue's back: only then does
 * the event index point past all buffers it has offered.
 */
static enum virtq_status pop_buffer(struct virtio_net *net, struct virtq *q,
				    struct virtq_chain *c)
{
	enum virtq_status st = virtq_pop(q, c);

	if (st != VIRTQ_EMPTY)
		return st;
	virtq_enable_kicks(q, true);
	net->rx_kicks = true;
	return virtq_pop(q, c);
}

static enum rx_result deliver(struct virtio_net *net, struct net_frame *f)
{
	struct virtq *q = &net->dev.queues[NET_QUEUE_RX];
	bool merge = net_has(net, NET_F_MRG_RXBUF);
	const size_t hdr_len = sizeof(f->hdr);
	size_t done = 0; /* bytes of the frame */
	uint16_t count = 0;

	do {
		struct virtq_chain *c = count ? &net->chain : &net->first;
		size_t skip = count ? 0 : hdr_len, n;
		enum virtq_status st = pop_buffer(net, q, c);

		if (st == VIRTQ_BROKEN) {
			virtio_device_fail(&net->dev, "receive ring");
			return RX_FAILED;
		}
		if (st == VIRTQ_EMPTY) {
			put_back(q, count);
			/* A full ring that is too small will never do. */
			return count < q->size ? RX_NO_BUFFERS : RX_DROPPED;
		}
		if (c->write_len < hdr_len) {
			virtio_device_fail(&net->dev,
					   "receive buffer of %llu bytes",
					   (unsigned long long)c->write_len);
			return RX_FAILED;
		}
		if (!merge && c->write_len < hdr_len + f->len) {
			virtq_unpop(q);
			return RX_DROPPED;
		}
		n = virtq_chain_write(c, skip, f->data + done, f->len - done);
		done += n;
		if (!virtq_stage(q, count, c->head, (uint32_t)(skip + n))) {
			virtio_device_fail(&net->dev, "receive ring");
			return RX_FAILED;
		}
		count++;
	} while (done < f->len);
	f->hdr.num_buffers = count;
	(void)virtq_chain_write(&net->first, 0, &f->hdr, hdr_len);
	virtq_publish(q, count);
	return RX_DELIVERED;
}

void net_rx_run(struct virtio_net *net)
{
	struct virtq *q = &net->dev.queues[NET_QUEUE_RX];
	struct net_frame *frame;
	unsigned delivered = 0;

	net->rx_waiting = false;
	for (unsigned i = 0; net->dev.active && q->ready && net->backend; i++) {
		struct net_backend *b = net->backend;
		enum rx_result result;
		int rc = b->ops->next_frame(b, i < RX_BUDGET, &frame);

		if (rc == -ENOBUFS)
			net->starved = true;
		else if (rc < 0)
			net_link_lost(net, rc);
		if (rc <= 0)
			break;
		result = fit_features(net, frame) ? deliver(net, frame)
						  : RX_DROPPED;
		if (result == RX_FAILED)
			break;
		if (result == RX_NO_BUFFERS) {
			net->rx_waiting = true;
			break;
		}
		if (result == RX_DELIVERED) {
			net->stats.rx_frames++;
			net->stats.rx_bytes += frame->len;
			delivered++;
		} else {
			net->stats.rx_dropped++;
		}
		b->ops->frame_done(b);
	}
	if (!net->rx_waiting && net->rx_kicks && net->dev.active && q->ready) {
		virtq_enable_kicks(q, false);
		net->rx_kicks = false;
	}
	if (delivered)
		virtio_device_signal(&net->dev, NET_QUEUE_RX);
}
