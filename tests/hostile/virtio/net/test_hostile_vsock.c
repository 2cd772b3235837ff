/* SPDX-License-Identifier: Apache-2.0 */
/* The socket device against guests and clients that break the rules. */
#include "tests/unit/test.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vsock_guest.h"

static uint8_t bytes[64 * 1024], got[64 * 1024];

static void test_short_or_lying_chain_fails_device(void **state)
{
	struct vsock_guest *g = *state;
	struct vsock_hdr hdr = vsock_guest_hdr(VSOCK_OP_RW, 6, 8);

	(void)fake_add(&g->d, VSOCK_QUEUE_TX,
		       FAKE_PARTS({ g->tx_buf, 43, false }));
	fake_kick(&g->d, VSOCK_QUEUE_TX);
	assert_true(fake_needs_reset(&g->d));
	for (int i = 0; i < 2; i++) {
		fake_reset(&g->d);
		vsock_guest_start(g);
		hdr.len = i ? UINT32_MAX : 11;
		vsock_guest_send(g, &hdr, bytes, 10);
		assert_true(fake_needs_reset(&g->d));
	}
}

static void test_short_receive_buffer_fails_device(void **state)
{
	struct vsock_guest *g = *state;

	fake_reset(&g->d);
	fake_driver_start(&g->d, ~0ull);
	(void)fake_add(&g->d, VSOCK_QUEUE_RX,
		       FAKE_PARTS({ FAKE_HIGH_GPA, 44, true }));
	vsock_guest_op(g, VSOCK_OP_REQUEST, 6, 8, 0);
	assert_true(fake_needs_reset(&g->d));
}

static void test_foreign_cids_get_nothing(void **state)
{
	struct vsock_guest *g = *state;
	struct vsock_hdr hdr = vsock_guest_hdr(VSOCK_OP_REQUEST, 6, 8);
	struct vsock_packet p;

	hdr.src_cid = VSOCK_GUEST_CID + 1;
	vsock_guest_send(g, &hdr, NULL, 0);
	hdr.src_cid = VSOCK_GUEST_CID | 1ull << 32;
	vsock_guest_send(g, &hdr, NULL, 0);
	assert_false(vsock_guest_recv(g, &p));
	/* To somebody else: refused in that somebody's name. */
	hdr.src_cid = VSOCK_GUEST_CID;
	hdr.dst_cid = 99;
	vsock_guest_send(g, &hdr, NULL, 0);
	vsock_guest_expect(g, VSOCK_OP_RST, &p);
	assert_int_equal(p.hdr.src_cid, 99);
	hdr.op = VSOCK_OP_RST;
	vsock_guest_send(g, &hdr, NULL, 0);
	assert_false(vsock_guest_recv(g, &p));
	assert_int_equal(virtio_vsock_stats(g->dev)->dropped, 4);
}

static void test_seqpacket_and_unknown_types_are_reset(void **state)
{
	struct vsock_guest *g = *state;
	static const uint16_t types[] = { 0, 2, 3, 0xffff };
	struct vsock_hdr hdr = vsock_guest_hdr(VSOCK_OP_REQUEST, 6, 8);
	struct vsock_packet p;

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		hdr.type = types[i];
		vsock_guest_send(g, &hdr, NULL, 0);
		vsock_guest_expect(g, VSOCK_OP_RST, &p);
		assert_int_equal(p.hdr.type, types[i]);
	}
	assert_int_equal(vsock_guest_in_use(g), 0);
}

/* Every op on a connection that does not exist. */
static void test_ops_without_connection_are_reset(void **state)
{
	struct vsock_guest *g = *state;
	struct vsock_packet p;

	for (unsigned op = 0; op < 20; op++) {
		vsock_guest_op(g, (enum vsock_op)op, 6, 8, 0);
		if (op == VSOCK_OP_RST)
			assert_false(vsock_guest_recv(g, &p));
		else
			vsock_guest_expect(g, VSOCK_OP_RST, &p);
	}
	assert_int_equal(vsock_guest_in_use(g), 0);
}

