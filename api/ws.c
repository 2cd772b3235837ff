/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A WebSocket client: handshake with a deadline, then wslay over a non-blocking
 * socket. Bytes that came behind the handshake are fed to wslay first.
 */
#include "api/ws.h"

#include <errno.h>
#include <fcntl.h>
#include <nettle/base64.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <wslay/wslay.h>

#include "api/client.h"
#include "api/problem.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/sock.h"

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
};

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

/* Waits for events until the deadline. 0 or -ETIMEDOUT with *e set. */
static int wait_for(int fd, short events, uint64_t deadline_ms, struct err *e)
{
	struct pollfd p = { .fd = fd, .events = events };
	uint64_t now = clock_mono_ms();
	int n = 0;

	if (now < deadline_ms)
		n = poll(&p, 1, (int)(deadline_ms - now));
	if (n > 0 || (n < 0 && errno == EINTR))
		return 0;
	return err_set(e, ERR_TIMEOUT, "handshake_timeout", ETIMEDOUT,
		       "the daemon does not answer the WebSocket handshake");
}

static int send_all(int fd, const char *text, size_t len, uint64_t deadline_ms,
		    struct err *e)
{
	while (len > 0) {
		ssize_t n = send(fd, text, len, MSG_NOSIGNAL);
		int rc;

		if (n > 0) {
			text += n;
			len -= (size_t)n;
			continue;
		}
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return err_sys(e, errno, "WebSocket handshake");
		rc = wait_for(fd, POLLOUT, deadline_ms, e);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* Reads more into the buffer: 0, -EPIPE at the end of file, or an error. */
static int read_more(int fd, struct buf *in, uint64_t deadline_ms,
		     struct err *e)
{
	uint8_t chunk[4096];
	ssize_t n = recv(fd, chunk, sizeof(chunk), 0);

	if (n > 0)
		return buf_append(in, chunk, (size_t)n) == 0
			       ? 0
			       : err_set(e, ERR_PROTOCOL, "bad_handshake", 0,
					 "the daemon's answer to the WebSocket "
					 "handshake is too long");
	if (n == 0)
		return err_set(e, ERR_PROTOCOL, "bad_handshake", EPIPE,
			       "the daemon closed the connection during the "
			       "WebSocket handshake");
	if (errno != EAGAIN && errno != EINTR)
		return err_sys(e, errno, "WebSocket handshake");
	return wait_for(fd, POLLIN, deadline_ms, e);
}

/* The refusal's body into *e. Always negative. */
static int refused(int fd, struct buf *in, int status, size_t length,
		   uint64_t deadline_ms, struct err *e)
{
	AUTO(json) json_t *problem = NULL;
	struct err ignored = ERR_INIT;

	while (length <= BODY_MAX && buf_len(in) < length)
		if (read_more(fd, in, deadline_ms, &ignored) < 0)
			break;
	if (length > buf_len(in))
		length = buf_len(in);
	if (length > 0)
		(void)json_parse_strict((const char *)buf_head(in), length,
					"answer", &problem, NULL);
	return api_problem_to_err(problem, status, e);
}

static int shake_hands(struct api_ws *ws, const char *path,
		       uint64_t deadline_ms, struct err *e)
{
	char key[API_WS_KEY_LEN + 1], accept[API_WS_ACCEPT_LEN + 1];
	AUTO(buf) struct buf out = BUF_INIT(HEAD_MAX);
	uint8_t nonce[16];
	size_t length, head;
	const void *end;
	int rc;

	if (getrandom(nonce, sizeof(nonce), 0) != (ssize_t)sizeof(nonce))
		return err_sys(e, errno, "random numbers");
	base64_encode_raw(key, sizeof(nonce), nonce);
	key[API_WS_KEY_LEN] = '\0';
	api_ws_accept_value(key, accept);
	rc = buf_printf(&out,
			"GET %s HTTP/1.1\r\nHost: vmd\r\n"
			"Upgrade: websocket\r\nConnection: Upgrade\r\n"
			"Sec-WebSocket-Key: %s\r\n"
			"Sec-WebSocket-Version: 13\r\n"
			"User-Agent: vmctl/" VMD_VERSION "\r\n\r\n",
			path, key);
	if (rc < 0)
		return err_sys(e, -rc, "WebSocket handshake");
	rc = send_all(ws->fd, (const char *)buf_head(&out), buf_len(&out),
		      deadline_ms, e);
	if (rc < 0)
		return rc;
	for (;;) {
		end = buf_len(&ws->in) < 4
			      ? NULL
			      : memmem(buf_head(&ws->in), buf_len(&ws->in),
				       "\r\n\r\n", 4);
		if (end)
			break;
		if (buf_len(&ws->in) > HEAD_MAX)
			return err_set(e, ERR_PROTOCOL, "bad_handshake", 0,
				       "the daemon's answer has too long a "
				       "head");
		rc = read_more(ws->fd, &ws->in, deadline_ms, e);
		if (rc < 0)
			return rc;
	}
	head = (size_t)((const uint8_t *)end - buf_head(&ws->in)) + 4;
	rc = api_ws_check_answer((const char *)buf_head(&ws->in), head, accept,
				 &length, e);
	buf_consume(&ws->in, head);
	if (rc < 0 || rc == 101)
		return rc < 0 ? rc : 0;
	return refused(ws->fd, &ws->in, rc, length, deadline_ms, e);
}

static struct api_ws *ws_new(int fd, api_ws_message_fn *fn, void *ctx,
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

/* Hands ws over when rc is 0, else frees it. */
static int ws_finish(struct api_ws *ws, int rc, struct api_ws **ret,
		     struct err *e)
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
	struct api_ws *ws = ws_new(fd, fn, ctx, e);

	return ws ? ws_finish(ws, 0, ret, e) : -ENOMEM;
}

int api_ws_open_fd(int fd, const char *path, unsigned timeout_ms,
		   api_ws_message_fn *fn, void *ctx, struct api_ws **ret,
		   struct err *e)
{
	struct api_ws *ws = ws_new(fd, fn, ctx, e);
	int rc;

	if (!ws)
		return -ENOMEM;
	rc = shake_hands(ws, path, clock_mono_ms() + timeout_ms, e);
	return ws_finish(ws, rc, ret, e);
}

int api_ws_open(const char *socket_path, const char *path, unsigned timeout_ms,
		api_ws_message_fn *fn, void *ctx, struct api_ws **ret,
		struct err *e)
{
	struct err why = ERR_INIT;
	int fd, rc;

	rc = sock_connect_unix(AT_FDCWD, socket_path, &fd, &why);
	if (rc < 0)
		return api_connect_error(socket_path, -rc, e);
	return api_ws_open_fd(fd, path, timeout_ms, fn, ctx, ret, e);
}

void api_ws_free(struct api_ws *ws)
{
	if (!ws)
		return;
	if (ws->wslay) {
		if (!ws->ended &&
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

short api_ws_events(const struct api_ws *ws)
{
	short events = ws->paused ? 0 : POLLIN;

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
	int rc = wslay_event_recv(ws->wslay);

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
