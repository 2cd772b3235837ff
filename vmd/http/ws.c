/* SPDX-License-Identifier: Apache-2.0 */
#include "vmd/http/ws.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <wslay/wslay.h>

#include "base/cleanup.h"

enum {
	WS_READ_MAX = 65536, /* with one call */
	WS_HEAD_MAX = 14, /* RFC 6455, 5.2 */
};

struct ws {
	wslay_event_context_ptr wslay;
	struct loop *loop;
	struct loop_source source;
	struct loop_timer closing;
	struct loop_timer pump; /* work that must not run inside a caller */
	int fd;
	/* Read and not yet looked at; frames are parsed in small steps. */
	uint8_t *in;
	size_t in_at, in_len, in_size;
	/* The head of a frame, kept to be sent with its payload. */
	uint8_t head[WS_HEAD_MAX];
	size_t head_len;
	const struct ws_ops *ops;
	void *ctx;
	void (*finish)(void *data);
	void *finish_data;
	uint8_t *scratch; /* of a message with a prefix */
	size_t scratch_len;
	unsigned busy;
	/* The close frame that waits: wslay would send it before the data. */
	uint16_t close_code; /* 0: none */
	char close_reason[124];
	struct ws_scan scan;
	bool garbled; /* its frames break the rules: nothing more is parsed */
	bool paused, broken, freed, wrote;
};

static void release(struct ws *ws)
{
	loop_remove(&ws->source);
	loop_timer_disarm(&ws->closing);
	loop_timer_disarm(&ws->pump);
	if (ws->wslay)
		wslay_event_context_free(ws->wslay);
	if (ws->finish)
		ws->finish(ws->finish_data);
	free(ws->in);
	free(ws->scratch);
	free(ws);
}

static void leave(struct ws *ws)
{
	if (--ws->busy == 0 && ws->freed)
		release(ws);
}

void ws_free(struct ws *ws)
{
	if (!ws)
		return;
	ws->freed = true;
	ws->ops = NULL;
	ws->busy++;
	leave(ws);
}

void ws_abort(struct ws *ws)
{
	const struct ws_ops *ops = ws->ops;

	if (ws->freed)
		return;
	ws->freed = true;
	ws->ops = NULL;
	ws->busy++;
	if (ops)
		ops->closed(ws->ctx);
	leave(ws);
}

static bool may_read(const struct ws *ws)
{
	return !ws->freed && !ws->paused && ws_queued(ws) <= WS_QUEUE_HIGH;
}

static ssize_t take_in(struct ws *ws, uint8_t *buf, size_t len)
{
	size_t left = ws->in_len - ws->in_at;
	size_t n = len < left ? len : left;

	size_t good = ws_scan(&ws->scan, ws->in + ws->in_at, n);

	if (good < n) {
		ws->garbled = true;
		ws_close(ws, 1002, "");
	}
	memcpy(buf, ws->in + ws->in_at, good);
	ws->in_at += good;
	return (ssize_t)good;
}

/* What a client sends that is given up; its end is still seen. */
static void throw_away(struct ws *ws)
{
	ssize_t n;

	ws->in_at = ws->in_len = 0;
	do
		n = recv(ws->fd, ws->in, ws->in_size, 0);
	while (n > 0 || (n < 0 && errno == EINTR));
	if (n == 0 || errno != EAGAIN)
		ws->broken = true;
}

static ssize_t took(struct ws *ws, wslay_event_context_ptr wslay, ssize_t n)
{
	if (n > 0)
		return n;
	throw_away(ws);
	wslay_event_set_error(wslay, WSLAY_ERR_WOULDBLOCK);
	return -1;
}

static ssize_t on_recv(wslay_event_context_ptr wslay, uint8_t *buf, size_t len,
		       int flags, void *data)
{
	struct ws *ws = data;
	ssize_t n;

	(void)flags;
	if (!may_read(ws)) {
		wslay_event_set_error(wslay, WSLAY_ERR_WOULDBLOCK);
		return -1;
	}
	if (ws->garbled) {
		throw_away(ws);
		wslay_event_set_error(wslay, WSLAY_ERR_WOULDBLOCK);
		return -1;
	}
	if (ws->in_at < ws->in_len)
		return took(ws, wslay, take_in(ws, buf, len));
	do
		n = recv(ws->fd, ws->in, ws->in_size, 0);
	while (n < 0 && errno == EINTR);
	if (n > 0) {
		ws->in_at = 0;
		ws->in_len = (size_t)n;
		return took(ws, wslay, take_in(ws, buf, len));
	}
	if (n < 0 && errno == EAGAIN) {
		wslay_event_set_error(wslay, WSLAY_ERR_WOULDBLOCK);
	} else {
		ws->broken = true;
		wslay_event_set_error(wslay, WSLAY_ERR_CALLBACK_FAILURE);
	}
	return -1;
}

