/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections of the socket device: slots, the table by ports, the list of
 * those that have something for the guest, deadlines. See vsock_internal.h.
 *
 * All slots and the area of their buffers are made at start. A buffer's pages
 * exist from its first use to the end of the connection.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/cleanup.h"
#include "virtio/vsock/vsock_internal.h"

static const size_t area_len =
	(size_t)VIRTIO_VSOCK_CONNS_MAX * VIRTIO_VSOCK_BUF_LEN;

/* The guest chooses ports; the worst it can do is one long bucket. */
static size_t bucket(uint32_t guest_port, uint32_t host_port)
{
	uint32_t h = guest_port * 0x9e3779b1u ^ host_port * 0x85ebca6bu;

	return (h ^ h >> 16) & (VSOCK_HASH - 1);
}

struct vsock_conn *vsock_conn_find(const struct vsock *vs, uint32_t guest_port,
				   uint32_t host_port)
{
	struct vsock_conn *c = vs->hash[bucket(guest_port, host_port)];

	while (c && (c->guest_port != guest_port || c->host_port != host_port))
		c = c->next_hash;
	return c;
}

void vsock_conn_insert(struct vsock_conn *c)
{
	struct vsock_conn **at =
		&c->vs->hash[bucket(c->guest_port, c->host_port)];

	c->next_hash = *at;
	*at = c;
	c->hashed = true;
}

void vsock_conn_unhash(struct vsock_conn *c)
{
	struct vsock_conn **at =
		&c->vs->hash[bucket(c->guest_port, c->host_port)];

	if (!c->hashed)
		return;
	while (*at != c)
		at = &(*at)->next_hash;
	*at = c->next_hash;
	c->hashed = false;
}

static void ready_append(struct vsock_conn *c)
{
	struct vsock *vs = c->vs;

	c->prev_ready = vs->ready_tail;
	c->next_ready = NULL;
	if (vs->ready_tail)
		vs->ready_tail->next_ready = c;
	else
		vs->ready_head = c;
	vs->ready_tail = c;
	c->in_ready = true;
}

void vsock_ready_remove(struct vsock_conn *c)
{
	struct vsock *vs = c->vs;

	if (!c->in_ready)
		return;
	if (c->prev_ready)
		c->prev_ready->next_ready = c->next_ready;
	else
		vs->ready_head = c->next_ready;
	if (c->next_ready)
		c->next_ready->prev_ready = c->prev_ready;
	else
		vs->ready_tail = c->prev_ready;
	c->in_ready = false;
}

/* A deadline passed: nobody answered. */
static void conn_timeout(struct loop_timer *timer)
{
	struct vsock_conn *c = timer->data;
	struct vsock *vs = c->vs;

	if (c->state == VSOCK_LINE || !c->hashed)
		vsock_conn_release(c);
	else
		vsock_conn_reset(c);
	vsock_run(vs);
}

struct vsock_conn *vsock_conn_new(struct vsock *vs, int fd, bool by_guest)
{
	struct vsock_conn *c = vs->free_slots;
	uint8_t *buf;

	if (!c || (by_guest && vs->guest_conns >= VIRTIO_VSOCK_GUEST_CONNS_MAX))
		return NULL;
	buf = c->buf;
	if (loop_add(vs->dev.loop, &c->source, fd, 0, vsock_host_event, c) < 0)
		return NULL;
	vs->free_slots = c->next_hash;
	*c = (struct vsock_conn){ .vs = vs,
				  .state = by_guest ? VSOCK_OPEN : VSOCK_LINE,
				  .by_guest = by_guest,
				  .fd = fd,
				  .source = c->source,
				  .buf = buf };
	loop_timer_init(vs->dev.loop, &c->timer, conn_timeout, c);
	if (by_guest)
		vs->guest_conns++;
	vs->stats.in_use++;
	return c;
}

/* The host side goes; what was buffered for it counts as delivered. */
static void close_host(struct vsock_conn *c)
{
	loop_remove(&c->source);
	close_fd(&c->fd);
	c->forwarded += c->buf_len;
	c->buf_start = c->buf_len = 0;
	c->readable = false;
	if (c->buf_used)
		(void)madvise(c->buf, VIRTIO_VSOCK_BUF_LEN, MADV_DONTNEED);
	c->buf_used = false;
}

void vsock_conn_release(struct vsock_conn *c)
{
	struct vsock *vs = c->vs;

	close_host(c);
	loop_timer_disarm(&c->timer);
	vsock_ready_remove(c);
	vsock_conn_unhash(c);
	c->state = VSOCK_FREE;
	c->owed = 0;
	if (c->by_guest)
		vs->guest_conns--;
	vs->stats.in_use--;
	c->next_hash = vs->free_slots;
	vs->free_slots = c;
	vsock_host_listen(vs);
}

