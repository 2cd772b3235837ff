/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server's side of a WebSocket (RFC 6455) on a socket that the HTTP server
 * handed over; frames by wslay. Memory is bounded both ways: a message has at
 * most WS_MESSAGE_MAX bytes, reading stops while too much waits to be written.
 *
 * Loop thread only. Callbacks may close or abort the socket.
 */
#ifndef VMD_WS_H
#define VMD_WS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/loop.h"

enum {
	WS_MESSAGE_MAX = 262144,
	WS_QUEUE_HIGH = 262144, /* no reading above this */
	WS_QUEUE_LOW = 65536, /* drained() is called at or below this */
	WS_CLOSE_MS = 5000, /* for the peer's part of the closing */
};

struct ws;

struct ws_ops {
	void (*message)(void *ctx, bool text, const uint8_t *data, size_t len);
	/* Something was written and at most WS_QUEUE_LOW bytes are left. */
	void (*drained)(void *ctx);
	/* The last call: the connection is gone, ws is freed after it. */
	void (*closed)(void *ctx);
};

/* extra: bytes that were read behind the request. finish(data) gives the socket
 * back when everything is over. NULL: no memory (finish was called). */
struct ws *ws_new(struct loop *loop, int fd, const void *extra, size_t len,
		  void (*finish)(void *data), void *data);
void ws_start(struct ws *ws, const struct ws_ops *ops, void *ctx);
/* false: no memory or closing. prefix is put before the data when >= 0. */
bool ws_send(struct ws *ws, bool text, int prefix, const void *data,
	     size_t len);
/* The most bytes of one message from now on; WS_MESSAGE_MAX at first. */
void ws_set_message_max(struct ws *ws, size_t len);
size_t ws_queued(const struct ws *ws);
/* Stops and goes on reading. */
void ws_pause(struct ws *ws, bool paused);
/* Everything queued is sent, then a close frame; closed() follows. */
void ws_close(struct ws *ws, uint16_t code, const char *reason);
/* At once and without a word, but with closed(). */
void ws_abort(struct ws *ws);
/* At once, without a word and without closed(). */
void ws_free(struct ws *ws);

/* ws_frame.c: the heads of the frames of a stream. Zeroed at its beginning. */
struct ws_scan {
	uint8_t head[14];
	size_t have; /* bytes of it */
	bool in_payload;
	uint64_t payload; /* bytes that are still to come */
};
/* How many of len bytes are well formed; fewer: the stream is of no use. */
size_t ws_scan(struct ws_scan *s, const uint8_t *data, size_t len);

/* Sec-WebSocket-Accept for a client's key; false: the key is malformed. */
bool ws_accept_key(const char *key, char ret_accept[static 29]);

#endif
