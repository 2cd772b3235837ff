/* SPDX-License-Identifier: Apache-2.0 */
/* See sock.h. */
#include "base/sock.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"

enum {
	SOCK_FDS_MAX = 8
};

/* A socket, and the address that dirfd/name is. */
static int unix_socket(int dirfd, const char *name, int *ret_fd,
		       struct sockaddr_un *ret, struct err *e)
{
	int n;

	memset(ret, 0, sizeof(*ret));
	ret->sun_family = AF_UNIX;
	if (dirfd == AT_FDCWD || name[0] == '/')
		n = snprintf(ret->sun_path, sizeof(ret->sun_path), "%s", name);
	else
		n = snprintf(ret->sun_path, sizeof(ret->sun_path),
			     "/proc/self/fd/%d/%s", dirfd, name);
	if (n < 0 || (size_t)n >= sizeof(ret->sun_path))
		return err_sys(e, ENAMETOOLONG, "socket %s", name);
	*ret_fd =
		socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	return *ret_fd < 0 ? err_sys(e, errno, "socket") : 0;
}

int sock_connect_unix(int dirfd, const char *name, int *ret_fd, struct err *e)
{
	AUTO(fd) int fd = -1;
	struct sockaddr_un addr;
	int rc = unix_socket(dirfd, name, &fd, &addr, e);

	if (rc < 0)
		return rc;
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		return err_sys(e, errno, "connect to %s", name);
	*ret_fd = take_fd(&fd);
	return 0;
}

/* Removes a socket that nobody listens on; anything else is left alone. */
static int clear_stale(int dirfd, const char *name, struct err *e)
{
	struct stat st;
	int fd = -1, rc;

	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : err_sys(e, errno, "stat %s", name);
	if (!S_ISSOCK(st.st_mode))
		return err_set(e, ERR_CONFLICT, "exists", EEXIST,
			       "%s exists and is not a socket", name);
	rc = sock_connect_unix(dirfd, name, &fd, NULL);
	if (rc == 0 || rc == -EAGAIN) {
		close_fd(&fd);
		return err_set(e, ERR_CONFLICT, "address_in_use", EADDRINUSE,
			       "another process listens on %s", name);
	}
	if (unlinkat(dirfd, name, 0) < 0 && errno != ENOENT)
		return err_sys(e, errno, "remove stale socket %s", name);
	return 0;
}

int sock_listen_unix(int dirfd, const char *name, mode_t mode, int *ret_fd,
		     struct err *e)
{
	AUTO(fd) int fd = -1;
	struct sockaddr_un addr;
	int rc = unix_socket(dirfd, name, &fd, &addr, e);

	if (rc == 0)
		rc = clear_stale(dirfd, name, e);
	if (rc < 0)
		return rc;
	/* The mode of the descriptor is what bind() gives the file: it is never
	 * wider than asked, not even for a moment. */
	if (fchmod(fd, mode) < 0 ||
	    bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		return err_sys(e, errno, "bind %s", name);
	if (fchmodat(dirfd, name, mode, 0) < 0)
		return err_sys(e, errno, "mode of %s", name);
	/* As long a queue as the kernel allows (net.core.somaxconn): it cuts the
	 * number down itself. */
	if (listen(fd, INT_MAX) < 0)
		return err_sys(e, errno, "listen on %s", name);
	*ret_fd = take_fd(&fd);
	return 0;
}

int sock_accept(int listen_fd, int *ret_fd)
{
	int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return -errno;
	*ret_fd = fd;
	return 0;
}

int sock_pair(int ret_fds[2])
{
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
		       ret_fds) < 0)
		return -errno;
	return 0;
}

union fd_control {
	char space[CMSG_SPACE(sizeof(int) * SOCK_FDS_MAX)];
	struct cmsghdr align;
};

ssize_t sock_send_fds(int fd, const void *data, size_t len, const int *fds,
		      size_t fd_count)
{
	union fd_control control;
	struct iovec iov = { .iov_base = (void *)(uintptr_t)data,
			     .iov_len = len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t n;

	if (fd_count > SOCK_FDS_MAX)
		return -EINVAL;
	if (fd_count) {
		struct cmsghdr *c;

		memset(&control, 0, sizeof(control));
		msg.msg_control = control.space;
		msg.msg_controllen = CMSG_SPACE(sizeof(int) * fd_count);
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int) * fd_count);
		memcpy(CMSG_DATA(c), fds, sizeof(int) * fd_count);
	}
	n = sendmsg(fd, &msg, MSG_NOSIGNAL);
	return n < 0 ? -errno : n;
}

ssize_t sock_recv_fds(int fd, void *data, size_t len, int *fds,
		      size_t *fd_count)
{
	union fd_control control;
	struct iovec iov = { .iov_base = data, .iov_len = len };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control.space,
			      .msg_controllen = sizeof(control.space) };
	size_t room = *fd_count;
	ssize_t n = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC);

	*fd_count = 0;
	if (n < 0)
		return -errno;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c;
	     c = CMSG_NXTHDR(&msg, c)) {
		size_t count;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < count; i++) {
			int received;

			memcpy(&received, CMSG_DATA(c) + i * sizeof(int),
			       sizeof(int));
			if (*fd_count < room)
				fds[(*fd_count)++] = received;
			else
				(void)close(received);
		}
	}
	return n;
}

int sock_peer(int fd, uid_t *ret_uid, gid_t *ret_gid, pid_t *ret_pid)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return -errno;
	*ret_uid = cred.uid;
	*ret_gid = cred.gid;
	*ret_pid = cred.pid;
	return 0;
}
