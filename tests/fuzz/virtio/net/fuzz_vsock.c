/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sessions with the socket device. The input is a list of actions of the guest
 * and of host processes, one byte each and its arguments:
 *
 *   0  packet: op, guest port, host port, flags, length, credit, fwd_cnt
 *   1  packet: 44 raw bytes of header, payload of one more byte's length
 *   2  client: how many bytes, the bytes (a CONNECT line or not)
 *   3  client: which, how many bytes it sends
 *   4  client: which, how it closes
 *   5  receive buffers: how many, how long
 *   6  the loop runs, host processes read
 *   7  the guest answers what it got last
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/sock.h"
#include "tests/fuzz/input.h"
#include "vsock_guest.h"

enum {
	CLIENTS = 4,
	PORT = 8,
	ACTIONS_MAX = 64
};

static struct vsock_guest g;
static uint64_t first_free;
static int clients[CLIENTS] = { -1, -1, -1, -1 };
static int listen_fd;
static struct vsock_packet last;
static uint8_t scratch[64 * 1024];

static void finish(void)
{
	vsock_guest_done(&g);
	close_fd(&listen_fd);
}

static void start_once(void)
{
	if (g.loop)
		return;
	log_init("fuzz", LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
	vsock_guest_init(&g, 1000);
	listen_fd = vsock_host_listen_on(&g, PORT);
	g.tx_buf = fake_alloc(&g.d, VSOCK_GUEST_TX_LEN, 64);
	first_free = g.d.next_free;
	(void)atexit(finish);
}

/* A slot for one more host process; the oldest in it goes. */
static int *client_slot(unsigned which)
{
	int *fd = &clients[which % CLIENTS];

	return fd;
}

static void guest_packet(struct input *in)
{
	unsigned op = take(in), guest = take(in), host = take(in);
	struct vsock_hdr hdr = vsock_guest_hdr((enum vsock_op)op, guest, host);

	/* Half of the host ports are those we gave to clients. */
	if (host & 1)
		hdr.dst_port = last.hdr.src_port;
	hdr.flags = take(in);
	hdr.len = take(in) * 64;
	hdr.buf_alloc = take(in) * 1024;
	hdr.fwd_cnt = take(in);
	vsock_guest_send(&g, &hdr, scratch, hdr.len);
}

static void raw_packet(struct input *in)
{
	struct vsock_hdr hdr = { 0 };
	uint32_t len;

	(void)take_bytes(in, &hdr, sizeof(hdr));
	len = take(in);
	vsock_guest_send(&g, &hdr, scratch, len);
}

static void client_starts(struct input *in)
{
	int *fd = client_slot(take(in));
	char text[64];
	size_t len = take_bytes(in, text, take(in) % sizeof(text));

	close_fd(fd);
	if (sock_connect_unix(g.dir_fd, "v.sock", fd, NULL) == 0)
		(void)send(*fd, text, len, MSG_NOSIGNAL);
}

static void host_reads(void)
{
	int fd;

	(void)loop_run_once(g.loop, 0);
	for (unsigned i = 0; i < CLIENTS; i++)
		if (clients[i] >= 0)
			(void)recv(clients[i], scratch, sizeof(scratch), 0);
	if (sock_accept(listen_fd, &fd) == 0) {
		close_fd(&clients[0]);
		clients[0] = fd;
	}
}

static void post_buffers(unsigned count, unsigned len)
{
	for (unsigned i = 0; i < count % 8; i++)
		(void)fake_add(
			&g.d, VSOCK_QUEUE_RX,
			FAKE_PARTS({ FAKE_HIGH_GPA, 1 + len % 40, true },
				   { FAKE_HIGH_GPA + 64, 1 + len * 4, true }));
	fake_kick(&g.d, VSOCK_QUEUE_RX);
}

static void guest_answers(unsigned op)
{
	struct fake_used used;

	while (fake_take_used(&g.d, VSOCK_QUEUE_RX, &used)) {
		/* The first part may be shorter than a header. */
		memcpy(&last.hdr, fake_ptr(&g.d, FAKE_HIGH_GPA, 44), 44);
	}
	vsock_guest_op(&g, (enum vsock_op)op, last.hdr.dst_port,
		       last.hdr.src_port, op);
}

static void client_acts(struct input *in, bool closes)
{
	int *fd = client_slot(take(in));
	unsigned how = take(in);

	if (*fd < 0)
		return;
	if (!closes)
		(void)send(*fd, scratch, how * 32, MSG_NOSIGNAL);
	else if (how & 4)
		close_fd(fd);
	else
		(void)shutdown(*fd, (int)(how % 3));
}

static void act(struct input *in)
{
	unsigned a, b;

	switch (take(in) % 8) {
	case 0:
		guest_packet(in);
		break;
	case 1:
		raw_packet(in);
		break;
	case 2:
		client_starts(in);
		break;
	case 3:
		client_acts(in, false);
		break;
	case 4:
		client_acts(in, true);
		break;
	case 5:
		a = take(in);
		b = take(in);
		post_buffers(a, b);
		break;
	case 6:
		host_reads();
		break;
	default:
		guest_answers(take(in));
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, data + size };

	start_once();
	fake_reset(&g.d);
	g.d.next_free = first_free;
	memset((uint8_t *)g.d.low + first_free, 0, 64 * 1024);
	memset(&last, 0, sizeof(last));
	fake_driver_start(&g.d, ~0ull);
	for (unsigned i = 0; i < ACTIONS_MAX && in.at < in.end; i++)
		act(&in);
	host_reads();
	fake_reset(&g.d);
	for (unsigned i = 0; i < CLIENTS; i++)
		close_fd(&clients[i]);
	(void)loop_run_once(g.loop, 0);
	/* Whatever happened, a reset leaves nothing behind. */
	if (virtio_vsock_stats(g.dev)->in_use)
		abort();
	return 0;
}
