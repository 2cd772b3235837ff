/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio/net where the other side is not always there: peers of a listening
 * socket that come, go and come again, and a host that is short of memory.
 * send() and recv() of the device fail here when the test wants it.
 */
#include "tests/unit/test.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_mmio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "net_guest.h"

static const struct net_hdr no_hdr;
static uint8_t frame[1500];

/* Calls that fail with errno sys before the next one works. */
static struct {
	unsigned sends, recvs;
	int sys;
} failing;

ssize_t __real_send(int fd, const void *data, size_t len, int flags);
ssize_t __real_recv(int fd, void *data, size_t len, int flags);
ssize_t __wrap_send(int fd, const void *data, size_t len, int flags);
ssize_t __wrap_recv(int fd, void *data, size_t len, int flags);

ssize_t __wrap_send(int fd, const void *data, size_t len, int flags)
{
	if (!failing.sends)
		return __real_send(fd, data, len, flags);
	failing.sends--;
	errno = failing.sys;
	return -1;
}

ssize_t __wrap_recv(int fd, void *data, size_t len, int flags)
{
	if (!failing.recvs)
		return __real_recv(fd, data, len, flags);
	failing.recvs--;
	errno = failing.sys;
	return -1;
}

/* Until a call works again, and what it brings. */
static void until_tried(struct net_guest *g, const unsigned *left)
{
	for (int turns = 0; *left; turns++) {
		assert_true(turns < 100);
		(void)loop_run_once(g->loop, NET_GUEST_WAIT_MS);
	}
	(void)loop_run_once(g->loop, NET_GUEST_WAIT_MS);
	net_guest_settle(g);
}

static void test_host_short_of_memory_keeps_the_link(void **state)
{
	static const int errors[] = { ENOBUFS, ENOMEM };
	struct net_guest *g = *state;
	struct net_hdr hdr;
	uint8_t got[2048];

	net_guest_start(g, ~0ull, 2048);
	net_guest_post(g, 8);
	net_make_frame(frame, sizeof(frame), 1);
	for (size_t i = 0; i < 2; i++) {
		failing.sys = errors[i];
		failing.sends = 3;
		net_guest_send(g, &no_hdr, frame, sizeof(frame));
		until_tried(g, &failing.sends);
		assert_int_equal(net_peer_recv(g, got, sizeof(got)),
				 sizeof(frame));
		assert_memory_equal(got, frame, sizeof(frame));
		failing.recvs = 3;
		net_peer_send(g, frame, sizeof(frame));
		until_tried(g, &failing.recvs);
		assert_int_equal(net_guest_recv(g, &hdr, got, sizeof(got),
						NULL),
				 sizeof(frame));
	}
	assert_int_equal(g->lost, 0);
	assert_int_equal(fake_config(&g->d, 6, 2), NET_S_LINK_UP);
}

/* --- a listening socket --- */

static struct sockaddr_un address;
static socklen_t address_len;

/* The device of *state on a listening socket, with an abstract name. */
static int setup_listening(void **state)
{
	struct net_guest *g;
	struct virtio_net_config config = { .backend = VIRTIO_NET_STREAM };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (net_guest_setup(state) != 0 || fd < 0)
		return -1;
	g = *state;
	fake_driver_detach(&g->d);
	(void)close(g->peer);
	g->peer = -1;
	address.sun_family = AF_UNIX;
	address_len = sizeof(address);
	/* The kernel chooses a free name. */
	assert_int_equal(bind(fd, (struct sockaddr *)&address,
			      sizeof(address.sun_family)),
			 0);
	assert_int_equal(
		getsockname(fd, (struct sockaddr *)&address, &address_len), 0);
	assert_int_equal(listen(fd, 4), 0);
	config.fd = fd;
	memcpy(config.mac, net_guest_mac, sizeof(config.mac));
	assert_int_equal(
		virtio_net_new(&config, &g->d.mem, g->loop, &g->dev, NULL), 0);
	fake_driver_attach(&g->d, g->dev);
	return 0;
}

static void peer_comes(struct net_guest *g)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(connect(fd, (struct sockaddr *)&address, address_len),
			 0);
	assert_true(fcntl(fd, F_SETFL, O_NONBLOCK) == 0);
	if (g->peer >= 0)
		(void)close(g->peer);
	g->peer = fd;
	net_guest_settle(g);
}

static void exchange(struct net_guest *g, unsigned seed)
{
	struct net_hdr hdr;
	uint8_t got[2048];

	net_make_frame(frame, sizeof(frame), seed);
	net_guest_send(g, &no_hdr, frame, sizeof(frame));
	net_guest_settle(g);
	assert_int_equal(net_peer_recv(g, got, sizeof(got)), sizeof(frame));
	assert_memory_equal(got, frame, sizeof(frame));
	net_make_frame(frame, sizeof(frame), seed + 1);
	net_peer_send(g, frame, sizeof(frame));
	net_guest_settle(g);
	assert_int_equal(net_guest_recv(g, &hdr, got, sizeof(got), NULL),
			 sizeof(frame));
	assert_memory_equal(got, frame, sizeof(frame));
}

static void assert_link(struct net_guest *g, bool up)
{
	assert_int_equal(fake_config(&g->d, 6, 2), up ? NET_S_LINK_UP : 0);
	assert_int_not_equal(fake_ack(&g->d) & VIRTIO_INT_CONFIG, 0);
}

static void test_peers_come_and_go_and_the_link_with_them(void **state)
{
	struct net_guest *g = *state;
	struct fake_used used;

	assert_int_equal(fake_config(&g->d, 6, 2), 0);
	net_guest_start(g, ~0ull, 2048);
	net_guest_post(g, 16);
	for (unsigned i = 0; i < 3; i++) {
		peer_comes(g);
		assert_link(g, true);
		exchange(g, 2 * i);
		(void)fake_ack(&g->d);
		(void)close(g->peer);
		g->peer = -1;
		net_guest_settle(g);
		assert_link(g, false);
		/* Without a peer frames go nowhere; nothing is stuck. */
		net_guest_send(g, &no_hdr, frame, 60);
		net_guest_settle(g);
		assert_true(fake_take_used(&g->d, NET_QUEUE_TX, &used));
	}
	assert_false(fake_needs_reset(&g->d));
}

static void test_new_peer_replaces_the_old_one(void **state)
{
	struct net_guest *g = *state;

	net_guest_start(g, ~0ull, 2048);
	net_guest_post(g, 16);
	peer_comes(g);
	/* Half a frame of the old one is not part of the new one's first. */
	net_peer_send_raw(g, "\0\0\1", 3);
	net_guest_settle(g);
	peer_comes(g);
	exchange(g, 9);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		NET_TEST(test_host_short_of_memory_keeps_the_link),
		cmocka_unit_test_setup_teardown(
			test_peers_come_and_go_and_the_link_with_them,
			setup_listening, net_guest_teardown),
		cmocka_unit_test_setup_teardown(
			test_new_peer_replaces_the_old_one, setup_listening,
			net_guest_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
