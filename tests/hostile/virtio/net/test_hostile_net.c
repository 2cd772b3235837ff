/* SPDX-License-Identifier: Apache-2.0 */
/* The network device against drivers and peers that break the rules. */
#include "tests/unit/test.h"

#include <endian.h>
#include <string.h>
#include <unistd.h>

#include "net_guest.h"

static uint8_t frame[NET_FRAME_MAX + 64], got[NET_FRAME_MAX];

#define ALL (~0ull)

/* The device still works for a driver that starts over. */
static void assert_alive(struct net_guest *g)
{
	static const struct net_hdr hdr;

	fake_reset(&g->d);
	net_guest_start(g, ALL, 2048);
	net_make_frame(frame, 60, 1);
	net_guest_send(g, &hdr, frame, 60);
	assert_int_equal(net_peer_recv(g, got, sizeof(got)), 60);
}

static void test_short_transmit_chain_fails_device(void **state)
{
	struct net_guest *g = *state;

	net_guest_start(g, ALL, 2048);
	(void)fake_add(&g->d, NET_QUEUE_TX,
		       FAKE_PARTS({ g->tx_buf, 11, false }));
	fake_kick(&g->d, NET_QUEUE_TX);
	assert_true(fake_needs_reset(&g->d));
	assert_alive(g);
	(void)fake_add(&g->d, NET_QUEUE_TX,
		       FAKE_PARTS({ g->tx_buf, 64, true }));
	fake_kick(&g->d, NET_QUEUE_TX);
	assert_true(fake_needs_reset(&g->d));
}

static void test_short_receive_buffer_fails_device(void **state)
{
	struct net_guest *g = *state;

	net_guest_start(g, ALL, 2048);
	(void)fake_add(&g->d, NET_QUEUE_RX,
		       FAKE_PARTS({ g->rx_bufs[0], 11, true }));
	fake_kick(&g->d, NET_QUEUE_RX);
	net_make_frame(frame, 60, 1);
	net_peer_send(g, frame, 60);
	net_guest_settle(g);
	assert_true(fake_needs_reset(&g->d));
}

/* Frames and headers that must not leave; the device goes on. */
static void test_forbidden_frames_are_dropped(void **state)
{
	struct net_guest *g = *state;
	static const struct {
		struct net_hdr hdr;
		uint32_t len;
	} bad[] = {
		{ { 0 }, 0 },
		{ { 0 }, 13 },
		{ { 0 }, 1519 }, /* over the MTU of 1500 with a VLAN tag */
		{ { .flags = NET_HDR_F_NEEDS_CSUM }, 60 },
		{ { .flags = NET_HDR_F_NEEDS_CSUM,
		    .csum_start = 34,
		    .csum_offset = 25 },
		  60 },
		{ { .flags = NET_HDR_F_NEEDS_CSUM,
		    .csum_start = 65535,
		    .csum_offset = 65535 },
		  60 },
		{ { .gso_type = NET_GSO_TCPV4, .gso_size = 1400 }, 1400 },
		{ { .flags = NET_HDR_F_NEEDS_CSUM,
		    .csum_start = 34,
		    .csum_offset = 16,
		    .gso_type = NET_GSO_TCPV6,
		    .gso_size = 1400 },
		  1400 },
		{ { .gso_type = 3, .gso_size = 1400 }, 1400 },
		{ { .gso_type = 0xff }, 1400 },
	};
	const size_t count = sizeof(bad) / sizeof(bad[0]);
	struct fake_used used;

	net_guest_start(g, ALL, 2048);
	for (size_t i = 0; i < count; i++) {
		net_guest_send(g, &bad[i].hdr, frame, bad[i].len);
		assert_true(fake_take_used(&g->d, NET_QUEUE_TX, &used));
		assert_int_equal(net_peer_recv(g, got, sizeof(got)), -1);
	}
	assert_int_equal(virtio_net_stats(g->dev)->tx_dropped, count);
	assert_false(fake_needs_reset(&g->d));
}

static void test_checksum_without_feature_is_dropped(void **state)
{
	struct net_guest *g = *state;
	struct net_hdr hdr = { .flags = NET_HDR_F_NEEDS_CSUM,
			       .csum_start = 34,
			       .csum_offset = 6 };

	net_guest_start(g, ALL & ~(1ull << NET_F_CSUM), 2048);
	net_guest_send(g, &hdr, frame, 60);
	assert_int_equal(net_peer_recv(g, got, sizeof(got)), -1);
	assert_int_equal(virtio_net_stats(g->dev)->tx_dropped, 1);
}

/* One megabyte, twice, in one chain. */
static void test_huge_transmit_chain_is_dropped(void **state)
{
	struct net_guest *g = *state;
	struct fake_used used;

	net_guest_start(g, ALL, 2048);
	(void)fake_add(&g->d, NET_QUEUE_TX,
		       FAKE_PARTS({ g->tx_buf, 12, false },
				  { FAKE_HIGH_GPA, FAKE_HIGH_LEN, false },
				  { FAKE_HIGH_GPA, FAKE_HIGH_LEN, false }));
	fake_kick(&g->d, NET_QUEUE_TX);
	assert_true(fake_take_used(&g->d, NET_QUEUE_TX, &used));
	assert_int_equal(virtio_net_stats(g->dev)->tx_dropped, 1);
	assert_alive(g);
}