/* Ops that do not belong to an open connection end it. */
static void test_wrong_ops_end_connection(void **state)
{
	static const unsigned ops[] = { 0, VSOCK_OP_REQUEST, VSOCK_OP_RESPONSE,
					8, 0xffff };

	(void)state;
	for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
		struct vsock_guest g;
		struct vsock_packet p;
		int fd;

		vsock_guest_init(&g, 0);
		vsock_guest_start(&g);
		fd = vsock_open_by_guest(&g, 6, 8);
		vsock_guest_op(&g, (enum vsock_op)ops[i], 6, 8, 0);
		vsock_guest_expect(&g, VSOCK_OP_RST, &p);
		vsock_host_expect_end(&g, fd);
		assert_int_equal(vsock_guest_in_use(&g), 0);
		(void)close(fd);
		vsock_guest_done(&g);
	}
}

/* What a guest may send before it answered, and after it half-closed. */
static void test_data_out_of_turn_ends_connection(void **state)
{
	struct vsock_guest *g = *state;
	struct vsock_packet p;
	int fd;

	fd = vsock_host_client(g, "CONNECT 5\n");
	vsock_guest_expect(g, VSOCK_OP_REQUEST, &p);
	vsock_guest_data(g, 5, p.hdr.src_port, "x", 1);
	vsock_guest_expect(g, VSOCK_OP_RST, &p);
	vsock_host_expect_end(g, fd);
	(void)close(fd);
	fd = vsock_open_by_guest(g, 6, 8);
	vsock_guest_op(g, VSOCK_OP_SHUTDOWN, 6, 8, VSOCK_SHUT_SEND);
	vsock_guest_data(g, 6, 8, "x", 1);
	vsock_guest_expect(g, VSOCK_OP_RST, &p);
	vsock_host_expect_end(g, fd);
	(void)close(fd);
	assert_int_equal(vsock_guest_in_use(g), 0);
}

static void test_credit_overrun_ends_connection(void **state)
{
	struct vsock_guest *g = *state;
	enum {
		CHUNK = 32 * 1024
	};
	struct vsock_packet p;
	unsigned sent = 0;
	int fd;

	fd = vsock_open_by_guest(g, 6, 8);
	/* The host reads nothing; its socket and our buffer are finite. */
	while (vsock_guest_in_use(g) && sent < 100) {
		vsock_guest_data(g, 6, 8, bytes, CHUNK);
		vsock_guest_settle(g);
		sent++;
	}
	assert_int_equal(vsock_guest_in_use(g), 0);
	do
		assert_true(vsock_guest_recv(g, &p));
	while (p.hdr.op == VSOCK_OP_CREDIT_UPDATE);
	assert_int_equal(p.hdr.op, VSOCK_OP_RST);
	(void)close(fd);
}

/* Lies about its own credit must not make us send more or fall over. */
static void test_impossible_credit_stalls_only_itself(void **state)
{
	struct vsock_guest *g = *state;
	struct vsock_hdr hdr = vsock_guest_hdr(VSOCK_OP_CREDIT_UPDATE, 6, 8);
	struct vsock_packet p;
	int fd;

	fd = vsock_open_by_guest(g, 6, 8);
	hdr.fwd_cnt = 1; /* has forwarded what it never got */
	vsock_guest_send(g, &hdr, NULL, 0);
	assert_int_equal(send(fd, bytes, 100, 0), 100);
	vsock_guest_expect(g, VSOCK_OP_CREDIT_REQUEST, &p);
	assert_false(vsock_guest_recv(g, &p));
	hdr.fwd_cnt = 0;
	hdr.buf_alloc = UINT32_MAX;
	vsock_guest_send(g, &hdr, NULL, 0);
	vsock_guest_expect(g, VSOCK_OP_RW, &p);
	assert_int_equal(p.hdr.len, 100);
	(void)close(fd);
}

/* Packets without a connection, and no buffer for any answer. */
static void test_reset_storm_without_buffers_stalls_tx(void **state)
{
	struct vsock_guest *g = *state;
	struct vsock_packet p;
	struct fake_used used;
	unsigned returned = 0, resets = 0;

	fake_reset(&g->d);
	fake_driver_start(&g->d, ~0ull);
	g->posted = 0;
	for (unsigned i = 0; i < 200; i++)
		vsock_guest_op(g, VSOCK_OP_RW, i, 8, 0);
	vsock_guest_settle(g);
	while (fake_take_used(&g->d, VSOCK_QUEUE_TX, &used))
		returned++;
	assert_true(returned > 0 && returned < 200);
	/* Every buffer lets one go on; in the end all are answered. */
	while (resets < 200) {
		if (!g->posted)
			vsock_guest_post(g, 16);
		vsock_guest_expect(g, VSOCK_OP_RST, &p);
		resets++;
	}
	vsock_guest_settle(g);
	while (fake_take_used(&g->d, VSOCK_QUEUE_TX, &used))
		returned++;
	assert_int_equal(returned, 200);
}

