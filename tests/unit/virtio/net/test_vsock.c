/* SPDX-License-Identifier: Apache-2.0 */
/* The socket device with honest peers on both sides. */
#include "tests/unit/test.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "vsock_guest.h"

static uint8_t pattern[64 * 1024], got[64 * 1024];

static void make_pattern(void)
{
	for (size_t i = 0; i < sizeof(pattern); i++)
		pattern[i] = (uint8_t)(i * 11 + (i >> 7));
}

/* The stream has ended at fd. */
static void assert_end(struct vsock_guest *g, int fd)
{
	char c;

	assert_int_equal(vsock_host_read(g, fd, &c, 1), -1);
}

static void test_config_has_cid(void **state)
{
	struct vsock_guest g;

	(void)state;
	vsock_guest_init(&g, 0);
	assert_int_equal(fake_config(&g.d, 0, 8), VSOCK_GUEST_CID);
	assert_int_equal(fake_config(&g.d, 4, 4), 0);
	vsock_guest_done(&g);
}

static void test_new_refuses_bad_config(void **state)
{
	static const uint64_t cids[] = { 0, 1, 2, UINT32_MAX, 1ull << 32 };
	struct virtio_vsock_config c = { .listen_fd = -1, .base = "x" };
	struct virtio_device *dev;
	struct vsock_guest g;
	struct err e = ERR_INIT;

	(void)state;
	vsock_guest_init(&g, 0);
	for (size_t i = 0; i < sizeof(cids) / sizeof(cids[0]); i++) {
		c.guest_cid = cids[i];
		assert_true(virtio_vsock_new(&c, &g.d.mem, g.loop, &dev, &e) <
			    0);
		assert_string_equal(e.code, "vsock_config_invalid");
	}
	c.guest_cid = 3;
	c.base = "";
	assert_true(virtio_vsock_new(&c, &g.d.mem, g.loop, &dev, &e) < 0);
	c.base = "x";
	c.listen_fd = 9999;
	assert_true(virtio_vsock_new(&c, &g.d.mem, g.loop, &dev, &e) < 0);
	vsock_guest_done(&g);
}

static void test_host_connects_and_both_send(void **state)
{
	struct vsock_guest g;
	struct vsock_packet p;
	uint32_t port;
	int fd;

	(void)state;
	vsock_guest_init(&g, 0);
	vsock_guest_start(&g);
	fd = vsock_open_by_host(&g, 1024, &port);
	assert_int_equal(send(fd, "hello", 5, 0), 5);
	vsock_guest_expect(&g, VSOCK_OP_RW, &p);
	assert_int_equal(p.hdr.len, 5);
	assert_int_equal(p.hdr.src_cid, VSOCK_CID_HOST);
	assert_int_equal(p.hdr.src_port, port);
	assert_memory_equal(p.data, "hello", 5);
	vsock_guest_data(&g, 1024, port, "world!", 6);
	assert_int_equal(vsock_host_read(&g, fd, got, 6), 0);
	assert_memory_equal(got, "world!", 6);
	(void)close(fd);
	vsock_guest_expect(&g, VSOCK_OP_SHUTDOWN, &p);
	vsock_guest_settle(&g);
	vsock_guest_op(&g, VSOCK_OP_RST, 1024, port, 0);
	assert_int_equal(virtio_vsock_stats(g.dev)->in_use, 0);
	vsock_guest_done(&g);
}

static void test_bytes_behind_connect_line_arrive(void **state)
{
	struct vsock_guest g;
	struct vsock_packet p;
	int fd;

	(void)state;
	vsock_guest_init(&g, 0);
	vsock_guest_start(&g);
	fd = vsock_host_client(&g, "CONNECT 9\nearly");
	vsock_guest_expect(&g, VSOCK_OP_REQUEST, &p);
	vsock_guest_op(&g, VSOCK_OP_RESPONSE, 9, p.hdr.src_port, 0);
	vsock_guest_expect(&g, VSOCK_OP_RW, &p);
	assert_int_equal(p.hdr.len, 5);
	assert_memory_equal(p.data, "early", 5);
	(void)close(fd);
	vsock_guest_done(&g);
}

