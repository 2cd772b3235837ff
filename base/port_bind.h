/* SPDX-License-Identifier: Apache-2.0 */
/* A port of the host that leads to one of a guest, and the socket for it. */
#ifndef BASE_PORT_BIND_H
#define BASE_PORT_BIND_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct port_spec {
	char host_address
		[46]; /* IPv4 or IPv6; "0.0.0.0", "::": any of its kind */
	uint16_t host_port; /* 0: any that is free */
	uint16_t guest_port;
	bool udp;
};

/*
 * A bound, non-blocking, close-on-exec socket; TCP listens. "::" means IPv6 only,
 * so that both wildcards can be published side by side. Errors: port_in_use,
 * address_not_local, port_permission.
 */
int port_bind(const struct port_spec *port, int *ret_fd, struct err *e);
/* The port it got. */
uint16_t port_bound(int fd);

#endif
