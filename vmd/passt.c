/* SPDX-License-Identifier: Apache-2.0 */
/* See passt.h. Source: passt(1) of Debian 12 (2023-03). */
#include "vmd/passt.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "vmd/engine_base.h"
#include "vmd/jails.h"

enum {
	SOCKET_IN_CHILD = 3,
	/* Of windows of 128 KiB; the kernel counts small frames double. */
	PASST_ROOM = 4 * 1024 * 1024,
	FIXED_ARGS_MAX = 40
};

static int bind_error(int sys, const struct vm_port *p, struct err *e)
{
	const char *kind = p->udp ? "udp" : "tcp";

	if (sys == EADDRINUSE)
		return err_set(e, ERR_CONFLICT, "port_in_use", sys,
			       "%s port %s:%u of the host is in use: publish "
			       "another one or stop what listens there",
			       kind, p->host_address, p->host_port);
	if (sys == EACCES || sys == EPERM)
		return err_set(e, ERR_PERMISSION, "port_permission", sys,
			       "%s port %s:%u needs privilege: use a port "
			       "above 1023",
			       kind, p->host_address, p->host_port);
	if (sys == EADDRNOTAVAIL)
		return err_set(e, ERR_INVALID, "address_not_local", sys,
			       "%s is not an address of this host",
			       p->host_address);
	return err_sys(e, sys, "%s port %s:%u", kind, p->host_address,
		       p->host_port);
}

static int check_port(const struct vm_port *p, struct err *e)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
				 .sin_port = htons(p->host_port) };
	AUTO(fd) int fd = -1;
	int on = 1;

	if (inet_pton(AF_INET, p->host_address, &a.sin_addr) != 1)
		return err_set(e, ERR_INVALID, "address_invalid", 0,
			       "\"%s\" is not an IPv4 address",
			       p->host_address);
	fd = socket(AF_INET, (p->udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC,
		    0);
	if (fd < 0)
		return err_sys(e, errno, "socket");
	/* Ports of connections that just ended are free for passt too. */
	if (!p->udp)
		(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 ||
	    (!p->udp && listen(fd, 1) < 0))
		return bind_error(errno, p, e);
	return 0;
}

static bool same_port(const struct vm_port *a, const struct vm_port *b)
{
	return a->udp == b->udp && a->host_port == b->host_port &&
	       !strcmp(a->host_address, b->host_address);
}

int passt_check_ports(const struct vm_port *ports, size_t count, struct err *e)
{
	for (size_t i = 0; i < count; i++) {
		int rc = check_port(&ports[i], e);

		if (rc < 0)
			return rc;
		for (size_t j = 0; j < i; j++) {
			if (same_port(&ports[i], &ports[j]))
				return bind_error(EADDRINUSE, &ports[i], e);
		}
	}
	return 0;
}

int passt_socketpair(int ret_fds[2], struct err *e)
{
	const int room = PASST_ROOM;

	/* Blocking on purpose: each program sets its own end as it likes. */
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ret_fds) < 0)
		return err_sys(e, errno, "socket pair for passt");
	/* Beyond the system's limit with CAP_NET_ADMIN, else up to it. */
	if (setsockopt(ret_fds[1], SOL_SOCKET, SO_SNDBUFFORCE, &room,
		       sizeof(room)) < 0)
		(void)setsockopt(ret_fds[1], SOL_SOCKET, SO_SNDBUF, &room,
				 sizeof(room));
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
	/* Read before it shuts itself up: whom it asks for names. */
	static const struct jail_bind binds[] = {
		{ .source = "/etc/resolv.conf",
		  .target = "etc/resolv.conf",
		  .fd = -1,
		  .optional = true },
	};
	const struct vm_port *ports = launch->ports;
	size_t count = launch->port_count;
	struct jail_environment environment;
	struct jail_spec jail;
	static char specs[VM_PORTS_MAX][96];
	const char *argv[FIXED_ARGS_MAX + 2 * VM_PORTS_MAX];
	AUTO(free) char *program = process_find_program("passt");
	AUTO(fd) int log_fd = -1;
	size_t n = 0;
	int rc;

	if (!program)
		return err_set(e, ERR_UNAVAILABLE, "passt_missing", ENOENT,
			       "passt is not installed, so there is no network "
			       "for the VM: apt install passt, or run with "
			       "--net none");
	if (count > VM_PORTS_MAX)
		return err_set(e, ERR_LIMIT, "too_many_ports", 0,
			       "at most %d ports can be published",
			       VM_PORTS_MAX);
	for (; n < sizeof(fixed_args) / sizeof(fixed_args[0]); n++)
		argv[n] = fixed_args[n];
	argv[0] = program;
	if (!host_has_route()) {
		/* passt wants an interface; published ports work with this. */
		argv[n++] = "--interface";
		argv[n++] = "lo";
	}
	for (size_t i = 0; i < count; i++) {
		(void)snprintf(specs[i], sizeof(specs[i]), "%s/%u:%u",
			       ports[i].host_address, ports[i].host_port,
			       ports[i].guest_port);
		argv[n++] = ports[i].udp ? "--udp-ports" : "--tcp-ports";
		argv[n++] = specs[i];
	}
	argv[n] = NULL;
	rc = engine_log_open(launch->run_dirfd, "passt.log", &log_fd, e);
	if (rc < 0)
		return rc;
	struct process_fd fds[] = { { log_fd, 1 },
				    { log_fd, 2 },
				    { socket_fd, SOCKET_IN_CHILD } };
	struct process_spec spec = {
		.argv = argv,
		.envp = jail_environment(launch->run_path, &environment),
		.fds = fds,
		.fd_count = 3,
		.cwd = "/",
		.new_session = true,
	};

	if (launch->jailed) {
		jail_of(JAIL_PASST, launch->id, launch->uid, &jail);
		jail.binds = binds;
		jail.bind_count = 1;
		spec.jail = &jail;
	}

	rc = process_spawn(&spec, ret, e);
	return rc < 0 ? err_wrap(e, rc, "cannot start passt") : 0;
}