static void test_connect_line_may_come_in_pieces(void **state)
{
	static const char line[] = "CONNECT 4294967294\n";
	struct vsock_guest g;
	struct vsock_packet p;
	int fd;

	(void)state;
	vsock_guest_init(&g, 0);
	vsock_guest_start(&g);
	fd = vsock_host_client(&g, "");
	for (size_t i = 0; line[i]; i++) {
		assert_int_equal(send(fd, &line[i], 1, 0), 1);
		vsock_guest_settle(&g);
	}
	vsock_guest_expect(&g, VSOCK_OP_REQUEST, &p);
	assert_int_equal(p.hdr.dst_port, 4294967294u);
	(void)close(fd);
	vsock_guest_done(&g);
}

static void test_guest_refuses_client_sees_end(void **state)
{
	struct vsock_guest g;
	struct vsock_packet p;
	int fd;

	(void)state;
	vsock_guest_init(&g, 0);
	vsock_guest_start(&g);
	fd = vsock_host_client(&g, "CONNECT 9\n");
	vsock_guest_expect(&g, VSOCK_OP_REQUEST, &p);
	vsock_guest_op(&g, VSOCK_OP_RST, 9, p.hdr.src_port, 0);
	assert_end(&g, fd);
	assert_int_equal(virtio_vsock_stats(g.dev)->in_use, 0);
	(void)close(fd);
	vsock_guest_done(&g);
}

static void test_no_driver_client_sees_end(void **state)
{
	struct vsock_guest g;
	int fd;

	(void)state;
	vsock_guest_init(&g, 0);
	fd = vsock_host_client(&g, "CONNECT 9\n");
	assert_end(&g, fd);
	(void)close(fd);
	vsock_guest_done(&g);
}

static void test_silent_guest_times_out(void **state)
{
	struct vsock_guest g;
	struct vsock_packet p;
	int fd, mute;

	(void)state;
	vsock_guest_init(&g, 20);
	vsock_guest_start(&g);
	mute = vsock_host_client(&g, "CONN");
	fd = vsock_host_client(&g, "CONNECT 9\n");
	vsock_guest_expect(&g, VSOCK_OP_REQUEST, &p);
	assert_end(&g, mute);
	assert_end(&g, fd);
	vsock_guest_expect(&g, VSOCK_OP_RST, &p);
	assert_int_equal(virtio_vsock_stats(g.dev)->in_use, 0);
	(void)close(fd);
	(void)close(mute);
	vsock_guest_done(&g);
}

static void test_guest_connects(void **state)
{
	struct vsock_guest g;
	struct vsock_packet p;
	int fd;

	(void)state;
	vsock_guest_init(&g, 0);
	vsock_guest_start(&g);
	fd = vsock_open_by_guest(&g, 5000, 1024);
	vsock_guest_data(&g, 5000, 1024, "ready", 5);
	assert_int_equal(vsock_host_read(&g, fd, got, 5), 0);
	assert_int_equal(send(fd, "ok", 2, 0), 2);
	vsock_guest_expect(&g, VSOCK_OP_RW, &p);
	assert_int_equal(p.hdr.len, 2);
	assert_int_equal(p.hdr.fwd_cnt, 5);
	/* The guest closes: we confirm with RST. */
	vsock_guest_op(&g, VSOCK_OP_SHUTDOWN, 5000, 1024, VSOCK_SHUT_BOTH);
	vsock_guest_expect(&g, VSOCK_OP_RST, &p);
	assert_end(&g, fd);
	assert_int_equal(virtio_vsock_stats(g.dev)->in_use, 0);
	(void)close(fd);
	vsock_guest_done(&g);
}

static void test_guest_connect_to_nobody_is_reset(void **state)
{
	struct vsock_guest g;
	struct vsock_packet p;

	(void)state;
	vsock_guest_init(&g, 0);
	vsock_guest_start(&g);
	vsock_guest_op(&g, VSOCK_OP_REQUEST, 5000, 77, 0);
	vsock_guest_expect(&g, VSOCK_OP_RST, &p);
	assert_int_equal(p.hdr.src_port, 77);
	assert_int_equal(p.hdr.dst_port, 5000);
	assert_int_equal(virtio_vsock_stats(g.dev)->refused, 1);
	vsock_guest_done(&g);
}

