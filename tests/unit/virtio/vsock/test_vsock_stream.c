/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes on a socket: credit, buffers and memory, with honest peers. */
#include "tests/unit/test.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vsock_guest.h"

static uint8_t pattern[64 * 1024], got[64 * 1024];

static void make_pattern(void)
{
	for (size_t i = 0; i < sizeof(pattern); i++)
		pattern[i] = (uint8_t)(i * 11 + (i >> 7));
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

static void test_host_bytes_wait_for_credit(void **state)
{
	struct vsock_guest *g = *state;
	struct vsock_hdr hdr;
	struct vsock_packet p;
	size_t total = 0;
	int fd;

	make_pattern();
	fd = vsock_open_by_guest(g, 6, 8);
	hdr = vsock_guest_hdr(VSOCK_OP_CREDIT_UPDATE, 6, 8);
	hdr.buf_alloc = 10000;
	vsock_guest_send(g, &hdr, NULL, 0);
	assert_int_equal(send(fd, pattern, 30000, 0), 30000);
	for (unsigned round = 1; round <= 3; round++) {
		while (total < 10000u * round) {
			vsock_guest_expect(g, VSOCK_OP_RW, &p);
			assert_memory_equal(p.data, pattern + total, p.hdr.len);
			total += p.hdr.len;
		}
		assert_int_equal(total, 10000 * round);
		/* Asked once, and nothing beyond the credit. */
		vsock_guest_expect(g, VSOCK_OP_CREDIT_REQUEST, &p);
		assert_false(vsock_guest_recv(g, &p));
		hdr.fwd_cnt = (uint32_t)total;
		vsock_guest_send(g, &hdr, NULL, 0);
	}
	assert_false(vsock_guest_recv(g, &p));
	(void)close(fd);
}

static void test_host_bytes_wait_for_buffers(void **state)
{
	struct vsock_guest *g = *state;
	struct vsock_packet p;
	size_t total = 0;
	int fd;

	make_pattern();
	fd = vsock_open_by_guest(g, 6, 8);
	/* One of the buffers took the response. */
	for (unsigned i = 0; i < VSOCK_GUEST_BUFS - 1; i++) {
		assert_int_equal(send(fd, pattern, 10, 0), 10);
		vsock_guest_expect(g, VSOCK_OP_RW, &p);
	}
	assert_int_equal(g->posted, 0);
	assert_int_equal(send(fd, pattern, 6000, 0), 6000);
	vsock_guest_settle(g);
	while (total < 6000) {
		/* Kicks only when the device asked for one. */
		vsock_guest_post(g, 1);
		vsock_guest_expect(g, VSOCK_OP_RW, &p);
		assert_memory_equal(p.data, pattern + total, p.hdr.len);
		total += p.hdr.len;
	}
	(void)close(fd);
}

/* A guest that keeps to its credit, against a host that reads in its time. */
static void test_guest_bytes_wait_for_host(void **state)
{
	struct vsock_guest *g = *state;
	enum {
		CHUNK = 16 * 1024,
		CHUNKS = 64
	};
	uint32_t sent = 0, fwd = 0, received = 0;
	struct vsock_packet p;
	int fd;

	make_pattern();
	fd = vsock_open_by_guest(g, 6, 8);
	while (received < CHUNK * CHUNKS) {
		while (sent < CHUNK * CHUNKS &&
		       sent - fwd + CHUNK <= VIRTIO_VSOCK_BUF_LEN) {
			vsock_guest_data(g, 6, 8, pattern, CHUNK);
			sent += CHUNK;
		}
		assert_int_equal(vsock_host_read(g, fd, got, CHUNK), 0);
		assert_memory_equal(got, pattern, CHUNK);
		received += CHUNK;
		vsock_guest_settle(g);
		while (vsock_guest_recv(g, &p)) {
			assert_int_equal(p.hdr.op, VSOCK_OP_CREDIT_UPDATE);
			assert_int_equal(p.hdr.buf_alloc, VIRTIO_VSOCK_BUF_LEN);
			fwd = p.hdr.fwd_cnt;
			vsock_guest_post(g, 1);
		}
	}
	assert_int_equal(virtio_vsock_stats(g->dev)->resets, 0);
	(void)close(fd);
}

/* As fast as the host writes, into a guest that takes its time. */
static void test_bulk_keeps_memory(void **state)
{
	struct vsock_guest *g = *state;
	enum {
		TOTAL = 64 << 20
	};
	size_t sent = 0, received = 0;
	struct vsock_packet p;
	long before = 0;
	int fd;

	make_pattern();
	fd = vsock_open_by_guest(g, 6, 8);
	while (received < TOTAL) {
		struct vsock_hdr hdr =
			vsock_guest_hdr(VSOCK_OP_CREDIT_UPDATE, 6, 8);
		ssize_t n = send(fd, pattern, sizeof(pattern), MSG_NOSIGNAL);

		sent += n > 0 ? (size_t)n : 0;
		(void)loop_run_once(g->loop, 0);
		while (vsock_guest_take(g, &p)) {
			received += p.hdr.len;
			vsock_guest_post(g, 1);
		}
		/* Behind by one turn: the credit runs out again and again. */
		hdr.fwd_cnt = (uint32_t)received;
		vsock_guest_send(g, &hdr, NULL, 0);
		if (received < TOTAL / 8)
			before = resident_kib();
	}
	assert_true(received <= sent);
	assert_true(resident_kib() < before + 4096);
	(void)close(fd);
}

static void test_closed_guest_socket_still_drains(void **state)
{
	struct vsock_guest *g = *state;
	enum {
		CHUNK = 16 * 1024
	};
	struct vsock_packet p;
	uint32_t sent = 0;
	int fd, small = 4096;

	make_pattern();
	fd = vsock_open_by_guest(g, 6, 8);
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	/* Beyond what the host's socket takes: some stays with us. */
	for (; sent < 2 * VIRTIO_VSOCK_BUF_LEN; sent += CHUNK) {
		vsock_guest_data(g, 6, 8, pattern, CHUNK);
		vsock_guest_settle(g);
	}
	vsock_guest_op(g, VSOCK_OP_SHUTDOWN, 6, 8, VSOCK_SHUT_BOTH);
	do
		assert_true(vsock_guest_recv(g, &p));
	while (p.hdr.op == VSOCK_OP_CREDIT_UPDATE);
	assert_int_equal(p.hdr.op, VSOCK_OP_RST);
	vsock_guest_op(g, VSOCK_OP_RST, 6, 8, 0);
	for (uint32_t i = 0; i < sent; i += CHUNK) {
		assert_int_equal(vsock_host_read(g, fd, got, CHUNK), 0);
		assert_memory_equal(got, pattern, CHUNK);
	}
	vsock_host_expect_end(g, fd);
	assert_int_equal(vsock_guest_in_use(g), 0);
	(void)close(fd);
}

static void test_host_close_delivers_what_was_sent(void **state)
{
	struct vsock_guest *g = *state;
	struct vsock_packet p;
	size_t total = 0;
	int fd;

	make_pattern();
	fd = vsock_open_by_guest(g, 6, 8);
	assert_int_equal(send(fd, pattern, 20000, 0), 20000);
	(void)close(fd);
	while (total < 20000) {
		vsock_guest_expect(g, VSOCK_OP_RW, &p);
		assert_memory_equal(p.data, pattern + total, p.hdr.len);
		total += p.hdr.len;
	}
	vsock_guest_expect(g, VSOCK_OP_SHUTDOWN, &p);
	assert_int_equal(p.hdr.flags, VSOCK_SHUT_BOTH);
	vsock_guest_op(g, VSOCK_OP_RST, 6, 8, 0);
	assert_int_equal(vsock_guest_in_use(g), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		VSOCK_TEST(test_host_bytes_wait_for_credit),
		VSOCK_TEST(test_host_bytes_wait_for_buffers),
		VSOCK_TEST(test_guest_bytes_wait_for_host),
		VSOCK_TEST(test_bulk_keeps_memory),
		VSOCK_TEST(test_closed_guest_socket_still_drains),
		VSOCK_TEST(test_host_close_delivers_what_was_sent),
	};

	int failed = cmocka_run_group_tests(tests, NULL, NULL);

	/* Once more with kicks and interrupts by flags (2.7.7, 2.7.10). */
	vsock_guest_features = ~(1ull << VIRTIO_RING_F_EVENT_IDX);
	return failed + cmocka_run_group_tests(tests, NULL, NULL);
}
