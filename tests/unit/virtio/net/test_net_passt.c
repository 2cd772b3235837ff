/* SPDX-License-Identifier: Apache-2.0 */
/* The stream backend against the real passt: it answers ARP, it goes away. */
#include "tests/unit/test.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/process.h"
#include "net_guest.h"

static const struct net_hdr no_hdr;
static uint8_t got[NET_FRAME_MAX];
static struct process passt = PROCESS_INIT;

/* Who has 192.0.2.1? Tell 192.0.2.15 (RFC 826, RFC 5737). */
static const uint8_t request[42] = {
	0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0,   0x17, 8, 6,
	0,    1,    8,	  0,	6,    4,    0, 1, 2, 0, 0,   0,	   0, 0x17,
	192,  0,    2,	  15,	0,    0,    0, 0, 0, 0, 192, 0,	   2, 1
};

/* passt on g's peer; false when it does not run here. */
static bool start_passt(struct net_guest *g)
{
	static const char *const argv[] = {
		"passt",       "--foreground", "--quiet",    "--fd",	  "3",
		"--ipv4-only", "--address",    "192.0.2.15", "--netmask", "24",
		"--gateway",   "192.0.2.1",    NULL
	};
	const struct process_fd fd = { .from = g->peer, .to = 3 };
	const struct process_spec spec = {
		.argv = argv, .fds = &fd, .fd_count = 1, .die_with_parent = true
	};
	struct err e = ERR_INIT;

	if (process_spawn(&spec, &passt, &e) < 0) {
		printf("SKIP passt: %s\n", e.msg);
		return false;
	}
	(void)close(g->peer);
	g->peer = -1;
	return true;
}

/* False when passt ended before it answered: the host's network, not ours. */
static bool ask_and_lose(struct net_guest *g)
{
	uint64_t deadline = clock_mono_ms() + 10000;
	struct process_exit end;
	struct net_hdr hdr;
	int n;

	net_guest_post(g, 32);
	net_guest_send(g, &no_hdr, request, sizeof(request));
	do {
		assert_true(clock_mono_ms() < deadline);
		(void)loop_run_once(g->loop, 100);
		if (g->lost && process_wait(&passt, 5000, &end) == 0) {
			printf("SKIP passt ended with status %d\n", end.status);
			return false;
		}
		n = net_guest_recv(g, &hdr, got, sizeof(got), NULL);
	} while (n < 42 || got[12] != 8 || got[13] != 6);
	assert_int_equal(got[21], 2); /* a reply */
	assert_memory_equal(got, net_guest_mac, 6);
	assert_memory_equal(got + 28, request + 38, 4);

	assert_int_equal(process_signal(&passt, SIGKILL), 0);
	while (!g->lost) {
		assert_true(clock_mono_ms() < deadline);
		(void)loop_run_once(g->loop, 100);
	}
	assert_int_equal(fake_config(&g->d, 6, 2), 0);
	assert_int_equal(process_wait(&passt, 5000, &end), 0);
	process_close(&passt);
	printf("passt answered\n");
	return true;
}

int main(void)
{
	struct net_guest g;
	int status = 0;

	net_guest_init(&g, 1500);
	net_guest_start(&g, ~0ull, 2048);
	if (!start_passt(&g) || !ask_and_lose(&g))
		status = 77;
	net_guest_done(&g);
	return status;
}
