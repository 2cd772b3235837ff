/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Transmit headers and receive framing of the network device. The input is a
 * list of actions, one byte each and its arguments:
 *
 *   0  the guest sends: 12 bytes of header, length of the frame (2 bytes)
 *   1  the guest sends a chain: sizes of four parts
 *   2  passt writes: length (1 byte), raw bytes
 *   3  passt writes a good frame: length (1 byte)
 *   4  receive buffers: how many, how long
 *   5  passt reads, the loop runs
 *   6  the driver resets and starts with features of one byte
 */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "net_guest.h"
#include "tests/fuzz/input.h"

enum {
	ACTIONS_MAX = 64,
	TX_BUF_LEN = 68 * 1024
};

static struct net_guest g;
static uint64_t first_free;
static uint8_t frame[TX_BUF_LEN];

static void start_driver(unsigned features)
{
	fake_reset(&g.d);
	g.d.next_free = first_free;
	memset((uint8_t *)g.d.low + first_free, 0, 64 * 1024);
	fake_driver_start(&g.d, ~(uint64_t)features | (uint64_t)features << 8);
}

static void guest_sends_parts(struct input *in)
{
	struct fake_part parts[4];

	for (unsigned i = 0; i < 4; i++)
		parts[i] = (struct fake_part){ g.tx_buf + i, take(in) % 40,
					       false };
	(void)fake_add(&g.d, NET_QUEUE_TX, parts, 4);
	fake_kick(&g.d, NET_QUEUE_TX);
}

static void peer_writes(const void *data, size_t len)
{
	(void)send(g.peer, data, len, MSG_NOSIGNAL);
	(void)loop_run_once(g.loop, 0);
}

static void act(struct input *in)
{
	uint8_t raw[260] = { 0 };
	struct net_hdr hdr = { 0 };
	unsigned n, len;

	switch (take(in) % 7) {
	case 0:
		(void)take_bytes(in, &hdr, sizeof(hdr));
		n = take(in) << 8;
		net_guest_send(&g, &hdr, frame, n | take(in));
		break;
	case 1:
		guest_sends_parts(in);
		break;
	case 2:
		n = take(in);
		peer_writes(raw, take_bytes(in, raw, n));
		break;
	case 3:
		n = 14 + take(in) % 200;
		raw[3] = (uint8_t)n;
		peer_writes(raw, 4 + n);
		break;
	case 4:
		n = take(in);
		len = take(in);
		for (unsigned i = 0; i < n % 8; i++)
			(void)fake_add(
				&g.d, NET_QUEUE_RX,
				FAKE_PARTS({ FAKE_HIGH_GPA, len, true },
					   { FAKE_HIGH_GPA + 256, 8, true }));
		fake_kick(&g.d, NET_QUEUE_RX);
		break;
	case 5:
		(void)recv(g.peer, frame, sizeof(frame), MSG_DONTWAIT);
		(void)loop_run_once(g.loop, 0);
		break;
	default:
		start_driver(take(in));
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, data + size };

	log_init("fuzz", LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
	net_guest_init(&g, size & 1 ? 1500 : 0);
	g.tx_buf = fake_alloc(&g.d, TX_BUF_LEN, 64);
	first_free = g.d.next_free;
	start_driver(0);
	for (unsigned i = 0; i < ACTIONS_MAX && in.at < in.end; i++)
		act(&in);
	(void)loop_run_once(g.loop, 0);
	net_guest_done(&g);
	return 0;
}
