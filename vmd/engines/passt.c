/* SPDX-License-Identifier: Apache-2.0 */
/* See passt.h. Source: passt(1) of Debian 12 (2023-03). */
#include "vmd/engines/passt.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/sock.h"
#include "vmd/engines/engine_base.h"
#include "vmd/priv/privops.h"

enum {
	SOCKET_IN_CHILD = 3,
	/* Of windows of 128 KiB; the kernel counts small frames double. */
	PASST_ROOM = PRIV_PASST_ROOM, /* vmd-priv sets it again: it may */
	ARGS_MAX = 40
};

int passt_connect(int run_dirfd, int *ret_fd, struct err *e)
{
	const int room = PASST_ROOM;
	AUTO(fd) int fd = -1;
	int rc = sock_connect_unix(run_dirfd, PASST_SOCKET, &fd, e);

	if (rc < 0)
		return err_wrap(e, rc, "network socket of the VM");
	/* Blocking on purpose: passt sends the rest of a frame so. */
	if (fcntl(fd, F_SETFL, 0) < 0)
		return err_sys(e, errno, "network socket of the VM");
	/* Beyond the system's limit with CAP_NET_ADMIN, else up to it. */
	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room)) < 0)
		(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room,
				 sizeof(room));
	*ret_fd = take_fd(&fd);
	return 0;
}

/* True when the host has a default route for IPv4. */
static bool host_has_route(void)
{
	AUTO(file) FILE *f = fopen("/proc/net/route", "re");
	char line[512], name[32], destination[16];

	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%31s %15s", name, destination) == 2 &&
		    !strcmp(destination, "00000000"))
			return true;
	}
	return false;
}

static const char *const fixed_args[] = {
	"passt", "--foreground", "--quiet",
	/* Several guests: no state outside the pair, no paths. */
	"--fd", "3",
	/* Addresses are ours; nothing is announced, nothing is answered. */
	"--ipv4-only", "--address", PASST_GUEST_ADDRESS, "--netmask", "24",
	"--gateway", PASST_GATEWAY, "--dns-forward", PASST_DNS, "--no-dhcp",
	"--no-dhcpv6", "--no-ndp", "--no-ra",
	/* Of the gateway, as the guest sees it: not the host's own, and "lo" has
	 * none. */
	"--mac-addr", "52:55:0a:00:02:02",
	/* A guest must not reach services on the host's loopback. */
	"--no-map-gw"
};

int passt_start(const struct vm_launch *launch, int socket_fd,
		struct process *ret, struct err *e)
{
	const char *argv[ARGS_MAX];
	AUTO(free) char *program = process_find_program("passt");
	AUTO(fd) int log_fd = -1;
	size_t n = 0;
	int rc;

	if (!program)
		return err_set(e, ERR_UNAVAILABLE, "passt_missing", ENOENT,
			       "passt is not installed, so there is no network "
			       "for the VM: apt install passt, or run with "
			       "--net none");
	for (; n < sizeof(fixed_args) / sizeof(fixed_args[0]); n++)
		argv[n] = fixed_args[n];
	argv[0] = program;
	if (!host_has_route()) {
		/* passt wants an interface. */
		argv[n++] = "--interface";
		argv[n++] = "lo";
	}
	argv[n] = NULL;
	rc = engine_log_open(launch->run_dirfd, "passt.log", &log_fd, e);
	if (rc < 0)
		return rc;
	struct process_fd fds[] = { { log_fd, 1 },
				    { log_fd, 2 },
				    { socket_fd, SOCKET_IN_CHILD } };
	const struct privops_program spec = {
		.role = PRIV_ROLE_PASST, .argv = argv, .fds = fds, .fd_count = 3
	};

	rc = privops_spawn(&spec, launch, ret, e);
	return rc < 0 ? err_wrap(e, rc, "cannot start passt") : 0;
}
