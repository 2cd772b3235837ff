/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A WebSocket client: wslay over a non-blocking socket. Bytes that came behind the
 * handshake (ws_open.c) are fed to wslay first.
 */
#include "api/client/ws_internal.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "base/cleanup.h"

static ssize_t fill_in(struct api_ws *ws)
{
	uint8_t *at = buf_reserve(&ws->in, IN_MAX);
	ssize_t n = at ? recv(ws->fd, at, IN_MAX, 0) : -1;

	if (n > 0)
		buf_commit(&ws->in, (size_t)n);
	return n;
}

static ssize_t take_in(struct api_ws *ws, uint8_t *data, size_t len)
{
	if (len > buf_len(&ws->in))
		len = buf_len(&ws->in);
	memcpy(data, buf_head(&ws->in), len);
	buf_consume(&ws->in, len);
	return (ssize_t)len;
}

static ssize_t on_recv(wslay_event_context_ptr wslay, uint8_t *data, size_t len,
		       int flags, void *user)
{
	struct api_ws *ws = user;
	ssize_t n;

	(void)flags;
	if (!ws->paused && buf_len(&ws->in) > 0)
		return take_in(ws, data, len);
	n = ws->paused ? -1 : fill_in(ws);
	if (n > 0)
		return take_in(ws, data, len);
	if (ws->paused || (n < 0 && (errno == EAGAIN || errno == EINTR))) {
		wslay_event_set_error(wslay, WSLAY_ERR_WOULDBLOCK);
		return -1;
	}
	ws->ended = true;
	wslay_event_set_error(wslay, WSLAY_ERR_CALLBACK_FAILURE);
	return -1;
}

