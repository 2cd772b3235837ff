/* SPDX-License-Identifier: Apache-2.0 */
/* What ws.c (frames) and ws_open.c (the opening handshake) share. */
#ifndef API_WS_INTERNAL_H
#define API_WS_INTERNAL_H

#include <wslay/wslay.h>

#include "api/client/ws.h"
#include "base/buf.h"

enum {
	HEAD_MAX = 16384,
	BODY_MAX = 262144,
	/* wslay works in steps of 4 KiB; the socket does not have to. */
	IN_MAX = 65536,
	OUT_MAX = 65536
};

struct api_ws {
	int fd;
	wslay_event_context_ptr wslay;
	struct buf in; /* read, not yet given to wslay */
	struct buf out; /* taken from wslay, not yet written */
	api_ws_message_fn *fn;
	void *ctx;
	bool paused;
	bool ended; /* end of file, or a close frame came */
	/* The opening handshake. */
	bool shaking;
	char accept[API_WS_ACCEPT_LEN + 1];
	int refusal; /* its status, while its body is read; 0: none */
	size_t refusal_len;
};

/* ws.c: fd is taken. */
struct api_ws *api_ws_new(int fd, api_ws_message_fn *fn, void *ctx,
			  struct err *e);
/* Hands ws over when rc is 0, else frees it. */
int api_ws_finish(struct api_ws *ws, int rc, struct api_ws **ret,
		  struct err *e);

/* ws_open.c: goes on as far as what has come allows: look at ws->shaking. An error
 * when refused. */
int api_ws_shake_hands(struct api_ws *ws, struct err *e);

#endif
