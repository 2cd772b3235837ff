/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a vsock has a path, the guest's calls to the host go to the unix sockets
 * "PATH_PORT". A child process connects for it, that can do nothing else and knows
 * no names but these: the monitor asks it for a port and gets a descriptor, and has
 * no right to connect itself.
 */
#ifndef MONITOR_BROKER_H
#define MONITOR_BROKER_H

#include <stdint.h>

#include "base/err.h"

/*
 * Starts it for the path of a vsock; before threads, guest memory and any file that
 * it must not have. It ends when *ret_fd, which is the caller's, is closed, and with
 * the caller. Codes vsock_config_invalid, broker_failed.
 */
int broker_start(const char *path, int *ret_fd, struct err *e);

/*
 * Connects to PATH_port: 0 and a non-blocking socket that is the caller's, or
 * -errno (-ECONNREFUSED when there is no broker any more). Waits for its answer: the
 * time of a connect to a unix socket, which never blocks; 200 ms at most. fd: of
 * broker_start(). One thread at a time.
 */
int broker_connect(int fd, uint32_t port, int *ret_fd);

#endif