/* Bytes of buf that were sent, the head before them; -1 and errno. */
static ssize_t send_with_head(struct ws *ws, const uint8_t *buf, size_t len)
{
	struct iovec parts[2] = {
		{ .iov_base = ws->head, .iov_len = ws->head_len },
		{ .iov_base = (uint8_t *)(uintptr_t)buf, .iov_len = len },
	};
	struct msghdr msg = { .msg_iov = parts, .msg_iovlen = 2 };
	size_t head;
	ssize_t n;

	do
		n = sendmsg(ws->fd, &msg, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return n;
	ws->wrote = true;
	head = (size_t)n < ws->head_len ? (size_t)n : ws->head_len;
	ws->head_len -= head;
	memmove(ws->head, ws->head + head, ws->head_len);
	return n - (ssize_t)head;
}

static ssize_t on_send(wslay_event_context_ptr wslay, const uint8_t *buf,
		       size_t len, int flags, void *data)
{
	struct ws *ws = data;
	ssize_t n;

	/* A client that gets the head alone would be woken for nothing. */
	if ((flags & WSLAY_MSG_MORE) && len <= WS_HEAD_MAX - ws->head_len) {
		memcpy(ws->head + ws->head_len, buf, len);
		ws->head_len += len;
		return (ssize_t)len;
	}
	n = send_with_head(ws, buf, len);
	if (n > 0)
		return n;
	if (n == 0 || errno == EAGAIN) {
		wslay_event_set_error(wslay, WSLAY_ERR_WOULDBLOCK);
	} else {
		ws->broken = true;
		wslay_event_set_error(wslay, WSLAY_ERR_CALLBACK_FAILURE);
	}
	return -1;
}

static void on_message(wslay_event_context_ptr wslay,
		       const struct wslay_event_on_msg_recv_arg *arg,
		       void *data)
{
	struct ws *ws = data;

	(void)wslay;
	if (ws->freed || !ws->ops || ws->close_code ||
	    wslay_event_get_close_sent(ws->wslay))
		return;
	if (arg->opcode == WSLAY_TEXT_FRAME ||
	    arg->opcode == WSLAY_BINARY_FRAME)
		ws->ops->message(ws->ctx, arg->opcode == WSLAY_TEXT_FRAME,
				 arg->msg, arg->msg_length);
}

static const struct wslay_event_callbacks callbacks = {
	.recv_callback = on_recv,
	.send_callback = on_send,
	.on_msg_recv_callback = on_message,
};

static bool is_over(const struct ws *ws)
{
	return ws->broken ||
	       (ws->garbled && wslay_event_get_close_sent(ws->wslay) &&
		!wslay_event_want_write(ws->wslay)) ||
	       (wslay_event_get_close_sent(ws->wslay) &&
		wslay_event_get_close_received(ws->wslay)) ||
	       (!wslay_event_want_read(ws->wslay) &&
		!wslay_event_want_write(ws->wslay));
}

static void update(struct ws *ws)
{
	uint32_t events = EPOLLRDHUP;

	/* A paused reader still learns of the end: EPOLLRDHUP and EPOLLHUP. */
	if (!ws->paused && ws_queued(ws) <= WS_QUEUE_HIGH &&
	    wslay_event_want_read(ws->wslay))
		events |= EPOLLIN;
	if (wslay_event_want_write(ws->wslay))
		events |= EPOLLOUT;
	if (events != ws->source.events)
		(void)loop_modify(&ws->source, events);
}

/* Everything was handed to the socket: now the close frame may follow. */
static void send_close(struct ws *ws)
{
	if (!ws->close_code || ws_queued(ws) > 0 ||
	    wslay_event_get_close_sent(ws->wslay))
		return;
	(void)wslay_event_queue_close(ws->wslay, ws->close_code,
				      (const uint8_t *)ws->close_reason,
				      strlen(ws->close_reason));
	loop_timer_arm(&ws->closing, WS_CLOSE_MS);
	if (wslay_event_send(ws->wslay) != 0)
		ws->broken = true;
}

static void pump(struct ws *ws, bool readable)
{
	ws->busy++;
	if (!ws->freed && readable && wslay_event_recv(ws->wslay) != 0)
		ws->broken = true;
	if (!ws->freed && !ws->broken && wslay_event_send(ws->wslay) != 0)
		ws->broken = true;
	if (!ws->freed && !ws->broken)
		send_close(ws);
	if (!ws->freed && ws->wrote && ws_queued(ws) <= WS_QUEUE_LOW) {
		ws->wrote = false;
		if (ws->ops && ws->ops->drained)
			ws->ops->drained(ws->ctx);
	}
	if (!ws->freed && is_over(ws))
		ws_abort(ws);
	if (!ws->freed)
		update(ws);
	/* What was read already makes no event. */
	if (!ws->freed && ws->in_at < ws->in_len && may_read(ws) &&
	    wslay_event_want_read(ws->wslay))
		loop_timer_arm_soon(&ws->pump);
	leave(ws);
}

static void on_socket(struct loop_source *source, uint32_t events)
{
	struct ws *ws = source->data;

	/* The peer has gone. What it sent before is not worth keeping a command
	 * alive for, unless it is its close frame. */
	if ((events & (EPOLLHUP | EPOLLERR)) ||
	    ((events & EPOLLRDHUP) && (ws->paused || !(events & EPOLLIN))))
		ws->broken = true;
	pump(ws, events & ~(uint32_t)EPOLLOUT);
}

static void on_pump(struct loop_timer *timer)
{
	pump(timer->data, true);
}

static void on_close_timeout(struct loop_timer *timer)
{
	struct ws *ws = timer->data;

	ws->broken = true;
	pump(ws, false);
}

struct ws *ws_new(struct loop *loop, int fd, const void *extra, size_t len,
		  void (*finish)(void *data), void *data)
{
	struct ws *ws = calloc(1, sizeof(*ws));

	if (!ws) {
		finish(data);
		return NULL;
	}
	*ws = (struct ws){
		.loop = loop,
		.fd = fd,
		.source = LOOP_SOURCE_INIT,
		.finish = finish,
		.finish_data = data,
		.in_len = len,
		.in_size = len > WS_READ_MAX ? len : WS_READ_MAX,
	};
	loop_timer_init(loop, &ws->closing, on_close_timeout, ws);
	loop_timer_init(loop, &ws->pump, on_pump, ws);
	/* Its pages come with the bytes: most sockets get few. */
	ws->in = malloc(ws->in_size);
	if (!ws->in ||
	    wslay_event_context_server_init(&ws->wslay, &callbacks, ws) != 0) {
		ws->wslay = NULL;
		ws_free(ws);
		return NULL;
	}
	memcpy(ws->in, extra ? extra : "", len);
	wslay_event_config_set_max_recv_msg_length(ws->wslay, WS_MESSAGE_MAX);
	if (loop_add(loop, &ws->source, fd, EPOLLRDHUP, on_socket, ws) < 0) {
		ws_free(ws);
		return NULL;
	}
	return ws;
}

void ws_start(struct ws *ws, const struct ws_ops *ops, void *ctx)
{
	ws->ops = ops;
	ws->ctx = ctx;
	loop_timer_arm_soon(&ws->pump);
}

bool ws_send(struct ws *ws, bool text, int prefix, const void *data, size_t len)
{
	struct wslay_event_msg msg = {
		.opcode = text ? WSLAY_TEXT_FRAME : WSLAY_BINARY_FRAME,
		.msg = data,
		.msg_length = len,
	};

	if (ws->freed || ws->broken || ws->close_code ||
	    wslay_event_get_close_sent(ws->wslay))
		return false;
	if (prefix >= 0) {
		if (ws->scratch_len < len + 1) {
			uint8_t *grown = realloc(ws->scratch, len + 1);

			if (!grown)
				return false;
			ws->scratch = grown;
			ws->scratch_len = len + 1;
		}
		ws->scratch[0] = (uint8_t)prefix;
		memcpy(ws->scratch + 1, data, len);
		msg.msg = ws->scratch;
		msg.msg_length = len + 1;
	}
	if (wslay_event_queue_msg(ws->wslay, &msg) != 0)
		return false;
	/* Written from the loop, so that the caller is never called back. */
	update(ws);
	return true;
}

void ws_set_message_max(struct ws *ws, size_t len)
{
	wslay_event_config_set_max_recv_msg_length(ws->wslay, len);
}

size_t ws_queued(const struct ws *ws)
{
	return wslay_event_get_queued_msg_length(ws->wslay);
}

void ws_pause(struct ws *ws, bool paused)
{
	if (ws->freed || ws->paused == paused)
		return;
	ws->paused = paused;
	if (!paused)
		loop_timer_arm_soon(&ws->pump);
	update(ws);
}

void ws_close(struct ws *ws, uint16_t code, const char *reason)
{
	if (ws->freed || ws->broken || ws->close_code ||
	    wslay_event_get_close_sent(ws->wslay))
		return;
	ws->close_code = code;
	(void)snprintf(ws->close_reason, sizeof(ws->close_reason), "%s",
		       reason);
	ws->paused = false; /* the peer's close frame must be seen */
	/* A client that is cut off is not waited for; an exit status is. */
	if (code != 1000)
		loop_timer_arm(&ws->closing, WS_CLOSE_MS);
	loop_timer_arm_soon(&ws->pump);
	update(ws);
}
