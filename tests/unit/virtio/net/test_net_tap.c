/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The network device over a tap, in a network namespace of the test's own; the
 * kernel is the peer. Frames go in and out through a packet socket.
 */
#include "tests/unit/test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/clock.h"
#include "net_guest.h"
#include "tests/unit/namespaces.h"

enum {
	/* An EtherType for experiments: nobody else sends it (IEEE 802). */
	TEST_ETHERTYPE = 0x88b5
};

static const struct net_hdr no_hdr;
static uint8_t frame[NET_FRAME_MAX], got[NET_FRAME_MAX];

/* A tap that is up, or -1. */
static int open_tap(short flags)
{
	struct ifreq ifr = { .ifr_name = "vmdtest0" };
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	int control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	ifr.ifr_flags = flags;
	if (fd < 0 || ioctl(fd, TUNSETIFF, &ifr) < 0)
		return -1;
	assert_true(ioctl(control, SIOCGIFFLAGS, &ifr) == 0);
	ifr.ifr_flags |= IFF_UP;
	assert_true(ioctl(control, SIOCSIFFLAGS, &ifr) == 0);
	(void)close(control);
	return fd;
}

/* A socket that sees and sends frames of our EtherType on the tap. */
static int open_packet_socket(void)
{
	struct sockaddr_ll addr = { .sll_family = AF_PACKET,
				    .sll_protocol = htons(TEST_ETHERTYPE) };
	struct ifreq ifr = { .ifr_name = "vmdtest0" };
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK,
			htons(TEST_ETHERTYPE));

	assert_true(fd >= 0 && ioctl(fd, SIOCGIFINDEX, &ifr) == 0);
	addr.sll_ifindex = ifr.ifr_ifindex;
	assert_true(bind(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0);
	return fd;
}

static void tap_guest_init(struct net_guest *g)
{
	struct virtio_net_config config = { .backend = VIRTIO_NET_TAP };
	struct err e = ERR_INIT;

	*g = (struct net_guest){ .peer = -1 };
	g->loop = loop_new(NULL);
	assert_non_null(g->loop);
	fake_driver_init(&g->d);
	memcpy(config.mac, net_guest_mac, sizeof(config.mac));
	config.fd = open_tap(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR);
	assert_true(config.fd >= 0);
	assert_int_equal(
		virtio_net_new(&config, &g->d.mem, g->loop, &g->dev, &e), 0);
	fake_driver_attach(&g->d, g->dev);
	g->peer = open_packet_socket();
}

static void make_test_frame(size_t len, unsigned seed)
{
	static const uint8_t head[14] = { 0xff,
					  0xff,
					  0xff,
					  0xff,
					  0xff,
					  0xff,
					  2,
					  0,
					  0,
					  0,
					  0,
					  9,
					  TEST_ETHERTYPE >> 8,
					  TEST_ETHERTYPE & 0xff };

	net_make_frame(frame, len, seed);
	memcpy(frame, head, sizeof(head));
}

static void test_tap_offers_offloads(void **state)
{
	struct net_guest g;
	uint64_t f;

	(void)state;
	tap_guest_init(&g);
	f = fake_offered_features(&g.d);
	assert_true(f & 1u << NET_F_CSUM);
	assert_true(f & 1u << NET_F_HOST_TSO4);
	assert_true(f & 1u << NET_F_GUEST_TSO6);
	assert_true(f & 1u << NET_F_MRG_RXBUF);
	net_guest_done(&g);
}

static void test_tap_carries_frames_both_ways(void **state)
{
	struct net_guest g;
	struct net_hdr hdr;
	unsigned buffers;
	int n = -1;

	(void)state;
	tap_guest_init(&g);
	net_guest_start(&g, ~0ull, 512);
	net_guest_post(&g, 32);
	make_test_frame(1514, 1);
	net_guest_send(&g, &no_hdr, frame, 1514);
	assert_int_equal(recv(g.peer, got, sizeof(got), 0), 1514);
	assert_memory_equal(got, frame, 1514);
	make_test_frame(1400, 2);
	assert_int_equal(send(g.peer, frame, 1400, 0), 1400);
	net_guest_settle(&g);
	/* The kernel has something to say of its own (IPv6): skip it. */
	do
		n = net_guest_recv(&g, &hdr, got, sizeof(got), &buffers);
	while (n >= 0 && (got[12] << 8 | got[13]) != TEST_ETHERTYPE);
	assert_int_equal(n, 1400);
	assert_memory_equal(got, frame, 1400);
	assert_int_equal(buffers, 3);
	assert_int_equal(hdr.num_buffers, 3);
	net_guest_done(&g);
}

/* A TCP segment of 20 KiB: the kernel cuts it up only if nobody can take it. */
static void test_tap_takes_large_segments(void **state)
{
	struct net_hdr hdr = { .flags = NET_HDR_F_NEEDS_CSUM,
			       .gso_type = NET_GSO_TCPV4,
			       .hdr_len = 54,
			       .gso_size = 1448,
			       .csum_start = 34,
			       .csum_offset = 16 };
	enum {
		LEN = 54 + 20000
	};
	struct net_guest g;
	struct fake_used used;

	(void)state;
	tap_guest_init(&g);
	net_guest_start(&g, ~0ull, 2048);
	memset(frame, 0, LEN);
	memset(frame, 0xff, 6);
	frame[12] = ETH_P_IP >> 8;
	frame[14] = 0x45;
	frame[16] = (LEN - 14) >> 8;
	frame[17] = (LEN - 14) & 0xff;
	frame[22] = 64;
	frame[23] = IPPROTO_TCP;
	frame[46] = 5 << 4;
	net_guest_send(&g, &hdr, frame, LEN);
	assert_true(fake_take_used(&g.d, NET_QUEUE_TX, &used));
	assert_int_equal(virtio_net_stats(g.dev)->tx_frames, 1);
	assert_int_equal(virtio_net_stats(g.dev)->tx_dropped, 0);
	/* What the kernel refuses is dropped and nothing else happens. */
	hdr.csum_start = 14;
	hdr.csum_offset = LEN - 16;
	net_guest_send(&g, &hdr, frame, LEN);
	assert_int_equal(g.lost, 0);
	net_guest_done(&g);
}