static void test_bad_connect_lines_are_closed(void **state)
{
	struct vsock_guest *g = *state;
	static const char *const lines[] = {
		"\n",
		"CONNECT\n",
		"CONNECT \n",
		"CONNECT x\n",
		"CONNECT -1\n",
		"CONNECT 4294967295\n",
		"CONNECT 99999999999999999999999\n",
		"CONNECT 1 \n",
		"connect 1\n",
		"CONNECT 1\r\n",
		"GET / HTTP/1.1\r\n\r\n",
		"CONNECT 0000000000000000000000000000000000000001\n",
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
	};
	struct vsock_packet p;

	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		int fd = vsock_host_client(g, lines[i]);

		vsock_host_expect_end(g, fd);
		(void)close(fd);
	}
	assert_false(vsock_guest_recv(g, &p));
	assert_int_equal(vsock_guest_in_use(g), 0);
}

/* More clients than slots: the rest wait in the backlog, then get their turn. */
static void test_client_flood_is_bounded(void **state)
{
	struct vsock_guest *g = *state;
	int fds[VIRTIO_VSOCK_CONNS_MAX + 20];
	const unsigned count = sizeof(fds) / sizeof(fds[0]);
	struct vsock_packet p;
	unsigned requests = 0;

	for (unsigned i = 0; i < count; i++) {
		fds[i] = vsock_host_client(g, "CONNECT 1\n");
		(void)loop_run_once(g->loop, 0);
	}
	vsock_guest_settle(g);
	assert_int_equal(vsock_guest_in_use(g), VIRTIO_VSOCK_CONNS_MAX);
	while (requests < count) {
		vsock_guest_expect(g, VSOCK_OP_REQUEST, &p);
		requests++;
		vsock_guest_post(g, 1);
		vsock_guest_op(g, VSOCK_OP_RST, 1, p.hdr.src_port, 0);
	}
	assert_int_equal(vsock_guest_in_use(g), 0);
	for (unsigned i = 0; i < count; i++) {
		vsock_host_expect_end(g, fds[i]);
		(void)close(fds[i]);
	}
}

static void test_client_gone_before_answer(void **state)
{
	struct vsock_guest *g = *state;
	struct vsock_packet p;
	uint32_t port;

	(void)close(vsock_host_client(g, "CONNECT 1\n"));
	vsock_guest_settle(g);
	/* Either it was never asked, or it hears of the end. */
	if (vsock_guest_recv(g, &p)) {
		assert_int_equal(p.hdr.op, VSOCK_OP_REQUEST);
		port = p.hdr.src_port;
		vsock_guest_expect(g, VSOCK_OP_RST, &p);
		vsock_guest_op(g, VSOCK_OP_RESPONSE, 1, port, 0);
		vsock_guest_expect(g, VSOCK_OP_RST, &p);
	}
	assert_int_equal(vsock_guest_in_use(g), 0);
}

/* Closing in every order must end with no slot in use. */
static void test_shutdown_orders(void **state)
{
	(void)state;
	for (unsigned order = 0; order < 64; order++) {
		struct vsock_guest g;
		struct vsock_packet p;
		bool open = true;
		int fd;

		vsock_guest_init(&g, 20);
		vsock_guest_start(&g);
		fd = vsock_open_by_guest(&g, 6, 8);
		for (unsigned step = 0; step < 3; step++) {
			unsigned what = order >> (2 * step) & 3;

			if (what < 2)
				vsock_guest_op(&g, VSOCK_OP_SHUTDOWN, 6, 8,
					       what + 1);
			else if (what == 2)
				(void)shutdown(fd, SHUT_WR);
			else
				(void)shutdown(fd, SHUT_RD);
			if (order & 1)
				vsock_guest_settle(&g);
		}
		(void)close(fd);
		/* The host is gone and the guest is mute: deadlines do it. */
		while (open) {
			(void)loop_run_once(g.loop, 10);
			while (vsock_guest_recv(&g, &p))
				;
			open = vsock_guest_in_use(&g) != 0;
		}
		vsock_guest_done(&g);
	}
}

