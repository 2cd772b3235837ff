/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest with a socket device: the test speaks packets on one side and unix
 * sockets, in a directory of its own, on the other.
 */
#ifndef TESTS_UNIT_VIRTIO_NET_VSOCK_GUEST_H
#define TESTS_UNIT_VIRTIO_NET_VSOCK_GUEST_H

#include "base/loop.h"
#include "fake_driver.h"
#include "virtio/vsock/vsock.h"
#include "virtio/vsock/vsock_wire.h"

enum {
	VSOCK_GUEST_CID = 7,
	VSOCK_GUEST_BUFS = 64,
	VSOCK_GUEST_BUF_LEN = 4096 + 44,
	VSOCK_GUEST_TX_LEN = 64 * 1024 + 44,
	VSOCK_GUEST_ALLOC = 256 * 1024, /* credit the guest gives */
	VSOCK_GUEST_WAIT_MS = 2000
};

struct vsock_guest {
	struct fake_driver d;
	struct loop *loop;
	struct virtio_device *dev;
	char dir[32]; /* temporary directory with the sockets */
	int dir_fd;
	uint64_t timeout_ms; /* of the devices made */
	uint64_t rx_of_head[VIRTQ_SIZE_MAX];
	uint64_t tx_buf;
	unsigned posted; /* buffers the device has */
};

/* A packet as the guest got it. */
struct vsock_packet {
	struct vsock_hdr hdr;
	uint8_t data[4096];
};

/*
 * For cmocka: *state is a guest whose driver is ready. hasty: with deadlines of
 * 20 ms; fresh: no driver yet.
 */
int vsock_guest_setup(void **state);
int vsock_guest_setup_hasty(void **state);
int vsock_guest_setup_fresh(void **state);
int vsock_guest_teardown(void **state);
#define VSOCK_TEST(name)                                         \
	cmocka_unit_test_setup_teardown(name, vsock_guest_setup, \
					vsock_guest_teardown)
#define VSOCK_TEST_HASTY(name)                                         \
	cmocka_unit_test_setup_teardown(name, vsock_guest_setup_hasty, \
					vsock_guest_teardown)
#define VSOCK_TEST_FRESH(name)                                         \
	cmocka_unit_test_setup_teardown(name, vsock_guest_setup_fresh, \
					vsock_guest_teardown)

/* timeout_ms: deadline of CONNECT and linger; 0: the defaults. */
void vsock_guest_init(struct vsock_guest *g, uint64_t timeout_ms);
void vsock_guest_done(struct vsock_guest *g);
/* Another device for the same memory and directory. */
struct virtio_device *vsock_guest_fresh(struct vsock_guest *g);
/* Features every start may use; a test program may narrow them. */
extern uint64_t vsock_guest_features;

/* Driver ready, with all receive buffers posted. */
void vsock_guest_start(struct vsock_guest *g);
void vsock_guest_post(struct vsock_guest *g, unsigned count);
void vsock_guest_settle(struct vsock_guest *g);

/* A header from the guest's port to the host's, with the guest's credit. */
struct vsock_hdr vsock_guest_hdr(enum vsock_op op, uint32_t guest_port,
				 uint32_t host_port);
/* Sends a packet; data may be NULL. len of the header is used as it is. */
void vsock_guest_send(struct vsock_guest *g, const struct vsock_hdr *hdr,
		      const void *data, uint32_t len);
void vsock_guest_op(struct vsock_guest *g, enum vsock_op op,
		    uint32_t guest_port, uint32_t host_port, uint32_t flags);
void vsock_guest_data(struct vsock_guest *g, uint32_t guest_port,
		      uint32_t host_port, const void *data, uint32_t len);
/* A packet that is there already. */
bool vsock_guest_take(struct vsock_guest *g, struct vsock_packet *ret);
/* Next packet within the deadline; false when none is there at `now`. */
bool vsock_guest_recv(struct vsock_guest *g, struct vsock_packet *ret);
/* The next packet has this op, else the test fails. */
void vsock_guest_expect(struct vsock_guest *g, enum vsock_op op,
			struct vsock_packet *ret);

/* A listening socket for connections of the guest to port. */
int vsock_host_listen_on(struct vsock_guest *g, uint32_t port);
int vsock_host_accepted(struct vsock_guest *g, int listen_fd);
/* A client of the device's listening socket. */
int vsock_host_client(struct vsock_guest *g, const char *line);
/* All of len bytes, or fails; -1 at the end of the stream. */
int vsock_host_read(struct vsock_guest *g, int fd, void *data, size_t len);
/* The stream ends here, else the test fails. */
void vsock_host_expect_end(struct vsock_guest *g, int fd);
/* Connections the device has. */
unsigned vsock_guest_in_use(const struct vsock_guest *g);

/* Opens connections both ways; returns the host's descriptor. */
int vsock_open_by_host(struct vsock_guest *g, uint32_t guest_port,
		       uint32_t *ret_host_port);
int vsock_open_by_guest(struct vsock_guest *g, uint32_t guest_port,
			uint32_t host_port);

#endif