/* One byte per part, the header split as well. */
static void test_bytewise_transmit_chain_is_whole(void **state)
{
	struct net_guest *g = *state;
	struct fake_part parts[12 + 60];
	uint8_t *p;

	net_guest_start(g, ALL, 2048);
	p = fake_ptr(&g->d, g->tx_buf, 72);
	memset(p, 0, 12);
	net_make_frame(p + 12, 60, 2);
	for (unsigned i = 0; i < 72; i++)
		parts[i] = (struct fake_part){ g->tx_buf + i, 1, false };
	(void)fake_add(&g->d, NET_QUEUE_TX, parts, 72);
	fake_kick(&g->d, NET_QUEUE_TX);
	assert_int_equal(net_peer_recv(g, got, sizeof(got)), 60);
	assert_memory_equal(got, p + 12, 60);
}

/* A full ring of buffers that together cannot hold the frame. */
static void test_full_ring_of_tiny_buffers_drops_frame(void **state)
{
	struct net_guest *g = *state;
	struct net_hdr hdr;

	fake_driver_start_sized(&g->d, ALL, 4);
	net_guest_start(g, ALL, 16);
	fake_reset(&g->d);
	fake_driver_start_sized(&g->d, ALL, 4);
	net_guest_post(g, 4);
	net_make_frame(frame, 200, 1);
	net_peer_send(g, frame, 200);
	net_peer_send(g, frame, 20);
	net_guest_settle(g);
	assert_int_equal(virtio_net_stats(g->dev)->rx_dropped, 1);
	assert_int_equal(net_guest_recv(g, &hdr, got, sizeof(got), NULL), 20);
}

static void test_stopped_queue_does_not_spin(void **state)
{
	struct net_guest *g = *state;

	net_guest_start(g, ALL, 2048);
	net_guest_post(g, 4);
	fake_write(&g->d, 0x30, NET_QUEUE_RX); /* QueueSel */
	fake_write(&g->d, 0x44, 0); /* QueueReady */
	net_make_frame(frame, 60, 1);
	net_peer_send(g, frame, 60);
	/* settle() fails when the loop never comes to rest. */
	net_guest_settle(g);
	assert_alive(g);
}

static void test_bad_lengths_of_peer_lose_link(void **state)
{
	static const uint32_t bad[] = { 0,	  1,
					13,	  NET_FRAME_MAX + 1,
					1u << 31, UINT32_MAX };

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		uint32_t wire = htobe32(bad[i]);
		struct net_guest g;
		struct net_hdr hdr;

		net_guest_init(&g, 0);
		net_guest_start(&g, ALL, 2048);
		net_guest_post(&g, 4);
		(void)fake_ack(&g.d);
		net_make_frame(frame, 60, 1);
		net_peer_send(&g, frame, 60);
		net_peer_send_raw(&g, &wire, sizeof(wire));
		net_guest_settle(&g);
		/* What came before counts. */
		assert_int_equal(
			net_guest_recv(&g, &hdr, got, sizeof(got), NULL), 60);
		assert_int_equal(g.lost, 1);
		assert_int_equal(fake_config(&g.d, 6, 2), 0);
		assert_int_not_equal(fake_ack(&g.d) & VIRTIO_INT_CONFIG, 0);
		assert_false(fake_needs_reset(&g.d));
		net_guest_done(&g);
	}
}

static void test_peer_gone_while_frame_waits(void **state)
{
	struct net_guest *g = *state;

	net_guest_start(g, ALL, 2048);
	net_make_frame(frame, 60, 1);
	net_peer_send(g, frame, 60);
	net_guest_settle(g);
	(void)close(g->peer);
	g->peer = -1;
	net_guest_settle(g);
	assert_int_equal(g->lost, 1);
	net_guest_post(g, 1);
	net_guest_settle(g);
	assert_false(fake_needs_reset(&g->d));
}

static void test_peer_gone_while_queue_is_stopped(void **state)
{
	struct net_guest *g = *state;
	static const struct net_hdr hdr;
	struct fake_used used;
	unsigned returned = 0;

	net_guest_start(g, ALL, 2048);
	for (unsigned i = 0; i < 100; i++)
		net_guest_send(g, &hdr, frame, 9000);
	(void)close(g->peer);
	g->peer = -1;
	net_guest_settle(g);
	while (fake_take_used(&g->d, NET_QUEUE_TX, &used))
		returned++;
	assert_int_equal(returned, 100);
	assert_int_equal(g->lost, 1);
}

static void test_state_with_other_features_is_refused(void **state)
{
	struct net_guest *g = *state;
	struct err e = ERR_INIT;
	struct virtio_device *fresh;
	int peer;

	net_guest_start(g, ALL, 2048);
	fresh = net_guest_fresh(g, 1500, &peer);
	fresh->features_offered &= ~(1ull << NET_F_MAC);
	assert_true(fake_move_to(&g->d, fresh, &e) < 0);
	assert_int_equal(e.kind, ERR_CORRUPT);
	(void)close(peer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		NET_TEST(test_short_transmit_chain_fails_device),
		NET_TEST(test_short_receive_buffer_fails_device),
		NET_TEST_MTU(test_forbidden_frames_are_dropped),
		NET_TEST(test_checksum_without_feature_is_dropped),
		NET_TEST(test_huge_transmit_chain_is_dropped),
		NET_TEST(test_bytewise_transmit_chain_is_whole),
		NET_TEST(test_full_ring_of_tiny_buffers_drops_frame),
		NET_TEST(test_stopped_queue_does_not_spin),
		cmocka_unit_test(test_bad_lengths_of_peer_lose_link),
		NET_TEST(test_peer_gone_while_frame_waits),
		NET_TEST(test_peer_gone_while_queue_is_stopped),
		NET_TEST_MTU(test_state_with_other_features_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