static void test_host_half_close(void **state)
{
	struct vsock_guest g;
	struct vsock_packet p;
	uint32_t port;
	int fd;

	(void)state;
	vsock_guest_init(&g, 0);
	vsock_guest_start(&g);
	fd = vsock_open_by_host(&g, 1, &port);
	assert_int_equal(send(fd, "last", 4, 0), 4);
	assert_int_equal(shutdown(fd, SHUT_WR), 0);
	vsock_guest_expect(&g, VSOCK_OP_RW, &p);
	vsock_guest_expect(&g, VSOCK_OP_SHUTDOWN, &p);
	assert_int_equal(p.hdr.flags, VSOCK_SHUT_SEND);
	/* The other way is still open. */
	vsock_guest_data(&g, 1, port, "answer", 6);
	assert_int_equal(vsock_host_read(&g, fd, got, 6), 0);
	vsock_guest_op(&g, VSOCK_OP_SHUTDOWN, 1, port, VSOCK_SHUT_BOTH);
	vsock_guest_expect(&g, VSOCK_OP_RST, &p);
	assert_end(&g, fd);
	(void)close(fd);
	vsock_guest_done(&g);
}

static void test_guest_half_close(void **state)
{
	struct vsock_guest g;
	struct vsock_packet p;
	int fd;

	(void)state;
	vsock_guest_init(&g, 0);
	vsock_guest_start(&g);
	fd = vsock_open_by_guest(&g, 6, 8);
	vsock_guest_data(&g, 6, 8, "bye", 3);
	vsock_guest_op(&g, VSOCK_OP_SHUTDOWN, 6, 8, VSOCK_SHUT_SEND);
	assert_int_equal(vsock_host_read(&g, fd, got, 3), 0);
	assert_end(&g, fd);
	assert_int_equal(send(fd, "more", 4, 0), 4);
	vsock_guest_expect(&g, VSOCK_OP_RW, &p);
	assert_int_equal(p.hdr.len, 4);
	/* Now the other half: the host's writes fail, we confirm. */
	vsock_guest_op(&g, VSOCK_OP_SHUTDOWN, 6, 8, VSOCK_SHUT_RCV);
	vsock_guest_expect(&g, VSOCK_OP_RST, &p);
	assert_int_equal(send(fd, "x", 1, MSG_NOSIGNAL), -1);
	assert_int_equal(errno, EPIPE);
	(void)close(fd);
	vsock_guest_done(&g);
}

static void test_guest_stops_receiving(void **state)
{
	struct vsock_guest g;
	struct vsock_packet p;
	int fd;

	(void)state;
	vsock_guest_init(&g, 0);
	vsock_guest_start(&g);
	fd = vsock_open_by_guest(&g, 6, 8);
	vsock_guest_op(&g, VSOCK_OP_SHUTDOWN, 6, 8, VSOCK_SHUT_RCV);
	assert_int_equal(send(fd, "x", 1, MSG_NOSIGNAL), -1);
	assert_int_equal(errno, EPIPE);
	vsock_guest_data(&g, 6, 8, "still", 5);
	assert_int_equal(vsock_host_read(&g, fd, got, 5), 0);
	(void)close(fd);
	vsock_guest_expect(&g, VSOCK_OP_SHUTDOWN, &p);
	assert_int_equal(p.hdr.flags, VSOCK_SHUT_BOTH);
	vsock_guest_op(&g, VSOCK_OP_SHUTDOWN, 6, 8, VSOCK_SHUT_BOTH);
	vsock_guest_expect(&g, VSOCK_OP_RST, &p);
	assert_int_equal(virtio_vsock_stats(g.dev)->in_use, 0);
	vsock_guest_done(&g);
}

static void test_host_bytes_wait_for_credit(void **state)
{
	struct vsock_hdr hdr;
	struct vsock_guest g;
	struct vsock_packet p;
	size_t total = 0;
	int fd;

	(void)state;
	make_pattern();
	vsock_guest_init(&g, 0);
	vsock_guest_start(&g);
	fd = vsock_open_by_guest(&g, 6, 8);
	hdr = vsock_guest_hdr(VSOCK_OP_CREDIT_UPDATE, 6, 8);
	hdr.buf_alloc = 10000;
	vsock_guest_send(&g, &hdr, NULL, 0);
	assert_int_equal(send(fd, pattern, 30000, 0), 30000);
	for (unsigned round = 1; round <= 3; round++) {
		while (total < 10000u * round) {
			vsock_guest_expect(&g, VSOCK_OP_RW, &p);
			assert_memory_equal(p.data, pattern + total, p.hdr.len);
			total += p.hdr.len;
		}
		assert_int_equal(total, 10000 * round);
		/* Asked once, and nothing beyond the credit. */
		vsock_guest_expect(&g, VSOCK_OP_CREDIT_REQUEST, &p);
		assert_false(vsock_guest_recv(&g, &p));
		hdr.fwd_cnt = (uint32_t)total;
		vsock_guest_send(&g, &hdr, NULL, 0);
	}
	assert_false(vsock_guest_recv(&g, &p));
	(void)close(fd);
	vsock_guest_done(&g);
}

