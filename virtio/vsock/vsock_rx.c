/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packets to the guest. One packet per receive buffer, taken in turn from the
 * connections that have something; stream bytes are read from the host's socket
 * straight into the buffer. See vsock_internal.h.
 */
#include <errno.h>
#include <string.h>
#include <sys/uio.h>

#include "virtio/vsock/vsock_internal.h"

size_t vsock_iov_cut(struct iovec *iov, size_t count, size_t offset, size_t len,
		     struct iovec **ret_first)
{
	size_t first = 0, n = 0;

	while (first < count && iov[first].iov_len <= offset)
		offset -= iov[first++].iov_len;
	*ret_first = &iov[first];
	if (first < count) {
		iov[first].iov_base = (uint8_t *)iov[first].iov_base + offset;
		iov[first].iov_len -= offset;
	}
	for (; len && first + n < count; n++) {
		struct iovec *part = &iov[first + n];

		if (part->iov_len > len)
			part->iov_len = len;
		len -= part->iov_len;
	}
	return n;
}

static size_t put_header(const struct vsock *vs, struct virtq_chain *chain,
			 const struct vsock_hdr *hdr)
{
	struct vsock_hdr out = *hdr;

	out.dst_cid = vs->space.guest_cid;
	return virtq_chain_write(chain, 0, &out, sizeof(out));
}

static size_t fill_orphan(struct vsock *vs, struct virtq_chain *chain)
{
	const struct vsock_orphan *o = &vs->orphans[vs->orphan_first];
	struct vsock_hdr hdr = { .src_cid = o->src_cid,
				 .src_port = o->src_port,
				 .dst_port = o->dst_port,
				 .type = o->type,
				 .op = VSOCK_OP_RST };

	vs->orphan_first = (vs->orphan_first + 1) % VSOCK_ORPHANS;
	vs->orphan_count--;
	return put_header(vs, chain, &hdr);
}

static size_t put_conn_header(struct vsock_conn *c, struct virtq_chain *chain,
			      enum vsock_op op, uint32_t len, uint32_t flags)
{
	struct vsock_hdr hdr = { .src_cid = VSOCK_CID_HOST,
				 .src_port = c->host_port,
				 .dst_port = c->guest_port,
				 .len = len,
				 .type = VSOCK_TYPE_STREAM,
				 .op = (uint16_t)op,
				 .flags = flags,
				 .buf_alloc = VIRTIO_VSOCK_BUF_LEN,
				 .fwd_cnt = c->forwarded };

	c->forwarded_told = c->forwarded;
	c->owed &= ~(unsigned)VSOCK_OWE_CREDIT_UPDATE;
	return put_header(c->vs, chain, &hdr) + len;
}

/* One of the packets that carry no bytes. */
static size_t fill_owed(struct vsock_conn *c, struct virtq_chain *chain)
{
	unsigned bit = c->owed & -c->owed; /* the first in their order */
	uint32_t flags = 0;
	enum vsock_op op;

	c->owed &= ~bit;
	switch (bit) {
	case VSOCK_OWE_RST:
		op = VSOCK_OP_RST;
		break;
	case VSOCK_OWE_REQUEST:
		op = VSOCK_OP_REQUEST;
		break;
	case VSOCK_OWE_RESPONSE:
		op = VSOCK_OP_RESPONSE;
		break;
	case VSOCK_OWE_SHUTDOWN:
		op = VSOCK_OP_SHUTDOWN;
		flags = c->host_shut;
		break;
	case VSOCK_OWE_CREDIT_REQUEST:
		op = VSOCK_OP_CREDIT_REQUEST;
		break;
	default:
		op = VSOCK_OP_CREDIT_UPDATE;
		break;
	}
	return put_conn_header(c, chain, op, 0, flags);
}

/* The host will send no more. */
static void end_of_stream(struct vsock_conn *c)
{
	c->readable = false;
	if (c->hup) {
		vsock_conn_host_closed(c);
		return;
	}
	c->host_shut |= VSOCK_SHUT_SEND;
	c->owed |= VSOCK_OWE_SHUTDOWN;
}

