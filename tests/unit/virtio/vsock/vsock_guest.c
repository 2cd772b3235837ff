/* SPDX-License-Identifier: Apache-2.0 */
/* See vsock_guest.h. */
#include "vsock_guest.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/sock.h"
#include "tests/must.h"

uint64_t vsock_guest_features = ~0ull;

struct virtio_device *vsock_guest_fresh(struct vsock_guest *g)
{
	struct virtio_vsock_config config = {
		.guest_cid = VSOCK_GUEST_CID,
		.listen_fd = -1,
		.dir_fd = g->dir_fd,
		.base = "v.sock",
		.connect_timeout_ms = g->timeout_ms,
		.linger_timeout_ms = g->timeout_ms,
	};
	struct virtio_device *dev;
	struct err e = ERR_INIT;

	(void)unlinkat(g->dir_fd, "v.sock", 0);
	must(sock_listen_unix(g->dir_fd, "v.sock", 0600, &config.listen_fd,
			      &e) == 0);
	must(virtio_vsock_new(&config, &g->d.mem, g->loop, &dev, &e) == 0);
	return dev;
}

void vsock_guest_init(struct vsock_guest *g, uint64_t timeout_ms)
{
	*g = (struct vsock_guest){ .dir = "/tmp/vsock.XXXXXX",
				   .timeout_ms = timeout_ms };
	must(mkdtemp(g->dir) != NULL);
	g->dir_fd = open(g->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	must(g->dir_fd >= 0);
	g->loop = loop_new(NULL);
	must(g->loop);
	fake_driver_init(&g->d);
	g->dev = vsock_guest_fresh(g);
	fake_driver_attach(&g->d, g->dev);
}

void vsock_guest_done(struct vsock_guest *g)
{
	fake_driver_done(&g->d);
	loop_free(g->loop);
	must(file_remove_tree(AT_FDCWD, g->dir, NULL) == 0);
	close_fd(&g->dir_fd);
}

int vsock_guest_setup_fresh(void **state)
{
	struct vsock_guest *g = malloc(sizeof(*g));

	must(g);
	vsock_guest_init(g, 0);
	*state = g;
	return 0;
}

int vsock_guest_setup(void **state)
{
	(void)vsock_guest_setup_fresh(state);
	vsock_guest_start(*state);
	return 0;
}

int vsock_guest_setup_hasty(void **state)
{
	struct vsock_guest *g = malloc(sizeof(*g));

	must(g);
	vsock_guest_init(g, 20);
	vsock_guest_start(g);
	*state = g;
	return 0;
}

int vsock_guest_teardown(void **state)
{
	vsock_guest_done(*state);
	free(*state);
	return 0;
}

void vsock_guest_post(struct vsock_guest *g, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		struct fake_queue *q = &g->d.queues[VSOCK_QUEUE_RX];
		uint64_t gpa = FAKE_HIGH_GPA +
			       (uint64_t)(q->next_avail % VSOCK_GUEST_BUFS) *
				       VSOCK_GUEST_BUF_LEN;
		uint16_t head = fake_add(
			&g->d, VSOCK_QUEUE_RX,
			FAKE_PARTS({ gpa, VSOCK_GUEST_BUF_LEN, true }));

		g->rx_of_head[head] = gpa;
		g->posted++;
	}
	(void)fake_kick_if_wanted(&g->d, VSOCK_QUEUE_RX);
}

void vsock_guest_start(struct vsock_guest *g)
{
	fake_driver_start(&g->d, vsock_guest_features);
	if (!g->tx_buf)
		g->tx_buf = fake_alloc(&g->d, VSOCK_GUEST_TX_LEN, 64);
	g->posted = 0;
	vsock_guest_post(g, VSOCK_GUEST_BUFS);
}

void vsock_guest_settle(struct vsock_guest *g)
{
	uint64_t deadline = clock_mono_ms() + VSOCK_GUEST_WAIT_MS;

	while (loop_run_once(g->loop, 3) > 0)
		must(clock_mono_ms() < deadline);
}

struct vsock_hdr vsock_guest_hdr(enum vsock_op op, uint32_t guest_port,
				 uint32_t host_port)
{
	return (struct vsock_hdr){ .src_cid = VSOCK_GUEST_CID,
				   .dst_cid = VSOCK_CID_HOST,
				   .src_port = guest_port,
				   .dst_port = host_port,
				   .type = VSOCK_TYPE_STREAM,
				   .op = (uint16_t)op,
				   .buf_alloc = VSOCK_GUEST_ALLOC };
}

void vsock_guest_send(struct vsock_guest *g, const struct vsock_hdr *hdr,
		      const void *data, uint32_t len)
{
	uint8_t *p = fake_ptr(&g->d, g->tx_buf, VSOCK_GUEST_TX_LEN);

	memcpy(p, hdr, sizeof(*hdr));
	if (len) {
		memcpy(p + sizeof(*hdr), data, len);
		(void)fake_add(&g->d, VSOCK_QUEUE_TX,
			       FAKE_PARTS({ g->tx_buf, 44, false },
					  { g->tx_buf + 44, len, false }));
	} else {
		(void)fake_add(&g->d, VSOCK_QUEUE_TX,
			       FAKE_PARTS({ g->tx_buf, 44, false }));
	}
	(void)fake_kick_if_wanted(&g->d, VSOCK_QUEUE_TX);
}

void vsock_guest_op(struct vsock_guest *g, enum vsock_op op,
		    uint32_t guest_port, uint32_t host_port, uint32_t flags)
{
	struct vsock_hdr hdr = vsock_guest_hdr(op, guest_port, host_port);

	hdr.flags = flags;
	vsock_guest_send(g, &hdr, NULL, 0);
}

