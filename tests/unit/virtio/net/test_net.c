/* SPDX-License-Identifier: Apache-2.0 */
/* The network device over a stream: honest drivers, honest passt. */
#include "tests/unit/test.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "net_guest.h"
#include "virtio/net/net_csum.h"

static const struct net_hdr no_hdr;
static uint8_t frame[NET_FRAME_MAX], got[NET_FRAME_MAX];

#define MRG (1ull << NET_F_MRG_RXBUF)
#define ALL (~0ull)

static void test_config_space_shows_mac_mtu_and_link(void **state)
{
	struct net_guest *g = *state;

	assert_int_equal(fake_config(&g->d, 0, 1), net_guest_mac[0]);
	assert_int_equal(fake_config(&g->d, 5, 1), net_guest_mac[5]);
	assert_int_equal(fake_config(&g->d, 6, 2), NET_S_LINK_UP);
	assert_int_equal(fake_config(&g->d, 10, 2), 1500);
	assert_true(fake_offered_features(&g->d) & 1 << NET_F_CSUM);
	assert_false(fake_offered_features(&g->d) & 1 << NET_F_HOST_TSO4);
}

static void test_new_refuses_bad_config(void **state)
{
	struct net_guest *g = *state;
	struct virtio_net_config c = { .backend = VIRTIO_NET_STREAM, .fd = -1 };
	struct virtio_device *dev;
	struct err e = ERR_INIT;

	assert_int_not_equal(virtio_net_new(&c, &g->d.mem, g->loop, &dev, &e),
			     0);
	assert_string_equal(e.code, "net_config_invalid");
	memcpy(c.mac, net_guest_mac, 6);
	c.mtu = 67;
	assert_int_not_equal(virtio_net_new(&c, &g->d.mem, g->loop, &dev, &e),
			     0);
	assert_string_equal(e.code, "net_config_invalid");
	c.mtu = 0;
	assert_int_not_equal(virtio_net_new(&c, &g->d.mem, g->loop, &dev, &e),
			     0);
	c.backend = VIRTIO_NET_TAP;
	c.fd = g->peer;
	assert_int_not_equal(virtio_net_new(&c, &g->d.mem, g->loop, &dev, &e),
			     0);
	assert_string_equal(e.code, "net_tap_unsuitable");
}

static void test_send_reaches_peer_whole(void **state)
{
	struct net_guest *g = *state;
	struct fake_used used;

	net_guest_start(g, ALL, 2048);
	for (uint32_t len = 14; len < 9000; len += 777) {
		net_make_frame(frame, len, len);
		net_guest_send(g, &no_hdr, frame, len);
		assert_int_equal(net_peer_recv(g, got, sizeof(got)), len);
		assert_memory_equal(got, frame, len);
		assert_true(fake_take_used(&g->d, NET_QUEUE_TX, &used));
		assert_int_equal(used.len, 0);
	}
}

static void test_send_completes_partial_checksum(void **state)
{
	struct net_guest *g = *state;
	struct net_hdr hdr = { .flags = NET_HDR_F_NEEDS_CSUM,
			       .csum_start = 34,
			       .csum_offset = 6 };
	uint32_t sum = 0;

	net_guest_start(g, ALL, 2048);
	net_make_frame(frame, 101, 3);
	net_guest_send(g, &hdr, frame, 101);
	assert_int_equal(net_peer_recv(g, got, sizeof(got)), 101);
	/*
	 * The sender left a partial sum in the field. What was stored is the
	 * complement of everything, so the rest of the segment, the partial
	 * sum and the result add up to ones.
	 */
	for (size_t i = 34; i < 101; i += 2)
		sum += (uint32_t)frame[i] << 8 |
		       (i + 1 < 101 ? frame[i + 1] : 0);
	sum += (uint32_t)got[40] << 8 | got[41];
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	assert_int_equal(sum, 0xffff);
	got[40] = frame[40];
	got[41] = frame[41];
	assert_memory_equal(got, frame, 101);
}

static void test_csum_zero_becomes_ones_and_bounds_hold(void **state)
{
	uint8_t p[8] = { 0xff, 0xff, 0, 0, 0, 0, 0, 0 };

	(void)state;
	assert_true(net_csum_complete(p, 8, 0, 2));
	assert_int_equal(p[2], 0xff);
	assert_int_equal(p[3], 0xff);
	assert_true(net_csum_complete(p, 8, 6, 0));
	assert_false(net_csum_complete(p, 8, 7, 0));
	assert_false(net_csum_complete(p, 8, 0, 7));
	assert_false(net_csum_complete(p, 8, 9, 0));
	assert_false(net_csum_complete(p, 8, 0, SIZE_MAX));
}