static void test_host_bytes_wait_for_buffers(void **state)
{
	struct vsock_guest g;
	struct vsock_packet p;
	size_t total = 0;
	int fd;

	(void)state;
	make_pattern();
	vsock_guest_init(&g, 0);
	vsock_guest_start(&g);
	fd = vsock_open_by_guest(&g, 6, 8);
	/* One of the buffers took the response. */
	for (unsigned i = 0; i < VSOCK_GUEST_BUFS - 1; i++) {
		assert_int_equal(send(fd, pattern, 10, 0), 10);
		vsock_guest_expect(&g, VSOCK_OP_RW, &p);
	}
	assert_int_equal(g.posted, 0);
	assert_int_equal(send(fd, pattern, 6000, 0), 6000);
	vsock_guest_settle(&g);
	while (total < 6000) {
		/* Kicks only when the device asked for one. */
		vsock_guest_post(&g, 1);
		vsock_guest_expect(&g, VSOCK_OP_RW, &p);
		assert_memory_equal(p.data, pattern + total, p.hdr.len);
		total += p.hdr.len;
	}
	(void)close(fd);
	vsock_guest_done(&g);
}

/* A guest that keeps to its credit, against a host that reads in its time. */
static void test_guest_bytes_wait_for_host(void **state)
{
	enum {
		CHUNK = 16 * 1024,
		CHUNKS = 64
	};
	uint32_t sent = 0, fwd = 0, received = 0;
	struct vsock_guest g;
	struct vsock_packet p;
	int fd;

	(void)state;
	make_pattern();
	vsock_guest_init(&g, 0);
	vsock_guest_start(&g);
	fd = vsock_open_by_guest(&g, 6, 8);
	while (received < CHUNK * CHUNKS) {
		while (sent < CHUNK * CHUNKS &&
		       sent - fwd + CHUNK <= VIRTIO_VSOCK_BUF_LEN) {
			vsock_guest_data(&g, 6, 8, pattern, CHUNK);
			sent += CHUNK;
		}
		assert_int_equal(vsock_host_read(&g, fd, got, CHUNK), 0);
		assert_memory_equal(got, pattern, CHUNK);
		received += CHUNK;
		vsock_guest_settle(&g);
		while (vsock_guest_recv(&g, &p)) {
			assert_int_equal(p.hdr.op, VSOCK_OP_CREDIT_UPDATE);
			assert_int_equal(p.hdr.buf_alloc, VIRTIO_VSOCK_BUF_LEN);
			fwd = p.hdr.fwd_cnt;
			vsock_guest_post(&g, 1);
		}
	}
	assert_int_equal(virtio_vsock_stats(g.dev)->resets, 0);
	(void)close(fd);
	vsock_guest_done(&g);
}

