/* SPDX-License-Identifier: Apache-2.0 */
/* See port_bind.h. */
#include "base/port_bind.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"

static int bind_error(int sys, const struct port_spec *p, struct err *e)
{
	const char *protocol = p->udp ? "udp" : "tcp";

	if (sys == EADDRINUSE)
		return err_set(e, ERR_CONFLICT, "port_in_use", sys,
			       "port %s:%u/%s of the host is in use: publish "
			       "another one, or stop what listens there",
			       p->host_address, p->host_port, protocol);
	if (sys == EADDRNOTAVAIL || sys == EAFNOSUPPORT)
		return err_set(e, ERR_INVALID, "address_not_local", sys,
			       "publishing port %s:%u/%s: %s is no address of "
			       "this host; leave it out for 127.0.0.1",
			       p->host_address, p->host_port, protocol,
			       p->host_address);
	if (sys == EACCES || sys == EPERM)
		return err_set(e, ERR_PERMISSION, "port_permission", sys,
			       "publishing port %s:%u/%s needs privilege: use "
			       "a port above 1023",
			       p->host_address, p->host_port, protocol);
	return err_sys(e, sys, "publishing port %s:%u/%s of the host",
		       p->host_address, p->host_port, protocol);
}

static void set(int fd, int level, int option)
{
	const int on = 1;

	(void)setsockopt(fd, level, option, &on, sizeof(on));
}

/* -errno. */
static int bind_socket(const struct port_spec *p, int fd, bool six)
{
	struct sockaddr_in in4 = { .sin_family = AF_INET,
				   .sin_port = htons(p->host_port) };
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6,
				    .sin6_port = htons(p->host_port) };

	if (inet_pton(six ? AF_INET6 : AF_INET, p->host_address,
		      six ? (void *)&in6.sin6_addr : &in4.sin_addr) != 1)
		return -EADDRNOTAVAIL;
	if (six)
		set(fd, IPPROTO_IPV6, IPV6_V6ONLY);
	if (p->udp) {
		/* An answer comes from the address that was asked. */
		set(fd, six ? IPPROTO_IPV6 : IPPROTO_IP,
		    six ? IPV6_RECVPKTINFO : IP_PKTINFO);
	} else {
		/* Connections that linger from an earlier VM do not count. */
		set(fd, SOL_SOCKET, SO_REUSEADDR);
	}
	if (bind(fd, six ? (struct sockaddr *)&in6 : (struct sockaddr *)&in4,
		 six ? sizeof(in6) : sizeof(in4)) < 0 ||
	    (!p->udp && listen(fd, SOMAXCONN) < 0))
		return -errno;
	return 0;
}

int port_bind(const struct port_spec *p, int *ret_fd, struct err *e)
{
	bool six = strchr(p->host_address, ':') != NULL;
	AUTO(fd)
	int fd = socket(six ? AF_INET6 : AF_INET,
			(p->udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC |
				SOCK_NONBLOCK,
			0);
	int rc = fd < 0 ? -errno : bind_socket(p, fd, six);

	if (rc < 0)
		return bind_error(-rc, p, e);
	*ret_fd = take_fd(&fd);
	return 0;
}

uint16_t port_bound(int fd)
{
	struct sockaddr_in6 any = { .sin6_port = 0 }; /* larger than IPv4's */
	socklen_t len = sizeof(any);

	/* The port is at the same place in both. */
	(void)getsockname(fd, (struct sockaddr *)&any, &len);
	return ntohs(any.sin6_port);
}
