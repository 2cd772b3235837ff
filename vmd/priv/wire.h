/* SPDX-License-Identifier: Apache-2.0 */
/* One message with its descriptors, whole or not at all. */
#ifndef VMD_PRIV_WIRE_H
#define VMD_PRIV_WIRE_H

#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"

/* 0 or -errno. */
int priv_send(int fd, const void *data, size_t len, const int *fds,
	      size_t fd_count);

/*
 * Bytes received (0: the peer has closed), or -errno. A message that is longer
 * than size, or with more descriptors than *fd_count has room for, is -EMSGSIZE.
 * On success the descriptors belong to the caller.
 */
ssize_t priv_recv(int fd, void *data, size_t size, int *fds, size_t *fd_count);

void priv_close_all(int *fds, size_t count);

/* A SEQPACKET socket: listening on dirfd/name (mode 0600, a stale one is
 * replaced), or connected to it. Non-blocking, close-on-exec. */
int priv_listen(int dirfd, const char *name, int *ret_fd, struct err *e);
int priv_connect(int dirfd, const char *name, int *ret_fd);

#endif
