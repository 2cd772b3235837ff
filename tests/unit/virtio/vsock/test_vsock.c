/* SPDX-License-Identifier: Apache-2.0 */
/* The socket device with honest peers: connections come and go. */
#include "tests/unit/test.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vsock_guest.h"

static uint8_t got[16];

static void test_config_has_cid(void **state)
{
	struct vsock_guest *g = *state;

	assert_int_equal(fake_config(&g->d, 0, 8), VSOCK_GUEST_CID);
	assert_int_equal(fake_config(&g->d, 4, 4), 0);
}

static void test_new_refuses_bad_config(void **state)
{
	struct vsock_guest *g = *state;
	static const uint64_t cids[] = { 0, 1, 2, UINT32_MAX, 1ull << 32 };
	struct virtio_vsock_config c = { .listen_fd = -1, .base = "x" };
	struct virtio_device *dev;
	struct err e = ERR_INIT;

	for (size_t i = 0; i < sizeof(cids) / sizeof(cids[0]); i++) {
		c.guest_cid = cids[i];
		assert_true(virtio_vsock_new(&c, &g->d.mem, g->loop, &dev, &e) <
			    0);
		assert_string_equal(e.code, "vsock_config_invalid");
	}
	c.guest_cid = 3;
	c.base = "";
	assert_true(virtio_vsock_new(&c, &g->d.mem, g->loop, &dev, &e) < 0);
	c.base = "x";
	c.listen_fd = 9999;
	assert_true(virtio_vsock_new(&c, &g->d.mem, g->loop, &dev, &e) < 0);
}

static void test_host_connects_and_both_send(void **state)
{
	struct vsock_guest *g = *state;
	struct vsock_packet p;
	uint32_t port;
	int fd;

	fd = vsock_open_by_host(g, 1024, &port);
	assert_int_equal(send(fd, "hello", 5, 0), 5);
	vsock_guest_expect(g, VSOCK_OP_RW, &p);
	assert_int_equal(p.hdr.len, 5);
	assert_int_equal(p.hdr.src_cid, VSOCK_CID_HOST);
	assert_int_equal(p.hdr.src_port, port);
	assert_memory_equal(p.data, "hello", 5);
	vsock_guest_data(g, 1024, port, "world!", 6);
	assert_int_equal(vsock_host_read(g, fd, got, 6), 0);
	assert_memory_equal(got, "world!", 6);
	(void)close(fd);
	vsock_guest_expect(g, VSOCK_OP_SHUTDOWN, &p);
	vsock_guest_settle(g);
	vsock_guest_op(g, VSOCK_OP_RST, 1024, port, 0);
	assert_int_equal(vsock_guest_in_use(g), 0);
}

static void test_bytes_behind_connect_line_arrive(void **state)
{
	struct vsock_guest *g = *state;
	struct vsock_packet p;
	int fd;

	fd = vsock_host_client(g, "CONNECT 9\nearly");
	vsock_guest_expect(g, VSOCK_OP_REQUEST, &p);
	vsock_guest_op(g, VSOCK_OP_RESPONSE, 9, p.hdr.src_port, 0);
	vsock_guest_expect(g, VSOCK_OP_RW, &p);
	assert_int_equal(p.hdr.len, 5);
	assert_memory_equal(p.data, "early", 5);
	(void)close(fd);
}

static void test_connect_line_may_come_in_pieces(void **state)
{
	struct vsock_guest *g = *state;
	static const char line[] = "CONNECT 4294967294\n";
	struct vsock_packet p;
	int fd;

	fd = vsock_host_client(g, "");
	for (size_t i = 0; line[i]; i++) {
		assert_int_equal(send(fd, &line[i], 1, 0), 1);
		vsock_guest_settle(g);
	}
	vsock_guest_expect(g, VSOCK_OP_REQUEST, &p);
	assert_int_equal(p.hdr.dst_port, 4294967294u);
	(void)close(fd);
}

static void test_guest_refuses_client_sees_end(void **state)
{
	struct vsock_guest *g = *state;
	struct vsock_packet p;
	int fd;

	fd = vsock_host_client(g, "CONNECT 9\n");
	vsock_guest_expect(g, VSOCK_OP_REQUEST, &p);
	vsock_guest_op(g, VSOCK_OP_RST, 9, p.hdr.src_port, 0);
	vsock_host_expect_end(g, fd);
	assert_int_equal(vsock_guest_in_use(g), 0);
	(void)close(fd);
}

static void test_no_driver_client_sees_end(void **state)
{
	struct vsock_guest *g = *state;
	int fd;

	fd = vsock_host_client(g, "CONNECT 9\n");
	vsock_host_expect_end(g, fd);
	(void)close(fd);
}

static void test_silent_guest_times_out(void **state)
{
	struct vsock_guest *g = *state;
	struct vsock_packet p;
	int fd, mute;

	mute = vsock_host_client(g, "CONN");
	fd = vsock_host_client(g, "CONNECT 9\n");
	vsock_guest_expect(g, VSOCK_OP_REQUEST, &p);
	vsock_host_expect_end(g, mute);
	vsock_host_expect_end(g, fd);
	vsock_guest_expect(g, VSOCK_OP_RST, &p);
	assert_int_equal(vsock_guest_in_use(g), 0);
	(void)close(fd);
	(void)close(mute);
}

