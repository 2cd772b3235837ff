/* SPDX-License-Identifier: Apache-2.0 */
#include "vmd/priv/wire.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "vmd/priv/proto.h"

enum {
	BACKLOG = 8
};

union control {
	char space[CMSG_SPACE(sizeof(int) * PRIV_ALL_FDS_MAX)];
	struct cmsghdr align;
};

int priv_send(int fd, const void *data, size_t len, const int *fds,
	      size_t fd_count)
{
	union control control;
	struct iovec iov = { (void *)(uintptr_t)data, len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *c;
	ssize_t n;

	if (fd_count > PRIV_ALL_FDS_MAX)
		return -EMSGSIZE;
	if (fd_count) {
		memset(&control, 0, sizeof(control));
		msg.msg_control = control.space;
		msg.msg_controllen = CMSG_SPACE(sizeof(int) * fd_count);
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int) * fd_count);
		memcpy(CMSG_DATA(c), fds, sizeof(int) * fd_count);
	}
	do {
		n = sendmsg(fd, &msg, MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

void priv_close_all(int *fds, size_t count)
{
	for (size_t i = 0; i < count; i++)
		close_fd(&fds[i]);
}

/* Takes out what came; what does not fit is closed and makes it fail. */
static bool take_fds(struct msghdr *msg, int *fds, size_t room, size_t *count)
{
	bool fits = true;

	*count = 0;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c;
	     c = CMSG_NXTHDR(msg, c)) {
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < n; i++) {
			int one;

			memcpy(&one, CMSG_DATA(c) + i * sizeof(int),
			       sizeof(one));
			if (*count < room) {
				fds[(*count)++] = one;
			} else {
				(void)close(one);
				fits = false;
			}
		}
	}
	return fits;
}

ssize_t priv_recv(int fd, void *data, size_t size, int *fds, size_t *fd_count)
{
	union control control;
	struct iovec iov = { data, size };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control.space,
			      .msg_controllen = sizeof(control.space) };
	size_t room = *fd_count;
	bool fits;
	ssize_t n;

	*fd_count = 0;
	do {
		n = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	fits = take_fds(&msg, fds, room, fd_count);
	if (!fits || (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC))) {
		priv_close_all(fds, *fd_count);
		*fd_count = 0;
		return -EMSGSIZE;
	}
	return n;
}

static int new_socket(int dirfd, const char *name, struct sockaddr_un *addr)
{
	int fd, n;

	*addr = (struct sockaddr_un){ .sun_family = AF_UNIX };
	n = snprintf(addr->sun_path, sizeof(addr->sun_path),
		     "/proc/self/fd/%d/%s", dirfd, name);
	if (n < 0 || (size_t)n >= sizeof(addr->sun_path))
		return -ENAMETOOLONG;
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	return fd < 0 ? -errno : fd;
}

int priv_connect(int dirfd, const char *name, int *ret_fd)
{
	struct sockaddr_un addr;
	int fd = new_socket(dirfd, name, &addr), rc;

	if (fd < 0)
		return fd;
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
		rc = -errno;
		(void)close(fd);
		return rc;
	}
	*ret_fd = fd;
	return 0;
}

int priv_listen(int dirfd, const char *name, int *ret_fd, struct err *e)
{
	struct sockaddr_un addr;
	AUTO(fd) int fd = -1;
	int other = -1, rc = priv_connect(dirfd, name, &other);

	close_fd(&other);
	if (rc == 0 || rc == -EAGAIN)
		return err_set(e, ERR_CONFLICT, "address_in_use", EADDRINUSE,
			       "another vmd-priv serves this run directory");
	if (rc == -ECONNREFUSED && unlinkat(dirfd, name, 0) < 0 &&
	    errno != ENOENT)
		return err_sys(e, errno, "removing the stale %s", name);
	fd = new_socket(dirfd, name, &addr);
	if (fd < 0)
		return err_sys(e, -fd, "making %s", name);
	/* What bind() gives the file: never wider, not even for a moment. */
	if (fchmod(fd, 0600) < 0 ||
	    bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 ||
	    fchmodat(dirfd, name, 0600, 0) < 0 || listen(fd, BACKLOG) < 0)
		return err_sys(e, errno, "listening on %s", name);
	*ret_fd = take_fd(&fd);
	return 0;
}
