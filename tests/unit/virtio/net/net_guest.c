/* SPDX-License-Identifier: Apache-2.0 */
/* See net_guest.h. */
#include "net_guest.h"

#include <endian.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/sock.h"
#include "tests/must.h"

const uint8_t net_guest_mac[6] = { 2, 0, 0, 0, 0, 0x17 };

uint64_t net_guest_features = ~0ull;

enum {
	TX_BUF_LEN = 68 * 1024
};

static void on_link_lost(void *ctx, const char *why)
{
	struct net_guest *g = ctx;

	(void)why;
	g->lost++;
}

struct virtio_device *net_guest_fresh(struct net_guest *g, uint16_t mtu,
				      int *ret_peer)
{
	struct virtio_net_config config = { .backend = VIRTIO_NET_STREAM,
					    .mtu = mtu,
					    .link_lost = on_link_lost,
					    .ctx = g };
	struct virtio_device *dev;
	struct err e = ERR_INIT;
	int fds[2];

	must(sock_pair(fds) == 0);
	config.fd = fds[0];
	memcpy(config.mac, net_guest_mac, sizeof(config.mac));
	must(virtio_net_new(&config, &g->d.mem, g->loop, &dev, &e) == 0);
	*ret_peer = fds[1];
	return dev;
}

void net_guest_init(struct net_guest *g, uint16_t mtu)
{
	*g = (struct net_guest){ .peer = -1 };
	g->loop = loop_new(NULL);
	must(g->loop);
	fake_driver_init(&g->d);
	g->dev = net_guest_fresh(g, mtu, &g->peer);
	fake_driver_attach(&g->d, g->dev);
}

void net_guest_done(struct net_guest *g)
{
	fake_driver_done(&g->d);
	close_fd(&g->peer);
	loop_free(g->loop);
}

static int set_up(void **state, uint16_t mtu)
{
	struct net_guest *g = malloc(sizeof(*g));

	must(g);
	net_guest_init(g, mtu);
	*state = g;
	return 0;
}

int net_guest_setup(void **state)
{
	return set_up(state, 0);
}

int net_guest_setup_mtu(void **state)
{
	return set_up(state, 1500);
}

int net_guest_teardown(void **state)
{
	net_guest_done(*state);
	free(*state);
	return 0;
}

void net_guest_start(struct net_guest *g, uint64_t features, uint32_t rx_len)
{
	fake_driver_start(&g->d, features & net_guest_features);
	if (g->tx_buf)
		return;
	g->rx_len = rx_len;
	g->tx_buf = fake_alloc(&g->d, TX_BUF_LEN, 64);
	for (unsigned i = 0; i < NET_GUEST_BUFS; i++)
		g->rx_bufs[i] = (uint64_t)i * rx_len + FAKE_HIGH_GPA;
}

void net_guest_post(struct net_guest *g, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		struct fake_queue *q = &g->d.queues[NET_QUEUE_RX];
		uint64_t gpa = g->rx_bufs[q->next_avail % NET_GUEST_BUFS];
		uint16_t head = fake_add(&g->d, NET_QUEUE_RX,
					 FAKE_PARTS({ gpa, g->rx_len, true }));

		g->rx_of_head[head] = gpa;
	}
	(void)fake_kick_if_wanted(&g->d, NET_QUEUE_RX);
}

void net_guest_settle(struct net_guest *g)
{
	uint64_t deadline = clock_mono_ms() + NET_GUEST_WAIT_MS;

	/* 3 ms: longer than a timer armed with 0 needs. */
	while (loop_run_once(g->loop, 3) > 0)
		must(clock_mono_ms() < deadline);
}

void net_guest_send(struct net_guest *g, const struct net_hdr *hdr,
		    const void *frame, uint32_t len)
{
	uint8_t *p = fake_ptr(&g->d, g->tx_buf, TX_BUF_LEN);

	memcpy(p, hdr, sizeof(*hdr));
	memcpy(p + sizeof(*hdr), frame, len);
	if (len)
		(void)fake_add(
			&g->d, NET_QUEUE_TX,
			FAKE_PARTS({ g->tx_buf, sizeof(*hdr), false },
				   { g->tx_buf + sizeof(*hdr), len, false }));
	else
		(void)fake_add(&g->d, NET_QUEUE_TX,
			       FAKE_PARTS({ g->tx_buf, sizeof(*hdr), false }));
	(void)fake_kick_if_wanted(&g->d, NET_QUEUE_TX);
}

int net_guest_recv(struct net_guest *g, struct net_hdr *hdr, uint8_t *frame,
		   size_t room, unsigned *ret_buffers)
{
	struct fake_used used;
	size_t len = 0;
	unsigned n = 0, want = 1;

	while (n < want && fake_take_used(&g->d, NET_QUEUE_RX, &used)) {
		size_t skip = n ? 0 : sizeof(*hdr);
		const uint8_t *p =
			fake_ptr(&g->d, g->rx_of_head[used.id], g->rx_len);

		must(used.len <= g->rx_len && used.len >= skip);
		if (!n) {
			memcpy(hdr, p, sizeof(*hdr));
			want = hdr->num_buffers;
		}
		must(len + used.len - skip <= room);
		memcpy(frame + len, p + skip, used.len - skip);
		len += used.len - skip;
		n++;
	}
	if (ret_buffers)
		*ret_buffers = n;
	return n && n == want ? (int)len : -1;
}

void net_peer_send_raw(struct net_guest *g, const void *data, size_t len)
{
	const uint8_t *p = data;

	while (len) {
		ssize_t n = send(g->peer, p, len, MSG_NOSIGNAL);

		must(n > 0 || errno == EAGAIN);
		if (n > 0) {
			p += n;
			len -= (size_t)n;
		}
		(void)loop_run_once(g->loop, 0);
	}
}

void net_peer_send(struct net_guest *g, const void *frame, uint32_t len)
{
	uint32_t wire = htobe32(len);

	net_peer_send_raw(g, &wire, sizeof(wire));
	net_peer_send_raw(g, frame, len);
}

int net_peer_recv(struct net_guest *g, uint8_t *frame, size_t room)
{
	uint64_t deadline = clock_mono_ms() + NET_GUEST_WAIT_MS;
	uint32_t wire, len;
	size_t done = 0;

	if (recv(g->peer, &wire, sizeof(wire), MSG_PEEK) != sizeof(wire))
		return -1;
	must(recv(g->peer, &wire, sizeof(wire), 0) == sizeof(wire));
	len = be32toh(wire);
	must(len <= room);
	while (done < len) {
		ssize_t n = recv(g->peer, frame + done, len - done, 0);

		must(n > 0 || errno == EAGAIN);
		done += n > 0 ? (size_t)n : 0;
		(void)loop_run_once(g->loop, 0);
		must(clock_mono_ms() < deadline);
	}
	return (int)len;
}

void net_make_frame(uint8_t *frame, size_t len, unsigned seed)
{
	for (size_t i = 0; i < len; i++)
		frame[i] = (uint8_t)(i * 7 + (i >> 8) + seed);
}
