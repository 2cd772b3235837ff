/* SPDX-License-Identifier: Apache-2.0 */
/* Opening taps and passt sockets; see net_open.h. */
#include "monitor/net_open.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/sock.h"

static int failed(const struct config_net *net, int sys, const char *what,
		  struct err *e)
{
	return err_set(e,
		       sys == EPERM || sys == EACCES ? ERR_PERMISSION
						     : ERR_UNAVAILABLE,
		       "net_failed", sys, "interface %s: %s: %s", net->iface_id,
		       what, strerror(sys));
}

static int open_tap(const struct config_net *net, int *ret, struct err *e)
{
	struct ifreq request;
	AUTO(fd) int fd = -1;
	size_t len = strlen(net->host_dev_name);

	memset(&request, 0, sizeof(request));
	if (len >= sizeof(request.ifr_name))
		return failed(net, ENAMETOOLONG, net->host_dev_name, e);
	memcpy(request.ifr_name, net->host_dev_name, len);
	request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
	fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return failed(net, errno, "cannot open /dev/net/tun", e);
	if (ioctl(fd, TUNSETIFF, &request) != 0)
		return failed(net, errno, "cannot attach to the tap", e);
	*ret = take_fd(&fd);
	return 0;
}

int net_open(const struct config_net *net, int *ret, struct err *e)
{
	const char *path =
		net->passt_socket ? net->passt_socket : net->host_dev_name;
	int fd = config_inherited_fd(path);
	int rc;

	if (fd >= 0) {
		if (file_set_cloexec(fd, true) < 0)
			return failed(net, EBADF, path, e);
		*ret = fd;
		return 0;
	}
	if (!net->passt_socket)
		return open_tap(net, ret, e);
	rc = sock_connect_unix(AT_FDCWD, path, ret, NULL);
	return rc < 0 ? failed(net, -rc, path, e) : 0;
}
