/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest with a network device over a socket pair: the test is the driver and,
 * at the other end of the pair, passt.
 */
#ifndef TESTS_UNIT_VIRTIO_NET_NET_GUEST_H
#define TESTS_UNIT_VIRTIO_NET_NET_GUEST_H

#include "base/loop.h"
#include "fake_driver.h"
#include "virtio/net/net.h"
#include "virtio/net/net_wire.h"

enum {
	NET_GUEST_BUFS = 64,
	NET_GUEST_WAIT_MS = 2000
};

struct net_guest {
	struct fake_driver d;
	struct loop *loop;
	struct virtio_device *dev;
	int peer; /* passt's end; non-blocking */
	unsigned lost; /* calls of link_lost */
	uint32_t rx_len;
	uint64_t rx_of_head[VIRTQ_SIZE_MAX];
	uint64_t rx_bufs[NET_GUEST_BUFS];
	uint64_t tx_buf; /* 68 KiB */
};

extern const uint8_t net_guest_mac[6];

/* The device over a fresh socket pair; no driver yet. */
void net_guest_init(struct net_guest *g, uint16_t mtu);
void net_guest_done(struct net_guest *g);
/* For cmocka: *state is such a guest; mtu: with one of 1500. */
int net_guest_setup(void **state);
int net_guest_setup_mtu(void **state);
int net_guest_teardown(void **state);
#define NET_TEST(name)                                         \
	cmocka_unit_test_setup_teardown(name, net_guest_setup, \
					net_guest_teardown)
#define NET_TEST_MTU(name)                                         \
	cmocka_unit_test_setup_teardown(name, net_guest_setup_mtu, \
					net_guest_teardown)
/* A second device for the same memory, on the same loop (snapshot tests). */
struct virtio_device *net_guest_fresh(struct net_guest *g, uint16_t mtu,
				      int *ret_peer);

/* Features every start may use; a test program may narrow them. */
extern uint64_t net_guest_features;

/* Starts the driver, allocates buffers of rx_len bytes, posts none. */
void net_guest_start(struct net_guest *g, uint64_t features, uint32_t rx_len);
void net_guest_post(struct net_guest *g, unsigned count);
/* Runs the loop until nothing is due. */
void net_guest_settle(struct net_guest *g);

/* Puts header and frame into the transmit queue and kicks. */
void net_guest_send(struct net_guest *g, const struct net_hdr *hdr,
		    const void *frame, uint32_t len);
/* The next frame the guest got; its length, or -1. buffers may be NULL. */
int net_guest_recv(struct net_guest *g, struct net_hdr *hdr, uint8_t *frame,
		   size_t room, unsigned *ret_buffers);

/* passt's side: whole frames with their length. */
void net_peer_send(struct net_guest *g, const void *frame, uint32_t len);
void net_peer_send_raw(struct net_guest *g, const void *data, size_t len);
/* The next frame, or -1 when none is there. */
int net_peer_recv(struct net_guest *g, uint8_t *frame, size_t room);

/* A frame with a pattern that depends on seed. */
void net_make_frame(uint8_t *frame, size_t len, unsigned seed);

#endif
