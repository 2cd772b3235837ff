/* SPDX-License-Identifier: Apache-2.0 */
/* Sockets that only root may bind. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/sock.h"
#include "vmd/priv/server_internal.h"

int priv_do_port_bind(struct priv_call *c, struct err *e)
{
	const struct priv_port *r = &c->request.u.port;
	struct sockaddr_in a4 = { .sin_family = AF_INET,
				  .sin_port = htons(r->port) };
	struct sockaddr_in6 a6 = { .sin6_family = AF_INET6,
				   .sin6_port = htons(r->port) };
	const struct sockaddr *a =
		r->ipv6 ? (struct sockaddr *)&a6 : (struct sockaddr *)&a4;
	AUTO(fd) int fd = -1;
	int on = 1;

	if (r->ipv6 > 1 || r->udp > 1 || !r->port)
		return err_set(e, ERR_PROTOCOL, "bad_request", EPROTO,
			       "vmd-priv refuses a port");
	memcpy(&a4.sin_addr, r->address, sizeof(a4.sin_addr));
	memcpy(&a6.sin6_addr, r->address, sizeof(a6.sin6_addr));
	fd = socket(a->sa_family,
		    (r->udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC |
			    SOCK_NONBLOCK,
		    0);
	if (fd < 0)
		return err_sys(e, errno, "making a socket");
	if (!r->udp)
		(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (r->ipv6)
		(void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on,
				 sizeof(on));
	if (bind(fd, a, r->ipv6 ? sizeof(a6) : sizeof(a4)) < 0)
		return err_sys(e, errno, "port %u", r->port);
	*c->ret_fd = take_fd(&fd);
	return 0;
}

int priv_do_api_socket(struct priv_call *c, struct err *e)
{
	struct priv_server *s = c->server;
	AUTO(fd) int fd = -1;
	int rc;

	if (s->api_dirfd < 0)
		return err_set(e, ERR_UNSUPPORTED, "no_api_socket", ENOTSUP,
			       "vmd-priv was given no API socket to make");
	rc = sock_listen_unix(s->api_dirfd, s->api_name, 0660, &fd, e);
	if (rc < 0)
		return rc;
	if (s->uid_first && fchownat(s->api_dirfd, s->api_name, 0, s->api_group,
				     AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(e, errno, "giving the API socket to its group");
	*c->ret_fd = take_fd(&fd);
	return 0;
}