static void test_send_waits_for_peer_without_loss(void **state)
{
	struct net_guest *g = *state;
	struct fake_used used;
	unsigned returned = 0, received = 0;

	net_guest_start(g, ALL, 2048);
	net_make_frame(frame, 9000, 0);
	/* More than socket and buffer hold together: the queue must stop. */
	for (unsigned i = 0; i < 100; i++)
		net_guest_send(g, &no_hdr, frame, 9000);
	net_guest_settle(g);
	while (fake_take_used(&g->d, NET_QUEUE_TX, &used))
		returned++;
	assert_true(returned > 0 && returned < 100);
	for (;;) {
		int n = net_peer_recv(g, got, sizeof(got));

		if (n < 0) {
			(void)loop_run_once(g->loop, 20);
			n = net_peer_recv(g, got, sizeof(got));
		}
		if (n < 0)
			break;
		assert_int_equal(n, 9000);
		assert_memory_equal(got, frame, 9000);
		received++;
	}
	assert_int_equal(received, 100);
	while (fake_take_used(&g->d, NET_QUEUE_TX, &used))
		returned++;
	assert_int_equal(returned, 100);
	assert_int_equal(virtio_net_stats(g->dev)->tx_dropped, 0);
	/* Kicks are wanted again. */
	net_guest_send(g, &no_hdr, frame, 60);
	assert_int_equal(net_peer_recv(g, got, sizeof(got)), 60);
}

static void test_receive_one_buffer(void **state)
{
	struct net_guest *g = *state;
	struct net_hdr hdr;
	unsigned buffers;

	net_guest_start(g, ALL, 2048);
	net_guest_post(g, 4);
	net_make_frame(frame, 1514, 1);
	net_peer_send(g, frame, 1514);
	net_guest_settle(g);
	assert_int_equal(net_guest_recv(g, &hdr, got, sizeof(got), &buffers),
			 1514);
	assert_memory_equal(got, frame, 1514);
	assert_int_equal(buffers, 1);
	assert_int_equal(hdr.flags | hdr.gso_type, 0);
	assert_int_not_equal(fake_ack(&g->d) & VIRTIO_INT_USED, 0);
}

static void test_receive_spans_buffers(void **state)
{
	struct net_guest *g = *state;
	static const uint32_t sizes[] = { 14,	499,  500,  501,  1011,
					  1012, 1013, 9000, 20000 };
	struct net_hdr hdr;
	unsigned buffers;

	net_guest_start(g, ALL, 512);
	net_guest_post(g, 60);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		uint32_t len = sizes[i];

		net_make_frame(frame, len, len);
		net_peer_send(g, frame, len);
		net_guest_settle(g);
		assert_int_equal(net_guest_recv(g, &hdr, got, sizeof(got),
						&buffers),
				 len);
		assert_memory_equal(got, frame, len);
		assert_int_equal(buffers, (len + 12 + 511) / 512);
		net_guest_post(g, buffers);
	}
}

static void test_receive_waits_for_buffers(void **state)
{
	struct net_guest *g = *state;
	struct net_hdr hdr;
	struct fake_used used;

	net_guest_start(g, ALL, 512);
	net_make_frame(frame, 1500, 9);
	net_peer_send(g, frame, 1500);
	/* Nothing, then too little: the frame stays whole. */
	for (int i = 0; i < 2; i++) {
		net_guest_settle(g);
		assert_false(fake_take_used(&g->d, NET_QUEUE_RX, &used));
		net_guest_post(g, 1);
	}
	net_guest_settle(g);
	assert_false(fake_take_used(&g->d, NET_QUEUE_RX, &used));
	/* post() kicks only when the device asked for it. */
	net_guest_post(g, 1);
	assert_int_equal(net_guest_recv(g, &hdr, got, sizeof(got), NULL), 1500);
	assert_memory_equal(got, frame, 1500);
}

static void test_receive_without_merging(void **state)
{
	struct net_guest *g = *state;
	struct net_hdr hdr;

	net_guest_start(g, ALL & ~MRG, 1526);
	net_guest_post(g, 4);
	net_make_frame(frame, 1515, 2);
	net_peer_send(g, frame, 1515); /* one byte too long */
	net_peer_send(g, frame, 1514);
	net_guest_settle(g);
	assert_int_equal(net_guest_recv(g, &hdr, got, sizeof(got), NULL), 1514);
	assert_int_equal(hdr.num_buffers, 1);
	assert_int_equal(virtio_net_stats(g->dev)->rx_dropped, 1);
}

static void test_receive_split_bytewise(void **state)
{
	struct net_guest *g = *state;
	uint8_t wire[4 + 60 + 4 + 14] = { 0, 0, 0, 60 };
	struct net_hdr hdr;

	net_guest_start(g, ALL, 2048);
	net_guest_post(g, 4);
	net_make_frame(wire + 4, 60, 5);
	wire[64 + 3] = 14;
	net_make_frame(wire + 68, 14, 6);
	for (size_t i = 0; i < sizeof(wire); i++) {
		net_peer_send_raw(g, wire + i, 1);
		net_guest_settle(g);
	}
	assert_int_equal(net_guest_recv(g, &hdr, got, sizeof(got), NULL), 60);
	assert_memory_equal(got, wire + 4, 60);
	assert_int_equal(net_guest_recv(g, &hdr, got, sizeof(got), NULL), 14);
}