static void test_guest_connects(void **state)
{
	struct vsock_guest *g = *state;
	struct vsock_packet p;
	int fd;

	fd = vsock_open_by_guest(g, 5000, 1024);
	vsock_guest_data(g, 5000, 1024, "ready", 5);
	assert_int_equal(vsock_host_read(g, fd, got, 5), 0);
	assert_int_equal(send(fd, "ok", 2, 0), 2);
	vsock_guest_expect(g, VSOCK_OP_RW, &p);
	assert_int_equal(p.hdr.len, 2);
	assert_int_equal(p.hdr.fwd_cnt, 5);
	/* The guest closes: we confirm with RST. */
	vsock_guest_op(g, VSOCK_OP_SHUTDOWN, 5000, 1024, VSOCK_SHUT_BOTH);
	vsock_guest_expect(g, VSOCK_OP_RST, &p);
	vsock_host_expect_end(g, fd);
	assert_int_equal(vsock_guest_in_use(g), 0);
	(void)close(fd);
}

static void test_guest_connect_to_nobody_is_reset(void **state)
{
	struct vsock_guest *g = *state;
	struct vsock_packet p;

	vsock_guest_op(g, VSOCK_OP_REQUEST, 5000, 77, 0);
	vsock_guest_expect(g, VSOCK_OP_RST, &p);
	assert_int_equal(p.hdr.src_port, 77);
	assert_int_equal(p.hdr.dst_port, 5000);
	assert_int_equal(virtio_vsock_stats(g->dev)->refused, 1);
}

static void test_host_half_close(void **state)
{
	struct vsock_guest *g = *state;
	struct vsock_packet p;
	uint32_t port;
	int fd;

	fd = vsock_open_by_host(g, 1, &port);
	assert_int_equal(send(fd, "last", 4, 0), 4);
	assert_int_equal(shutdown(fd, SHUT_WR), 0);
	vsock_guest_expect(g, VSOCK_OP_RW, &p);
	vsock_guest_expect(g, VSOCK_OP_SHUTDOWN, &p);
	assert_int_equal(p.hdr.flags, VSOCK_SHUT_SEND);
	/* The other way is still open. */
	vsock_guest_data(g, 1, port, "answer", 6);
	assert_int_equal(vsock_host_read(g, fd, got, 6), 0);
	vsock_guest_op(g, VSOCK_OP_SHUTDOWN, 1, port, VSOCK_SHUT_BOTH);
	vsock_guest_expect(g, VSOCK_OP_RST, &p);
	vsock_host_expect_end(g, fd);
	(void)close(fd);
}

static void test_guest_half_close(void **state)
{
	struct vsock_guest *g = *state;
	struct vsock_packet p;
	int fd;

	fd = vsock_open_by_guest(g, 6, 8);
	vsock_guest_data(g, 6, 8, "bye", 3);
	vsock_guest_op(g, VSOCK_OP_SHUTDOWN, 6, 8, VSOCK_SHUT_SEND);
	assert_int_equal(vsock_host_read(g, fd, got, 3), 0);
	vsock_host_expect_end(g, fd);
	assert_int_equal(send(fd, "more", 4, 0), 4);
	vsock_guest_expect(g, VSOCK_OP_RW, &p);
	assert_int_equal(p.hdr.len, 4);
	/* Now the other half: the host's writes fail, we confirm. */
	vsock_guest_op(g, VSOCK_OP_SHUTDOWN, 6, 8, VSOCK_SHUT_RCV);
	vsock_guest_expect(g, VSOCK_OP_RST, &p);
	assert_int_equal(send(fd, "x", 1, MSG_NOSIGNAL), -1);
	assert_int_equal(errno, EPIPE);
	(void)close(fd);
}

static void test_guest_stops_receiving(void **state)
{
	struct vsock_guest *g = *state;
	struct vsock_packet p;
	int fd;

	fd = vsock_open_by_guest(g, 6, 8);
	vsock_guest_op(g, VSOCK_OP_SHUTDOWN, 6, 8, VSOCK_SHUT_RCV);
	assert_int_equal(send(fd, "x", 1, MSG_NOSIGNAL), -1);
	assert_int_equal(errno, EPIPE);
	vsock_guest_data(g, 6, 8, "still", 5);
	assert_int_equal(vsock_host_read(g, fd, got, 5), 0);
	(void)close(fd);
	vsock_guest_expect(g, VSOCK_OP_SHUTDOWN, &p);
	assert_int_equal(p.hdr.flags, VSOCK_SHUT_BOTH);
	vsock_guest_op(g, VSOCK_OP_SHUTDOWN, 6, 8, VSOCK_SHUT_BOTH);
	vsock_guest_expect(g, VSOCK_OP_RST, &p);
	assert_int_equal(vsock_guest_in_use(g), 0);
}