void vsock_conns_release_all(struct vsock *vs)
{
	for (size_t i = 0; vs->slots && i < VIRTIO_VSOCK_CONNS_MAX; i++) {
		if (vs->slots[i].state != VSOCK_FREE)
			vsock_conn_release(&vs->slots[i]);
	}
	vs->orphan_count = 0;
}

void vsock_conn_reset(struct vsock_conn *c)
{
	/* What the guest has not heard of needs no end either. */
	if (!c->hashed || (c->owed & VSOCK_OWE_REQUEST)) {
		vsock_conn_release(c);
		return;
	}
	close_host(c);
	loop_timer_disarm(&c->timer);
	c->vs->stats.resets++;
	c->state = VSOCK_RESET;
	c->owed = VSOCK_OWE_RST;
	vsock_conn_update(c);
}

void vsock_conn_host_closed(struct vsock_conn *c)
{
	close_host(c);
	c->host_shut = VSOCK_SHUT_BOTH;
	c->owed |= VSOCK_OWE_SHUTDOWN;
	c->state = VSOCK_CLOSING;
	loop_timer_arm(&c->timer, c->vs->linger_timeout_ms);
	vsock_conn_update(c);
}

uint32_t vsock_conn_credit(const struct vsock_conn *c)
{
	uint32_t in_flight = c->sent - c->peer_fwd;

	return in_flight < c->peer_alloc ? c->peer_alloc - in_flight : 0;
}

/* Bytes or the end of the stream wait for the guest. */
static bool wants_read(const struct vsock_conn *c)
{
	return c->state == VSOCK_OPEN && !(c->host_shut & VSOCK_SHUT_SEND) &&
	       !(c->guest_shut & VSOCK_SHUT_RCV);
}

bool vsock_conn_has_work(const struct vsock_conn *c)
{
	return c->owed ||
	       (c->readable && wants_read(c) && vsock_conn_credit(c));
}

void vsock_conn_update(struct vsock_conn *c)
{
	uint32_t events = 0;
	bool work;

	if (c->readable && wants_read(c) && !vsock_conn_credit(c) &&
	    !c->credit_asked) {
		c->credit_asked = true;
		c->owed |= VSOCK_OWE_CREDIT_REQUEST;
		/* The end may be far off: say now that nobody reads. */
		if (c->hup)
			c->owed |= VSOCK_OWE_SHUTDOWN;
	}
	work = vsock_conn_has_work(c);
	if (work && !c->in_ready)
		ready_append(c);
	else if (!work)
		vsock_ready_remove(c);
	if (!loop_source_active(&c->source))
		return;
	if (c->state == VSOCK_LINE || (wants_read(c) && !c->readable))
		events |= EPOLLIN;
	if (c->buf_len)
		events |= EPOLLOUT;
	(void)loop_modify(&c->source, events);
}

bool vsock_orphan_add(struct vsock *vs, const struct vsock_hdr *hdr)
{
	unsigned at = (vs->orphan_first + vs->orphan_count) % VSOCK_ORPHANS;

	if (vs->orphan_count == VSOCK_ORPHANS)
		return false;
	vs->orphans[at] = (struct vsock_orphan){ .src_cid = hdr->dst_cid,
						 .src_port = hdr->dst_port,
						 .dst_port = hdr->src_port,
						 .type = hdr->type };
	vs->orphan_count++;
	return true;
}

int vsock_conns_init(struct vsock *vs)
{
	vs->slots = calloc(VIRTIO_VSOCK_CONNS_MAX, sizeof(*vs->slots));
	if (!vs->slots)
		return -ENOMEM;
	/* Address space only: pages come with the first byte buffered. */
	vs->area = mmap(NULL, area_len, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (vs->area == MAP_FAILED) {
		vs->area = NULL;
		return -ENOMEM;
	}
	/* Small pages: a few buffered bytes must not cost 2 MiB. */
	(void)madvise(vs->area, area_len, MADV_NOHUGEPAGE);
	for (size_t i = VIRTIO_VSOCK_CONNS_MAX; i-- > 0;) {
		struct vsock_conn *c = &vs->slots[i];

		c->vs = vs;
		c->fd = c->source.fd = -1;
		c->buf = vs->area + i * VIRTIO_VSOCK_BUF_LEN;
		c->next_hash = vs->free_slots;
		vs->free_slots = c;
	}
	return 0;
}

void vsock_conns_done(struct vsock *vs)
{
	vsock_conns_release_all(vs);
	free(take_ptr(vs->slots));
	if (vs->area)
		(void)munmap(vs->area, area_len);
	vs->area = NULL;
}
