/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packets from the guest. The header is copied once and only the copy is used;
 * bytes go from guest memory to the host's socket. See vsock_internal.h.
 *
 * A chain that does not hold what its header says breaks the device's rules and
 * fails it. A packet that breaks the protocol of a connection resets that
 * connection, as 5.10.6 asks.
 */
#include <errno.h>

#include "base/cleanup.h"
#include "virtio/vsock/vsock_internal.h"

/* The guest wants a connection to a port of the host. */
static void accept_request(struct vsock *vs, const struct vsock_hdr *hdr)
{
	AUTO(fd) int fd = -1;
	struct vsock_conn *c = NULL;

	if (vs->guest_conns < VIRTIO_VSOCK_GUEST_CONNS_MAX &&
	    vsock_host_connect(vs, hdr->dst_port, &fd) == 0)
		c = vsock_conn_new(vs, fd, true);
	if (!c) {
		vs->stats.refused++;
		(void)vsock_orphan_add(vs, hdr);
		return;
	}
	(void)take_fd(&fd);
	c->guest_port = hdr->src_port;
	c->host_port = hdr->dst_port;
	c->peer_alloc = hdr->buf_alloc;
	c->peer_fwd = hdr->fwd_cnt;
	c->owed = VSOCK_OWE_RESPONSE;
	vs->stats.opened++;
	vsock_conn_insert(c);
	vsock_conn_update(c);
}

/* The guest accepted what a client of the host asked for. */
static void on_response(struct vsock_conn *c)
{
	if (c->state != VSOCK_REQUESTED || (c->owed & VSOCK_OWE_REQUEST) ||
	    !vsock_host_confirm(c)) {
		vsock_conn_reset(c);
		return;
	}
	loop_timer_disarm(&c->timer);
	c->state = VSOCK_OPEN;
	c->vs->stats.opened++;
}

static void on_shutdown(struct vsock_conn *c, uint32_t flags)
{
	struct vsock *vs = c->vs;

	if (c->state == VSOCK_REQUESTED) {
		vsock_conn_reset(c);
		return;
	}
	c->guest_shut |= flags & VSOCK_SHUT_BOTH;
	if (c->guest_shut == VSOCK_SHUT_BOTH) {
		/* The guest is done and waits for our RST (5.10.6.5). */
		if (c->state == VSOCK_CLOSING || !c->buf_len) {
			vsock_conn_reset(c);
			return;
		}
		c->state = VSOCK_DRAINING;
		c->owed = VSOCK_OWE_RST;
		c->readable = false;
		loop_timer_arm(&c->timer, vs->linger_timeout_ms);
		return;
	}
	if (c->state != VSOCK_OPEN)
		return;
	if (c->guest_shut & VSOCK_SHUT_RCV)
		vsock_host_refuse(c);
	else if (!c->buf_len)
		vsock_host_flush(c);
}

static void on_data(struct vsock_conn *c, const struct vsock_hdr *hdr,
		    struct virtq_chain *chain)
{
	uint32_t unread = c->received - c->forwarded;

	if (c->state == VSOCK_REQUESTED || (c->guest_shut & VSOCK_SHUT_SEND) ||
	    hdr->len > VIRTIO_VSOCK_BUF_LEN - unread) {
		vsock_conn_reset(c);
		return;
	}
	c->received += hdr->len;
	vsock_host_write(c, chain, sizeof(*hdr), hdr->len);
}

/* The guest ended it without ceremony. */
static void on_rst(struct vsock_conn *c)
{
	if (c->state == VSOCK_DRAINING) {
		c->owed = 0;
		vsock_conn_unhash(c);
		vsock_conn_update(c);
		return;
	}
	vsock_conn_release(c);
}