static void test_unanswered_close_ends_in_reset(void **state)
{
	struct vsock_guest *g = *state;
	struct vsock_packet p;
	int fd;

	fd = vsock_open_by_guest(g, 6, 8);
	(void)close(fd);
	vsock_guest_expect(g, VSOCK_OP_SHUTDOWN, &p);
	vsock_guest_expect(g, VSOCK_OP_RST, &p);
	assert_int_equal(vsock_guest_in_use(g), 0);
}

static void test_reset_closes_everything(void **state)
{
	struct vsock_guest *g = *state;
	uint32_t port;
	int a, b;

	a = vsock_open_by_guest(g, 6, 8);
	b = vsock_open_by_host(g, 9, &port);
	fake_reset(&g->d);
	vsock_host_expect_end(g, a);
	vsock_host_expect_end(g, b);
	assert_int_equal(vsock_guest_in_use(g), 0);
	(void)close(a);
	(void)close(b);
	vsock_guest_start(g);
	a = vsock_open_by_host(g, 9, &port);
	(void)close(a);
}

static void test_moved_device_tells_transport_reset(void **state)
{
	struct vsock_guest *g = *state;
	struct vsock_packet p;
	struct fake_used used;
	struct err e = ERR_INIT;
	uint32_t port;
	uint64_t event;
	int fd;

	event = fake_alloc(&g->d, 4, 4);
	memset(fake_ptr(&g->d, event, 4), 0xff, 4);
	fd = vsock_open_by_guest(g, 6, 8);
	g->dev = vsock_guest_fresh(g);
	assert_int_equal(fake_move_to(&g->d, g->dev, &e), 0);
	vsock_host_expect_end(g, fd);
	/* No event buffer yet: the event waits for it. */
	assert_false(fake_take_used(&g->d, VSOCK_QUEUE_EVENT, &used));
	(void)fake_add(&g->d, VSOCK_QUEUE_EVENT,
		       FAKE_PARTS({ event, 4, true }));
	assert_true(fake_kick_if_wanted(&g->d, VSOCK_QUEUE_EVENT));
	assert_true(fake_take_used(&g->d, VSOCK_QUEUE_EVENT, &used));
	assert_int_equal(used.len, 4);
	assert_int_equal(*(uint32_t *)fake_ptr(&g->d, event, 4),
			 VSOCK_EVENT_TRANSPORT_RESET);
	/* What the guest still sends on the old connection is refused. */
	vsock_guest_data(g, 6, 8, "x", 1);
	vsock_guest_expect(g, VSOCK_OP_RST, &p);
	(void)close(fd);
	fd = vsock_open_by_host(g, 9, &port);
	(void)close(fd);
}

/* A driver that has not come to DRIVER_OK yet has nothing to lose. */
static void test_moved_device_without_driver_tells_nothing(void **state)
{
	struct vsock_guest *g = *state;
	struct fake_used used;
	struct err e = ERR_INIT;
	uint64_t event;

	g->dev = vsock_guest_fresh(g);
	assert_int_equal(fake_move_to(&g->d, g->dev, &e), 0);
	vsock_guest_start(g);
	event = fake_alloc(&g->d, 4, 4);
	(void)fake_add(&g->d, VSOCK_QUEUE_EVENT,
		       FAKE_PARTS({ event, 4, true }));
	fake_kick(&g->d, VSOCK_QUEUE_EVENT);
	assert_false(fake_take_used(&g->d, VSOCK_QUEUE_EVENT, &used));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		VSOCK_TEST_FRESH(test_config_has_cid),
		VSOCK_TEST_FRESH(test_new_refuses_bad_config),
		VSOCK_TEST(test_host_connects_and_both_send),
		VSOCK_TEST(test_bytes_behind_connect_line_arrive),
		VSOCK_TEST(test_connect_line_may_come_in_pieces),
		VSOCK_TEST(test_guest_refuses_client_sees_end),
		VSOCK_TEST_FRESH(test_no_driver_client_sees_end),
		VSOCK_TEST_HASTY(test_silent_guest_times_out),
		VSOCK_TEST(test_guest_connects),
		VSOCK_TEST(test_guest_connect_to_nobody_is_reset),
		VSOCK_TEST(test_host_half_close),
		VSOCK_TEST(test_guest_half_close),
		VSOCK_TEST(test_guest_stops_receiving),
		VSOCK_TEST_HASTY(test_unanswered_close_ends_in_reset),
		VSOCK_TEST(test_reset_closes_everything),
		VSOCK_TEST(test_moved_device_tells_transport_reset),
		VSOCK_TEST_FRESH(
			test_moved_device_without_driver_tells_nothing),
	};

	int failed = cmocka_run_group_tests(tests, NULL, NULL);

	/* Once more with kicks and interrupts by flags (2.7.7, 2.7.10). */
	vsock_guest_features = ~(1ull << VIRTIO_RING_F_EVENT_IDX);
	return failed + cmocka_run_group_tests(tests, NULL, NULL);
}