/* Resident memory in KiB. */
static long resident_kib(void)
{
	FILE *f = fopen("/proc/self/statm", "re");
	long size, resident;

	assert_non_null(f);
	assert_int_equal(fscanf(f, "%ld %ld", &size, &resident), 2);
	(void)fclose(f);
	return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

/* As fast as the host writes, into a guest that takes its time. */
static void test_bulk_keeps_memory(void **state)
{
	enum {
		TOTAL = 64 << 20
	};
	size_t sent = 0, received = 0;
	struct vsock_guest g;
	struct vsock_packet p;
	long before = 0;
	int fd;

	(void)state;
	make_pattern();
	vsock_guest_init(&g, 0);
	vsock_guest_start(&g);
	fd = vsock_open_by_guest(&g, 6, 8);
	while (received < TOTAL) {
		struct vsock_hdr hdr =
			vsock_guest_hdr(VSOCK_OP_CREDIT_UPDATE, 6, 8);
		ssize_t n = send(fd, pattern, sizeof(pattern), MSG_NOSIGNAL);

		sent += n > 0 ? (size_t)n : 0;
		(void)loop_run_once(g.loop, 0);
		while (vsock_guest_take(&g, &p)) {
			received += p.hdr.len;
			vsock_guest_post(&g, 1);
		}
		/* Behind by one turn: the credit runs out again and again. */
		hdr.fwd_cnt = (uint32_t)received;
		vsock_guest_send(&g, &hdr, NULL, 0);
		if (received < TOTAL / 8)
			before = resident_kib();
	}
	assert_true(received <= sent);
	assert_true(resident_kib() < before + 4096);
	(void)close(fd);
	vsock_guest_done(&g);
}

static void test_closed_guest_socket_still_drains(void **state)
{
	enum {
		CHUNK = 16 * 1024
	};
	struct vsock_guest g;
	struct vsock_packet p;
	uint32_t sent = 0;
	int fd, small = 4096;

	(void)state;
	make_pattern();
	vsock_guest_init(&g, 0);
	vsock_guest_start(&g);
	fd = vsock_open_by_guest(&g, 6, 8);
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	/* Beyond what the host's socket takes: some stays with us. */
	for (; sent < 2 * VIRTIO_VSOCK_BUF_LEN; sent += CHUNK) {
		vsock_guest_data(&g, 6, 8, pattern, CHUNK);
		vsock_guest_settle(&g);
	}
	vsock_guest_op(&g, VSOCK_OP_SHUTDOWN, 6, 8, VSOCK_SHUT_BOTH);
	do
		assert_true(vsock_guest_recv(&g, &p));
	while (p.hdr.op == VSOCK_OP_CREDIT_UPDATE);
	assert_int_equal(p.hdr.op, VSOCK_OP_RST);
	vsock_guest_op(&g, VSOCK_OP_RST, 6, 8, 0);
	for (uint32_t i = 0; i < sent; i += CHUNK) {
		assert_int_equal(vsock_host_read(&g, fd, got, CHUNK), 0);
		assert_memory_equal(got, pattern, CHUNK);
	}
	assert_end(&g, fd);
	assert_int_equal(virtio_vsock_stats(g.dev)->in_use, 0);
	(void)close(fd);
	vsock_guest_done(&g);
}

static void test_host_close_delivers_what_was_sent(void **state)
{
	struct vsock_guest g;
	struct vsock_packet p;
	size_t total = 0;
	int fd;

	(void)state;
	make_pattern();
	vsock_guest_init(&g, 0);
	vsock_guest_start(&g);
	fd = vsock_open_by_guest(&g, 6, 8);
	assert_int_equal(send(fd, pattern, 20000, 0), 20000);
	(void)close(fd);
	while (total < 20000) {
		vsock_guest_expect(&g, VSOCK_OP_RW, &p);
		assert_memory_equal(p.data, pattern + total, p.hdr.len);
		total += p.hdr.len;
	}
	vsock_guest_expect(&g, VSOCK_OP_SHUTDOWN, &p);
	assert_int_equal(p.hdr.flags, VSOCK_SHUT_BOTH);
	vsock_guest_op(&g, VSOCK_OP_RST, 6, 8, 0);
	assert_int_equal(virtio_vsock_stats(g.dev)->in_use, 0);
	vsock_guest_done(&g);
}

static void test_unanswered_close_ends_in_reset(void **state)
{
	struct vsock_guest g;
	struct vsock_packet p;
	int fd;

	(void)state;
	vsock_guest_init(&g, 20);
	vsock_guest_start(&g);
	fd = vsock_open_by_guest(&g, 6, 8);
	(void)close(fd);
	vsock_guest_expect(&g, VSOCK_OP_SHUTDOWN, &p);
	vsock_guest_expect(&g, VSOCK_OP_RST, &p);
	assert_int_equal(virtio_vsock_stats(g.dev)->in_use, 0);
	vsock_guest_done(&g);
}

static void test_reset_closes_everything(void **state)
{
	struct vsock_guest g;
	uint32_t port;
	int a, b;

	(void)state;
	vsock_guest_init(&g, 0);
	vsock_guest_start(&g);
	a = vsock_open_by_guest(&g, 6, 8);
	b = vsock_open_by_host(&g, 9, &port);
	fake_reset(&g.d);
	assert_end(&g, a);
	assert_end(&g, b);
	assert_int_equal(virtio_vsock_stats(g.dev)->in_use, 0);
	(void)close(a);
	(void)close(b);
	vsock_guest_start(&g);
	a = vsock_open_by_host(&g, 9, &port);
	(void)close(a);
	vsock_guest_done(&g);
}

static void test_moved_device_tells_transport_reset(void **state)
{
	struct vsock_guest g;
	struct vsock_packet p;
	struct fake_used used;
	struct err e = ERR_INIT;
	uint32_t port;
	uint64_t event;
	int fd;

	(void)state;
	vsock_guest_init(&g, 0);
	vsock_guest_start(&g);
	event = fake_alloc(&g.d, 4, 4);
	memset(fake_ptr(&g.d, event, 4), 0xff, 4);
	fd = vsock_open_by_guest(&g, 6, 8);
	g.dev = vsock_guest_fresh(&g);
	assert_int_equal(fake_move_to(&g.d, g.dev, &e), 0);
	assert_end(&g, fd);
	/* No event buffer yet: the event waits for it. */
	assert_false(fake_take_used(&g.d, VSOCK_QUEUE_EVENT, &used));
	(void)fake_add(&g.d, VSOCK_QUEUE_EVENT, FAKE_PARTS({ event, 4, true }));
	assert_true(fake_kick_if_wanted(&g.d, VSOCK_QUEUE_EVENT));
	assert_true(fake_take_used(&g.d, VSOCK_QUEUE_EVENT, &used));
	assert_int_equal(used.len, 4);
	assert_int_equal(*(uint32_t *)fake_ptr(&g.d, event, 4),
			 VSOCK_EVENT_TRANSPORT_RESET);
	/* What the guest still sends on the old connection is refused. */
	vsock_guest_data(&g, 6, 8, "x", 1);
	vsock_guest_expect(&g, VSOCK_OP_RST, &p);
	(void)close(fd);
	fd = vsock_open_by_host(&g, 9, &port);
	(void)close(fd);
	vsock_guest_done(&g);
}

/* A driver that has not come to DRIVER_OK yet has nothing to lose. */
static void test_moved_device_without_driver_tells_nothing(void **state)
{
	struct vsock_guest g;
	struct fake_used used;
	struct err e = ERR_INIT;
	uint64_t event;

	(void)state;
	vsock_guest_init(&g, 0);
	g.dev = vsock_guest_fresh(&g);
	assert_int_equal(fake_move_to(&g.d, g.dev, &e), 0);
	vsock_guest_start(&g);
	event = fake_alloc(&g.d, 4, 4);
	(void)fake_add(&g.d, VSOCK_QUEUE_EVENT, FAKE_PARTS({ event, 4, true }));
	fake_kick(&g.d, VSOCK_QUEUE_EVENT);
	assert_false(fake_take_used(&g.d, VSOCK_QUEUE_EVENT, &used));
	vsock_guest_done(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_config_has_cid),
		cmocka_unit_test(test_new_refuses_bad_config),
		cmocka_unit_test(test_host_connects_and_both_send),
		cmocka_unit_test(test_bytes_behind_connect_line_arrive),
		cmocka_unit_test(test_connect_line_may_come_in_pieces),
		cmocka_unit_test(test_guest_refuses_client_sees_end),
		cmocka_unit_test(test_no_driver_client_sees_end),
		cmocka_unit_test(test_silent_guest_times_out),
		cmocka_unit_test(test_guest_connects),
		cmocka_unit_test(test_guest_connect_to_nobody_is_reset),
		cmocka_unit_test(test_host_half_close),
		cmocka_unit_test(test_guest_half_close),
		cmocka_unit_test(test_guest_stops_receiving),
		cmocka_unit_test(test_host_bytes_wait_for_credit),
		cmocka_unit_test(test_host_bytes_wait_for_buffers),
		cmocka_unit_test(test_guest_bytes_wait_for_host),
		cmocka_unit_test(test_bulk_keeps_memory),
		cmocka_unit_test(test_closed_guest_socket_still_drains),
		cmocka_unit_test(test_host_close_delivers_what_was_sent),
		cmocka_unit_test(test_unanswered_close_ends_in_reset),
		cmocka_unit_test(test_reset_closes_everything),
		cmocka_unit_test(test_moved_device_tells_transport_reset),
		cmocka_unit_test(
			test_moved_device_without_driver_tells_nothing),
	};

	int failed = cmocka_run_group_tests(tests, NULL, NULL);

	/* Once more with kicks and interrupts by flags (2.7.7, 2.7.10). */
	vsock_guest_features = ~(1ull << VIRTIO_RING_F_EVENT_IDX);
	return failed + cmocka_run_group_tests(tests, NULL, NULL);
}