static void test_receive_largest_frame(void **state)
{
	struct net_guest *g = *state;
	struct net_hdr hdr;

	net_guest_start(g, ALL, 4096);
	net_make_frame(frame, NET_FRAME_MAX, 4);
	for (int i = 0; i < 5; i++) {
		net_guest_post(g, 17);
		net_peer_send(g, frame, NET_FRAME_MAX);
		net_guest_settle(g);
		assert_int_equal(net_guest_recv(g, &hdr, got, sizeof(got),
						NULL),
				 NET_FRAME_MAX);
		assert_memory_equal(got, frame, NET_FRAME_MAX);
	}
}

static void test_peer_gone_is_link_down(void **state)
{
	struct net_guest *g = *state;
	struct fake_used used;

	net_guest_start(g, ALL, 2048);
	(void)fake_ack(&g->d);
	(void)close(g->peer);
	g->peer = -1;
	net_guest_settle(g);
	assert_int_equal(fake_config(&g->d, 6, 2), 0);
	assert_int_not_equal(fake_ack(&g->d) & VIRTIO_INT_CONFIG, 0);
	assert_int_equal(g->lost, 1);
	/* The guest goes on: frames go nowhere, buffers come back. */
	net_guest_send(g, &no_hdr, frame, 60);
	assert_true(fake_take_used(&g->d, NET_QUEUE_TX, &used));
	assert_false(fake_needs_reset(&g->d));
	fake_reset(&g->d);
	net_guest_start(g, ALL, 2048);
	assert_int_equal(g->lost, 1);
}

static void test_reset_keeps_the_stream_in_step(void **state)
{
	struct net_guest *g = *state;
	struct net_hdr hdr;

	net_guest_start(g, ALL, 2048);
	net_guest_post(g, 4);
	net_make_frame(frame, 100, 8);
	/* Half a frame is in when the driver resets the device. */
	net_peer_send_raw(g, (uint8_t[]){ 0, 0, 0, 100 }, 4);
	net_peer_send_raw(g, frame, 50);
	net_guest_settle(g);
	fake_reset(&g->d);
	net_guest_start(g, ALL, 2048);
	net_guest_post(g, 4);
	net_peer_send_raw(g, frame + 50, 50);
	net_peer_send(g, frame, 60);
	net_guest_settle(g);
	assert_int_equal(net_guest_recv(g, &hdr, got, sizeof(got), NULL), 100);
	assert_memory_equal(got, frame, 100);
	assert_int_equal(net_guest_recv(g, &hdr, got, sizeof(got), NULL), 60);
}

static void test_moved_device_goes_on(void **state)
{
	struct net_guest *g = *state;
	struct net_hdr hdr;
	struct err e = ERR_INIT;
	int peer;

	net_guest_start(g, ALL, 2048);
	net_guest_post(g, 4);
	net_make_frame(frame, 100, 8);
	net_peer_send(g, frame, 100);
	net_guest_settle(g);
	g->dev = net_guest_fresh(g, 9000, &peer);
	assert_int_equal(fake_move_to(&g->d, g->dev, &e), 0);
	(void)close(g->peer);
	g->peer = peer;
	assert_int_equal(fake_config(&g->d, 10, 2), 1500);
	net_peer_send(g, frame, 99);
	net_guest_settle(g);
	assert_int_equal(net_guest_recv(g, &hdr, got, sizeof(got), NULL), 100);
	assert_int_equal(net_guest_recv(g, &hdr, got, sizeof(got), NULL), 99);
	net_guest_send(g, &no_hdr, frame, 77);
	assert_int_equal(net_peer_recv(g, got, sizeof(got)), 77);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		NET_TEST_MTU(test_config_space_shows_mac_mtu_and_link),
		NET_TEST(test_new_refuses_bad_config),
		NET_TEST(test_send_reaches_peer_whole),
		NET_TEST(test_send_completes_partial_checksum),
		cmocka_unit_test(test_csum_zero_becomes_ones_and_bounds_hold),
		NET_TEST(test_send_waits_for_peer_without_loss),
		NET_TEST(test_receive_one_buffer),
		NET_TEST(test_receive_spans_buffers),
		NET_TEST(test_receive_waits_for_buffers),
		NET_TEST(test_receive_without_merging),
		NET_TEST(test_receive_split_bytewise),
		NET_TEST(test_receive_largest_frame),
		NET_TEST(test_peer_gone_is_link_down),
		NET_TEST(test_reset_keeps_the_stream_in_step),
		NET_TEST_MTU(test_moved_device_goes_on),
	};

	int failed = cmocka_run_group_tests(tests, NULL, NULL);

	/* Once more with kicks and interrupts by flags (2.7.7, 2.7.10). */
	net_guest_features = ~(1ull << VIRTIO_RING_F_EVENT_IDX);
	return failed + cmocka_run_group_tests(tests, NULL, NULL);
}
