/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The WebSocket side of the client library (RFC 6455): the opening handshake by
 * hand over the daemon's unix socket, then frames by wslay. The server is not
 * trusted: its handshake must be right, answers and messages are bounded.
 *
 * The owner polls api_ws_fd() for api_ws_events() and calls api_ws_handle().
 */
#ifndef API_WS_H
#define API_WS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum {
	API_WS_MESSAGE_MAX = 1 << 20, /* one message of the server */
	/* Our messages that wait for the socket: the longest command fits. */
	API_WS_QUEUE_MAX = 5 << 20,
	API_WS_KEY_LEN = 24,
	API_WS_ACCEPT_LEN = 28,
};

struct api_ws;

/* A whole message. len may be 0. The bytes are valid during the call. */
typedef void api_ws_message_fn(void *ctx, bool text, const uint8_t *data,
			       size_t len);

/*
 * Connects and shakes hands; waits at most timeout_ms. A refusal (a problem
 * object with an HTTP status) comes back in *e as api_problem_to_err() reads it.
 */
int api_ws_open(const char *socket_path, const char *path, unsigned timeout_ms,
		api_ws_message_fn *fn, void *ctx, struct api_ws **ret,
		struct err *e);
/* Does not wait: the handshake goes on in api_ws_handle(), which fails as
 * api_ws_open() would. What is sent before it is over is queued. */
int api_ws_begin(const char *socket_path, const char *path,
		 api_ws_message_fn *fn, void *ctx, struct api_ws **ret,
		 struct err *e);
/* Over a connected non-blocking stream; takes fd. */
int api_ws_open_fd(int fd, const char *path, unsigned timeout_ms,
		   api_ws_message_fn *fn, void *ctx, struct api_ws **ret,
		   struct err *e);
/* Frames only, over a stream where the handshake was done. Takes fd. */
int api_ws_attach(int fd, api_ws_message_fn *fn, void *ctx, struct api_ws **ret,
		  struct err *e);
/* Sends a close frame if the socket takes it, then closes. NULL is fine. */
void api_ws_free(struct api_ws *ws);

int api_ws_fd(const struct api_ws *ws);
/* After api_ws_begin(): the handshake is not over. */
bool api_ws_opening(const struct api_ws *ws);
/* POLLIN and POLLOUT as wanted now. */
short api_ws_events(const struct api_ws *ws);
/* paused: nothing more is read from the socket (what was read is delivered). */
void api_ws_pause(struct api_ws *ws, bool paused);

/* Reads and writes what is possible. -EPIPE: the connection has ended (code
 * connection_closed); ERR_PROTOCOL for a frame that breaks the rules. */
int api_ws_handle(struct api_ws *ws, struct err *e);

/* Queues a message: 0, -ENOBUFS over API_WS_QUEUE_MAX, -EPIPE, -ENOMEM. */
int api_ws_send(struct api_ws *ws, bool text, const void *data, size_t len);
size_t api_ws_queued(const struct api_ws *ws);

/* Sec-WebSocket-Accept of a key (RFC 6455, 4.2.2), NUL-terminated. */
void api_ws_accept_value(const char *key,
			 char out[static API_WS_ACCEPT_LEN + 1]);

/*
 * Looks at the head of the answer ("HTTP/1.1 101 …" up to and with the empty
 * line). Returns the HTTP status, and 101 only when every header is as the
 * handshake demands; negative when malformed. *ret_length: Content-Length or 0.
 */
int api_ws_check_answer(const char *head, size_t len, const char *accept,
			size_t *ret_length, struct err *e);

#endif