void vsock_guest_data(struct vsock_guest *g, uint32_t guest_port,
		      uint32_t host_port, const void *data, uint32_t len)
{
	struct vsock_hdr hdr =
		vsock_guest_hdr(VSOCK_OP_RW, guest_port, host_port);

	hdr.len = len;
	vsock_guest_send(g, &hdr, data, len);
}

bool vsock_guest_take(struct vsock_guest *g, struct vsock_packet *ret)
{
	struct fake_used used;
	const uint8_t *p;

	if (!fake_take_used(&g->d, VSOCK_QUEUE_RX, &used))
		return false;
	must(used.len >= sizeof(ret->hdr) && used.len <= VSOCK_GUEST_BUF_LEN);
	p = fake_ptr(&g->d, g->rx_of_head[used.id], VSOCK_GUEST_BUF_LEN);
	memcpy(&ret->hdr, p, sizeof(ret->hdr));
	must(ret->hdr.len == used.len - sizeof(ret->hdr));
	must(ret->hdr.dst_cid == VSOCK_GUEST_CID);
	memcpy(ret->data, p + sizeof(ret->hdr), ret->hdr.len);
	g->posted--;
	return true;
}

bool vsock_guest_recv(struct vsock_guest *g, struct vsock_packet *ret)
{
	if (vsock_guest_take(g, ret))
		return true;
	vsock_guest_settle(g);
	return vsock_guest_take(g, ret);
}

void vsock_guest_expect(struct vsock_guest *g, enum vsock_op op,
			struct vsock_packet *ret)
{
	uint64_t deadline = clock_mono_ms() + VSOCK_GUEST_WAIT_MS;

	while (!vsock_guest_take(g, ret)) {
		must(clock_mono_ms() < deadline);
		(void)loop_run_once(g->loop, 10);
	}
	if (ret->hdr.op != op)
		(void)fprintf(stderr, "expected op %d, got %u\n", (int)op,
			      (unsigned)ret->hdr.op);
	must(ret->hdr.op == op);
}

int vsock_host_listen_on(struct vsock_guest *g, uint32_t port)
{
	char name[32];
	int fd = -1;

	(void)snprintf(name, sizeof(name), "v.sock_%u", (unsigned)port);
	must(sock_listen_unix(g->dir_fd, name, 0600, &fd, NULL) == 0);
	return fd;
}

int vsock_host_accepted(struct vsock_guest *g, int listen_fd)
{
	uint64_t deadline = clock_mono_ms() + VSOCK_GUEST_WAIT_MS;
	int fd = -1;

	while (sock_accept(listen_fd, &fd) < 0) {
		must(clock_mono_ms() < deadline);
		(void)loop_run_once(g->loop, 10);
	}
	return fd;
}

int vsock_host_client(struct vsock_guest *g, const char *line)
{
	size_t len = strlen(line);
	int fd = -1;

	must(sock_connect_unix(g->dir_fd, "v.sock", &fd, NULL) == 0);
	must(send(fd, line, len, MSG_NOSIGNAL) == (ssize_t)len);
	return fd;
}

int vsock_host_read(struct vsock_guest *g, int fd, void *data, size_t len)
{
	uint64_t deadline = clock_mono_ms() + VSOCK_GUEST_WAIT_MS;
	size_t done = 0;

	while (done < len) {
		ssize_t n = recv(fd, (uint8_t *)data + done, len - done, 0);

		if (n == 0 || (n < 0 && errno == ECONNRESET))
			return -1;
		must(n > 0 || errno == EAGAIN);
		done += n > 0 ? (size_t)n : 0;
		if (n < 0)
			(void)loop_run_once(g->loop, 10);
		must(clock_mono_ms() < deadline);
	}
	return 0;
}

int vsock_open_by_host(struct vsock_guest *g, uint32_t guest_port,
		       uint32_t *ret_host_port)
{
	struct vsock_packet p;
	char line[40], answer[40];
	int fd, len;

	(void)snprintf(line, sizeof(line), "CONNECT %u\n",
		       (unsigned)guest_port);
	fd = vsock_host_client(g, line);
	vsock_guest_expect(g, VSOCK_OP_REQUEST, &p);
	must(p.hdr.dst_port == guest_port);
	vsock_guest_op(g, VSOCK_OP_RESPONSE, guest_port, p.hdr.src_port, 0);
	len = snprintf(line, sizeof(line), "OK %u\n", (unsigned)p.hdr.src_port);
	must(vsock_host_read(g, fd, answer, (size_t)len) == 0);
	must(memcmp(line, answer, (size_t)len) == 0);
	*ret_host_port = p.hdr.src_port;
	return fd;
}

int vsock_open_by_guest(struct vsock_guest *g, uint32_t guest_port,
			uint32_t host_port)
{
	int listen_fd = vsock_host_listen_on(g, host_port), fd;
	struct vsock_packet p;

	vsock_guest_op(g, VSOCK_OP_REQUEST, guest_port, host_port, 0);
	vsock_guest_expect(g, VSOCK_OP_RESPONSE, &p);
	must(p.hdr.src_port == host_port && p.hdr.dst_port == guest_port);
	fd = vsock_host_accepted(g, listen_fd);
	must(close(listen_fd) == 0);
	return fd;
}

void vsock_host_expect_end(struct vsock_guest *g, int fd)
{
	char c;

	must(vsock_host_read(g, fd, &c, 1) == -1);
}

unsigned vsock_guest_in_use(const struct vsock_guest *g)
{
	return virtio_vsock_stats(g->dev)->in_use;
}