static void test_stopped_queues_do_not_spin(void **state)
{
	struct vsock_guest *g = *state;
	int fd;

	fd = vsock_open_by_guest(g, 6, 8);
	for (uint16_t i = 0; i < VSOCK_QUEUE_COUNT; i++) {
		fake_write(&g->d, 0x30, i); /* QueueSel */
		fake_write(&g->d, 0x44, 0); /* QueueReady */
	}
	assert_int_equal(send(fd, bytes, 5000, 0), 5000);
	vsock_guest_settle(g);
	(void)close(fd);
	vsock_guest_settle(g);
	fake_reset(&g->d);
	assert_int_equal(vsock_guest_in_use(g), 0);
	vsock_guest_start(g);
	fd = vsock_open_by_guest(g, 6, 8);
	assert_int_equal(send(fd, "a", 1, 0), 1);
	vsock_guest_data(g, 6, 8, "b", 1);
	assert_int_equal(vsock_host_read(g, fd, got, 1), 0);
	(void)close(fd);
}

/* More sockets than there are slots, from the guest. */
static void test_request_flood_is_bounded(void **state)
{
	struct vsock_guest *g = *state;
	struct vsock_packet p;
	unsigned accepted = 0, refused = 0, held = 0;
	int listen_fd, fd, fds[VIRTIO_VSOCK_GUEST_CONNS_MAX];
	uint32_t port;

	listen_fd = vsock_host_listen_on(g, 8);
	for (uint32_t i = 0; i < 300; i++) {
		int taken;

		vsock_guest_op(g, VSOCK_OP_REQUEST, 10000 + i, 8, 0);
		while (vsock_guest_recv(g, &p)) {
			accepted += p.hdr.op == VSOCK_OP_RESPONSE;
			refused += p.hdr.op == VSOCK_OP_RST;
			vsock_guest_post(g, 1);
		}
		taken = accept(listen_fd, NULL, NULL);
		if (taken < 0)
			continue;
		assert_true(held < VIRTIO_VSOCK_GUEST_CONNS_MAX);
		/* Kept open by the guest's side alone. */
		assert_true(shutdown(taken, SHUT_WR) == 0);
		fds[held++] = taken;
	}
	assert_int_equal(held, VIRTIO_VSOCK_GUEST_CONNS_MAX);
	assert_int_equal(accepted, VIRTIO_VSOCK_GUEST_CONNS_MAX);
	assert_int_equal(refused, 300 - VIRTIO_VSOCK_GUEST_CONNS_MAX);
	/* The host's clients still find room. */
	while (vsock_guest_recv(g, &p))
		vsock_guest_post(g, 1);
	fd = vsock_open_by_host(g, 9, &port);
	(void)close(fd);
	fake_reset(&g->d);
	assert_int_equal(vsock_guest_in_use(g), 0);
	(void)close(listen_fd);
	while (held)
		(void)close(fds[--held]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		VSOCK_TEST(test_short_or_lying_chain_fails_device),
		VSOCK_TEST(test_short_receive_buffer_fails_device),
		VSOCK_TEST(test_foreign_cids_get_nothing),
		VSOCK_TEST(test_seqpacket_and_unknown_types_are_reset),
		VSOCK_TEST(test_ops_without_connection_are_reset),
		cmocka_unit_test(test_wrong_ops_end_connection),
		VSOCK_TEST(test_data_out_of_turn_ends_connection),
		VSOCK_TEST(test_credit_overrun_ends_connection),
		VSOCK_TEST(test_impossible_credit_stalls_only_itself),
		VSOCK_TEST(test_reset_storm_without_buffers_stalls_tx),
		VSOCK_TEST(test_bad_connect_lines_are_closed),
		VSOCK_TEST(test_client_flood_is_bounded),
		VSOCK_TEST(test_client_gone_before_answer),
		cmocka_unit_test(test_shutdown_orders),
		VSOCK_TEST(test_stopped_queues_do_not_spin),
		VSOCK_TEST(test_request_flood_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
