/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unix sockets. Paths are taken relative to a directory descriptor (through
 * /proc/self/fd), so that the 107-byte limit of sun_path never depends on where
 * the state directory lies. All descriptors are close-on-exec and non-blocking.
 */
#ifndef BASE_SOCK_H
#define BASE_SOCK_H

#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"

/* Replaces a socket left behind by a dead process; mode as for chmod. */
int sock_listen_unix(int dirfd, const char *name, mode_t mode, int *ret_fd,
		     struct err *e);
/* -ENOENT: no such socket; -ECONNREFUSED: nobody listens. */
int sock_connect_unix(int dirfd, const char *name, int *ret_fd, struct err *e);
int sock_accept(int listen_fd, int *ret_fd);
int sock_pair(int ret_fds[2]);

/* Sends len bytes with up to 8 descriptors attached. Bytes sent or -errno. */
ssize_t sock_send_fds(int fd, const void *data, size_t len, const int *fds,
		      size_t fd_count);
/* *fd_count in: room, out: received (owned by the caller). */
ssize_t sock_recv_fds(int fd, void *data, size_t len, int *fds,
		      size_t *fd_count);

/* Effective uid, gid and pid of the peer of a unix socket. */
int sock_peer(int fd, uid_t *ret_uid, gid_t *ret_gid, pid_t *ret_pid);

#endif