/* What wslay has made goes out. 0, also when some has to wait; -1: broken. */
static int flush_out(struct api_ws *ws)
{
	while (buf_len(&ws->out) > 0) {
		ssize_t n = send(ws->fd, buf_head(&ws->out), buf_len(&ws->out),
				 MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? 0 : -1;
		buf_consume(&ws->out, (size_t)n);
	}
	return 0;
}

static ssize_t on_send(wslay_event_context_ptr wslay, const uint8_t *data,
		       size_t len, int flags, void *user)
{
	struct api_ws *ws = user;
	size_t room = OUT_MAX - buf_len(&ws->out);
	int rc = 0;

	(void)flags;
	if (room == 0) {
		rc = flush_out(ws);
		room = OUT_MAX - buf_len(&ws->out);
	}
	if (len > room)
		len = room;
	if (rc == 0 && len > 0 && buf_append(&ws->out, data, len) == 0)
		return (ssize_t)len;
	/* Broken, the reading side still has the server's last words. */
	wslay_event_set_error(wslay, rc == 0 && room == 0
					     ? WSLAY_ERR_WOULDBLOCK
					     : WSLAY_ERR_CALLBACK_FAILURE);
	return -1;
}

/* Frames and pongs that wait, into the socket. A wslay error, or 0. */
static int send_frames(struct api_ws *ws)
{
	int rc = 0;

	if (wslay_event_want_write(ws->wslay))
		rc = wslay_event_send(ws->wslay);
	if (rc == 0 && flush_out(ws) < 0)
		rc = WSLAY_ERR_CALLBACK_FAILURE;
	return rc;
}

/* Masking keys must not be predictable (RFC 6455, 10.3). */
static int on_genmask(wslay_event_context_ptr wslay, uint8_t *data, size_t len,
		      void *user)
{
	(void)user;
	if (getrandom(data, len, 0) == (ssize_t)len)
		return 0;
	wslay_event_set_error(wslay, WSLAY_ERR_CALLBACK_FAILURE);
	return -1;
}

static void on_message(wslay_event_context_ptr wslay,
		       const struct wslay_event_on_msg_recv_arg *arg,
		       void *user)
{
	struct api_ws *ws = user;

	(void)wslay;
	if (arg->opcode == WSLAY_TEXT_FRAME ||
	    arg->opcode == WSLAY_BINARY_FRAME)
		ws->fn(ws->ctx, arg->opcode == WSLAY_TEXT_FRAME, arg->msg,
		       arg->msg_length);
	else if (arg->opcode == WSLAY_CONNECTION_CLOSE)
		ws->ended = true;
}

static int start_frames(struct api_ws *ws, struct err *e)
{
	static const struct wslay_event_callbacks callbacks = {
		.recv_callback = on_recv,
		.send_callback = on_send,
		.genmask_callback = on_genmask,
		.on_msg_recv_callback = on_message,
	};

	if (wslay_event_context_client_init(&ws->wslay, &callbacks, ws) != 0)
		return err_sys(e, ENOMEM, "WebSocket");
	wslay_event_config_set_max_recv_msg_length(ws->wslay,
						   API_WS_MESSAGE_MAX);
	return 0;
}

struct api_ws *api_ws_new(int fd, api_ws_message_fn *fn, void *ctx,
			  struct err *e)
{
	struct api_ws *ws = calloc(1, sizeof(*ws));

	if (!ws) {
		(void)close(fd);
		(void)err_sys(e, ENOMEM, "WebSocket");
		return NULL;
	}
	ws->fd = fd;
	ws->in.limit = HEAD_MAX + BODY_MAX;
	ws->out.limit = OUT_MAX;
	ws->fn = fn;
	ws->ctx = ctx;
	return ws;
}

int api_ws_finish(struct api_ws *ws, int rc, struct api_ws **ret, struct err *e)
{
	if (rc == 0)
		rc = start_frames(ws, e);
	if (rc < 0) {
		api_ws_free(ws);
		return rc;
	}
	*ret = ws;
	return 0;
}

int api_ws_attach(int fd, api_ws_message_fn *fn, void *ctx, struct api_ws **ret,
		  struct err *e)
{
	struct api_ws *ws = api_ws_new(fd, fn, ctx, e);

	return ws ? api_ws_finish(ws, 0, ret, e) : -ENOMEM;
}

void api_ws_free(struct api_ws *ws)
{
	if (!ws)
		return;
	if (ws->wslay) {
		if (!ws->ended && !ws->shaking &&
		    wslay_event_queue_close(
			    ws->wslay, WSLAY_CODE_NORMAL_CLOSURE, NULL, 0) == 0)
			(void)send_frames(ws);
		wslay_event_context_free(ws->wslay);
	}
	if (ws->fd >= 0)
		(void)close(ws->fd);
	buf_done(&ws->in);
	buf_done(&ws->out);
	free(ws);
}

int api_ws_fd(const struct api_ws *ws)
{
	return ws->fd;
}

bool api_ws_opening(const struct api_ws *ws)
{
	return ws->shaking;
}

short api_ws_events(const struct api_ws *ws)
{
	short events = ws->paused ? 0 : POLLIN;

	if (ws->shaking)
		return POLLIN;
	if (wslay_event_want_write(ws->wslay) || buf_len(&ws->out) > 0)
		events |= POLLOUT;
	return events;
}

void api_ws_pause(struct api_ws *ws, bool paused)
{
	ws->paused = paused;
}

int api_ws_handle(struct api_ws *ws, struct err *e)
{
	int rc = ws->shaking ? api_ws_shake_hands(ws, e) : 0;

	if (rc < 0 || ws->shaking)
		return rc;
	rc = wslay_event_recv(ws->wslay);
	/* Pongs and the answer to a close are queued by wslay itself. */
	if (rc == 0)
		rc = send_frames(ws);
	if (rc == WSLAY_ERR_NOMEM)
		return err_sys(e, ENOMEM, "WebSocket");
	if (ws->ended || rc != 0)
		return err_set(e, ERR_UNAVAILABLE, "connection_closed", EPIPE,
			       "the daemon closed the connection");
	if (!wslay_event_want_read(ws->wslay))
		return err_set(e, ERR_PROTOCOL, "bad_frame", 0,
			       "the daemon sent a WebSocket frame that breaks "
			       "the rules");
	return 0;
}

int api_ws_send(struct api_ws *ws, bool text, const void *data, size_t len)
{
	struct wslay_event_msg message = {
		.opcode = text ? WSLAY_TEXT_FRAME : WSLAY_BINARY_FRAME,
		.msg = data,
		.msg_length = len,
	};

	if (api_ws_queued(ws) + len > API_WS_QUEUE_MAX)
		return -ENOBUFS;
	switch (wslay_event_queue_msg(ws->wslay, &message)) {
	case 0:
		return 0;
	case WSLAY_ERR_NOMEM:
		return -ENOMEM;
	default:
		return -EPIPE;
	}
}

size_t api_ws_queued(const struct api_ws *ws)
{
	return wslay_event_get_queued_msg_length(ws->wslay) + buf_len(&ws->out);
}
