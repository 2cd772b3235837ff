/* SPDX-License-Identifier: Apache-2.0 */
/* A published port as the client asked for it, and the socket that listens. */
#ifndef VMD_PORT_BIND_H
#define VMD_PORT_BIND_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct port_spec {
	char host_address
		[46]; /* IPv4 or IPv6; "0.0.0.0", "::": any of its kind */
	uint16_t host_port, guest_port;
	bool udp;
};

/* From a validated Port of the API, with defaults. */
void port_spec_read(const json_t *port, struct port_spec *ret);

/*
 * A bound, non-blocking, close-on-exec socket; TCP listens. "::" means IPv6 only,
 * so that both wildcards can be published side by side. Errors: port_in_use,
 * address_not_local, port_permission.
 */
int port_bind(const struct port_spec *port, int *ret_fd, struct err *e);

#endif