static void on_packet(struct vsock_conn *c, const struct vsock_hdr *hdr,
		      struct virtq_chain *chain)
{
	if (hdr->op == VSOCK_OP_RST) {
		on_rst(c);
		return;
	}
	/* Crossed our RST on its way. */
	if (c->state == VSOCK_RESET || c->state == VSOCK_DRAINING) {
		c->vs->stats.dropped++;
		return;
	}
	c->peer_alloc = hdr->buf_alloc;
	c->peer_fwd = hdr->fwd_cnt;
	if (vsock_conn_credit(c))
		c->credit_asked = false;
	switch (hdr->op) {
	case VSOCK_OP_RESPONSE:
		on_response(c);
		break;
	case VSOCK_OP_SHUTDOWN:
		on_shutdown(c, hdr->flags);
		break;
	case VSOCK_OP_RW:
		on_data(c, hdr, chain);
		break;
	case VSOCK_OP_CREDIT_UPDATE:
		break;
	case VSOCK_OP_CREDIT_REQUEST:
		c->owed |= VSOCK_OWE_CREDIT_UPDATE;
		break;
	default:
		vsock_conn_reset(c);
		break;
	}
	if (c->state != VSOCK_FREE)
		vsock_conn_update(c);
}

/* False when the device has failed. */
static bool handle_chain(struct vsock *vs, struct virtq_chain *chain)
{
	struct vsock_conn *c;
	struct vsock_hdr hdr;

	if (virtq_chain_read(chain, 0, &hdr, sizeof(hdr)) != sizeof(hdr) ||
	    hdr.len > chain->read_len - sizeof(hdr)) {
		virtio_device_fail(&vs->dev, "packet of %llu bytes",
				   (unsigned long long)chain->read_len);
		return false;
	}
	if (hdr.src_cid != vs->space.guest_cid) {
		vs->stats.dropped++;
		return true;
	}
	if (hdr.type != VSOCK_TYPE_STREAM || hdr.dst_cid != VSOCK_CID_HOST) {
		if (hdr.op != VSOCK_OP_RST)
			(void)vsock_orphan_add(vs, &hdr);
		vs->stats.dropped++;
		return true;
	}
	c = vsock_conn_find(vs, hdr.src_port, hdr.dst_port);
	if (c)
		on_packet(c, &hdr, chain);
	else if (hdr.op == VSOCK_OP_REQUEST)
		accept_request(vs, &hdr);
	else if (hdr.op != VSOCK_OP_RST)
		(void)vsock_orphan_add(vs, &hdr);
	return true;
}

void vsock_tx_run(struct vsock *vs)
{
	struct virtq *q = &vs->dev.queues[VSOCK_QUEUE_TX];
	unsigned done = 0;

	vs->tx_stalled = false;
	if (!vs->dev.active || !q->ready)
		return;
	virtq_enable_kicks(q, false);
	while (done < VSOCK_BUDGET) {
		enum virtq_status st;

		/* Each packet may owe the guest one; there must be room. */
		if (vs->orphan_count == VSOCK_ORPHANS) {
			vs->tx_stalled = true;
			break;
		}
		st = virtq_pop(q, &vs->tx_chain);
		if (st == VIRTQ_EMPTY) {
			virtq_enable_kicks(q, true);
			if (virtq_pending(q) == 0)
				break;
			virtq_enable_kicks(q, false);
			continue;
		}
		if (st == VIRTQ_OK && !handle_chain(vs, &vs->tx_chain))
			return;
		if (st == VIRTQ_BROKEN ||
		    !virtq_push(q, vs->tx_chain.head, 0)) {
			virtio_device_fail(&vs->dev, "transmit ring");
			return;
		}
		done++;
	}
	if (done == VSOCK_BUDGET)
		loop_timer_arm_soon(&vs->again);
	if (done)
		virtio_device_signal(&vs->dev, VSOCK_QUEUE_TX);
}

void vsock_run(struct vsock *vs)
{
	vsock_rx_run(vs);
	/* Sent resets make room for the packets that wait behind them. */
	if (vs->tx_stalled && vs->orphan_count < VSOCK_ORPHANS) {
		vsock_tx_run(vs);
		vsock_rx_run(vs);
		if (vs->tx_stalled && vs->orphan_count < VSOCK_ORPHANS)
			loop_timer_arm_soon(&vs->again);
	}
}
