/* SPDX-License-Identifier: Apache-2.0 */
/* What only root may bind or open. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/port_bind.h"
#include "base/sock.h"
#include "vmd/priv/server_internal.h"

int priv_do_port_bind(struct priv_call *c, struct err *e)
{
	const struct priv_port *r = &c->request.u.port;
	struct port_spec spec = { .host_port = r->port, .udp = r->udp };

	if (r->ipv6 > 1 || r->udp > 1 || !r->port ||
	    !inet_ntop(r->ipv6 ? AF_INET6 : AF_INET, r->address,
		       spec.host_address, sizeof(spec.host_address)))
		return err_set(e, ERR_PROTOCOL, "bad_request", EPROTO,
			       "vmd-priv refuses a port");
	return port_bind(&spec, c->ret_fd, e);
}

/* However root has it: the node stays as it is, its group and mode, too. */
int priv_do_kvm_open(struct priv_call *c, struct err *e)
{
	AUTO(fd) int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	struct stat st;

	if (fd < 0)
		return err_sys(e, errno, "opening /dev/kvm");
	if (fstat(fd, &st) < 0 || !S_ISCHR(st.st_mode))
		return err_sys(e, ENODEV, "opening /dev/kvm");
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
