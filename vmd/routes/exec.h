/* SPDX-License-Identifier: Apache-2.0 */
/* An exec connection: what exec.c (its request, its life) and exec_stream.c (its
 * messages) share. */
#ifndef VMD_EXEC_H
#define VMD_EXEC_H

#include "vmd/routes/guest_ws.h"

enum {
	EXEC_REQUEST_MS = 10000, /* for the client's first message */
};

struct exec {
	struct guest_ws g;
	json_t *request; /* validated; NULL until it came and when it runs */
	size_t large; /* of the daemon's share for long requests */
	bool attached;
};

extern const struct agent_stream_ops exec_stream_ops;

/* A binary message of the client. */
void exec_input(struct exec *x, const uint8_t *data, size_t len);
/* A text message after the first. */
void exec_control(struct exec *x, const uint8_t *data, size_t len);

#endif