/* Bytes of the host's socket; 0 when there are none (now or any more). */
static size_t fill_data(struct vsock_conn *c, struct virtq_chain *chain)
{
	const size_t skip = sizeof(struct vsock_hdr);
	size_t room = (size_t)chain->write_len - skip, count;
	struct iovec save[VIRTQ_CHAIN_MAX], *iov;
	ssize_t n;

	if (room > vsock_conn_credit(c))
		room = vsock_conn_credit(c);
	memcpy(save, chain->iov + chain->read_count,
	       chain->write_count * sizeof(*save));
	count = vsock_iov_cut(save, chain->write_count, skip, room, &iov);
	do {
		n = readv(c->fd, iov, (int)count);
	} while (n < 0 && errno == EINTR);
	if (n < 0 && errno == EAGAIN) {
		c->readable = false;
		return 0;
	}
	if (n <= 0) {
		c->hup = c->hup || n < 0;
		end_of_stream(c);
		return c->owed ? fill_owed(c, chain) : 0;
	}
	/* Less than asked for: the socket is empty, and the loop says when it is
	 * not. Off the loop there is the end still to be read. */
	if ((size_t)n < room && !c->hup)
		c->readable = false;
	c->sent += (uint32_t)n;
	return put_conn_header(c, chain, VSOCK_OP_RW, (uint32_t)n, 0);
}

static size_t fill_conn(struct vsock_conn *c, struct virtq_chain *chain)
{
	size_t n;

	vsock_ready_remove(c);
	if (!c->owed) {
		n = fill_data(c, chain);
	} else {
		n = fill_owed(c, chain);
		if (c->state == VSOCK_RESET) {
			vsock_conn_release(c);
			return n;
		}
		/* An RST that went out while bytes still leave. */
		if (c->state == VSOCK_DRAINING && !c->owed)
			vsock_conn_unhash(c);
	}
	vsock_conn_update(c);
	return n;
}

/* As in net_rx.c: kicks are asked for only when there is no buffer. */
static enum virtq_status pop_buffer(struct vsock *vs, struct virtq *q)
{
	enum virtq_status st = virtq_pop(q, &vs->rx_chain);

	if (st != VIRTQ_EMPTY)
		return st;
	virtq_enable_kicks(q, true);
	vs->rx_kicks = true;
	return virtq_pop(q, &vs->rx_chain);
}

/* One packet. VIRTQ_EMPTY: no buffer. */
static enum virtq_status send_one(struct vsock *vs, struct virtq *q)
{
	struct virtq_chain *chain = &vs->rx_chain;
	enum virtq_status st = pop_buffer(vs, q);
	size_t n;

	if (st == VIRTQ_EMPTY)
		return st;
	/* A header and at least one byte, or nothing could ever be sent. */
	if (st == VIRTQ_BROKEN ||
	    chain->write_len <= sizeof(struct vsock_hdr)) {
		virtio_device_fail(&vs->dev, "receive buffer");
		return VIRTQ_BROKEN;
	}
	n = vs->orphan_count ? fill_orphan(vs, chain)
			     : fill_conn(vs->ready_head, chain);
	if (!n)
		virtq_unpop(q);
	else if (!virtq_push(q, chain->head, (uint32_t)n))
		return VIRTQ_BROKEN;
	return VIRTQ_OK;
}

void vsock_rx_run(struct vsock *vs)
{
	struct virtq *q = &vs->dev.queues[VSOCK_QUEUE_RX];
	uint16_t before = q->next_used;
	enum virtq_status st = VIRTQ_OK;
	unsigned i = 0;

	if (!vs->dev.active || !q->ready)
		return;
	while ((vs->orphan_count || vs->ready_head) && st == VIRTQ_OK &&
	       i++ < VSOCK_BUDGET)
		st = send_one(vs, q);
	if (st == VIRTQ_BROKEN)
		return;
	if (st == VIRTQ_OK && i > VSOCK_BUDGET)
		loop_timer_arm_soon(&vs->again);
	if (st == VIRTQ_OK && vs->rx_kicks) {
		virtq_enable_kicks(q, false);
		vs->rx_kicks = false;
	}
	if (q->next_used != before)
		virtio_device_signal(&vs->dev, VSOCK_QUEUE_RX);
}