/* One's-complement sum of a frame from its byte `start` on. */
static unsigned sum_frame(const uint8_t *p, size_t start, size_t len)
{
	unsigned sum = 0;

	for (size_t i = start; i < len; i += 2)
		sum += (unsigned)p[i] << 8 | (i + 1 < len ? p[i + 1] : 0);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

/* Gives the tap a frame whose checksum its reader has to complete. */
static void send_partial_checksum(int fd, size_t len)
{
	struct net_hdr hdr = { .flags = NET_HDR_F_NEEDS_CSUM,
			       .csum_start = 34, /* as behind an IP header */
			       .csum_offset = 6 };
	struct iovec parts[] = {
		/* This header is the short one, without num_buffers. */
		{ &hdr, sizeof(hdr) - 2 },
		{ frame, len },
	};
	int on = 1;

	make_test_frame(len, 3);
	memset(frame + hdr.csum_start + hdr.csum_offset, 0, 2);
	assert_true(setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &on,
			       sizeof(on)) == 0);
	assert_int_equal(writev(fd, parts, 2), len + sizeof(hdr) - 2);
}

/*
 * A frame that one driver left behind and the next one, which knows no
 * checksum offload, has no buffer for at first.
 */
static void test_tap_completes_a_checksum_once(void **state)
{
	const uint64_t offloads =
		1u << NET_F_GUEST_CSUM | 1u << NET_F_GUEST_TSO4 |
		1u << NET_F_GUEST_TSO6 | 1u << NET_F_GUEST_ECN;
	struct net_guest g;
	struct net_hdr hdr;
	int n;

	(void)state;
	tap_guest_init(&g);
	net_guest_start(&g, ~0ull, 2048);
	send_partial_checksum(g.peer, 600);
	net_guest_settle(&g);
	net_guest_start(&g, ~offloads, 2048);
	net_guest_settle(&g);
	net_guest_post(&g, 8);
	net_guest_settle(&g);
	do
		n = net_guest_recv(&g, &hdr, got, sizeof(got), NULL);
	while (n >= 0 && (got[12] << 8 | got[13]) != TEST_ETHERTYPE);
	assert_int_equal(n, 600);
	assert_int_equal(hdr.flags, 0);
	assert_int_equal(sum_frame(got, 34, 600), 0xffff);
	assert_memory_not_equal(got + 40, "\xff\xff", 2);
	net_guest_done(&g);
}

static void test_tap_interface_down_drops_frames(void **state)
{
	struct ifreq ifr = { .ifr_name = "vmdtest0" };
	struct net_guest g;
	int control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	(void)state;
	tap_guest_init(&g);
	net_guest_start(&g, ~0ull, 2048);
	assert_true(ioctl(control, SIOCGIFFLAGS, &ifr) == 0);
	ifr.ifr_flags &= ~IFF_UP;
	assert_true(ioctl(control, SIOCSIFFLAGS, &ifr) == 0);
	make_test_frame(60, 1);
	net_guest_send(&g, &no_hdr, frame, 60);
	net_guest_settle(&g);
	assert_int_equal(virtio_net_stats(g.dev)->tx_dropped, 1);
	assert_int_equal(fake_config(&g.d, 6, 2), NET_S_LINK_UP);
	(void)close(control);
	net_guest_done(&g);
}

static void test_tap_without_header_is_refused(void **state)
{
	struct virtio_net_config config = { .backend = VIRTIO_NET_TAP };
	struct virtio_device *dev;
	struct guest_mem mem = { .count = 0 };
	struct loop *loop = loop_new(NULL);
	struct err e = ERR_INIT;

	(void)state;
	memcpy(config.mac, net_guest_mac, sizeof(config.mac));
	config.fd = open_tap(IFF_TAP | IFF_NO_PI);
	assert_true(config.fd >= 0);
	assert_true(virtio_net_new(&config, &mem, loop, &dev, &e) < 0);
	assert_string_equal(e.code, "net_tap_unsuitable");
	(void)close(config.fd);
	loop_free(loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tap_offers_offloads),
		cmocka_unit_test(test_tap_carries_frames_both_ways),
		cmocka_unit_test(test_tap_takes_large_segments),
		cmocka_unit_test(test_tap_completes_a_checksum_once),
		cmocka_unit_test(test_tap_interface_down_drops_frames),
		cmocka_unit_test(test_tap_without_header_is_refused),
	};
	int fd, quiet;

	if (!namespaces_enter(CLONE_NEWNET)) {
		printf("SKIP no network namespace: %s\n", strerror(errno));
		return 77;
	}
	/* Taps made from now on carry nothing that no test sent. */
	quiet = open("/proc/sys/net/ipv6/conf/default/disable_ipv6",
		     O_WRONLY | O_CLOEXEC);
	if (quiet >= 0) {
		assert_int_equal(write(quiet, "1", 1), 1);
		(void)close(quiet);
	}
	fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	if (fd < 0) {
		printf("SKIP /dev/net/tun: %s\n", strerror(errno));
		return 77;
	}
	(void)close(fd);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
