/* SPDX-License-Identifier: Apache-2.0 */
/* A request that becomes a WebSocket (RFC 6455, 4.2). */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "vmd/http/http_internal.h"

static void websocket_free(struct websocket *w)
{
	LIST_REMOVE(w, link);
	http_share_give(&w->http->shares, w->member);
	close_fd(&w->fd);
	free(w);
}

static void on_finished(void *data)
{
	websocket_free(data);
}

bool http_is_upgrade(const struct request *r)
{
	return r->answer.status == 101;
}

void http_upgrade(struct request *r, int fd, const void *extra, size_t len)
{
	struct websocket *w = take_ptr(r->stream);
	void (*fn)(void *data, struct ws *ws) = w->fn;
	void *data = w->data;
	struct ws *ws;

	w->fd = fd;
	w->member = take_ptr(r->connection->member);
	w->fn = NULL;
	ws = ws_new(r->daemon->loop, fd, extra, len, on_finished, w);
	if (ws)
		w->ws = ws; /* else w is gone already */
	fn(data, ws);
}

void http_websockets_abort(struct http *h)
{
	struct websocket *w;

	while ((w = LIST_FIRST(&h->websockets)))
		ws_abort(w->ws); /* its end takes w off the list */
}

/* The client went before the upgrade, or got a refusal in its place. */
static void websocket_gone(struct request *r)
{
	struct websocket *w = take_ptr(r->stream);

	if (!w)
		return;
	w->fn(w->data, NULL);
	websocket_free(w);
}

static int check_handshake(struct request *r, char accept[static 29],
			   struct err *e)
{
	const char *key = request_header(r, "Sec-WebSocket-Key");
	const char *version = request_header(r, "Sec-WebSocket-Version");

	if (r->head_only || r->head->old ||
	    !http_head_has(r->head, "Upgrade", "websocket") ||
	    !http_head_has(r->head, "Connection", "upgrade"))
		return err_set(e, ERR_INVALID, "websocket_expected", 0,
			       "%s is a WebSocket: connect with the headers "
			       "Upgrade and Connection",
			       r->route->path);
	if (!version || strcmp(version, "13") != 0)
		return err_set(e, ERR_INVALID, "websocket_version", 0,
			       "Sec-WebSocket-Version must be 13, not %.20s",
			       version ? version : "missing");
	if (!key || !ws_accept_key(key, accept))
		return err_set(e, ERR_INVALID, "websocket_handshake", 0,
			       "Sec-WebSocket-Key must be 16 bytes in base64");
	return 0;
}

void request_websocket(struct request *r, void (*fn)(void *data, struct ws *ws),
		       void *data)
{
	struct websocket *w = NULL;
	struct err e = ERR_INIT;
	char accept[29];

	if (check_handshake(r, accept, &e) < 0) {
		request_answer_header(r, "Upgrade", "websocket");
		request_answer_header(r, "Sec-WebSocket-Version", "13");
	} else {
		w = calloc(1, sizeof(*w));
		if (!w)
			(void)err_sys(&e, ENOMEM, "opening a WebSocket");
	}
	if (!w) {
		fn(data, NULL);
		request_fail(r, &e);
		return;
	}
	*w = (struct websocket){
		.http = r->http, .fd = -1, .fn = fn, .data = data
	};
	LIST_INSERT_HEAD(&r->http->websockets, w, link);
	r->stream = w;
	r->gone = websocket_gone;
	request_answer_header(r, "Upgrade", "websocket");
	request_answer_header(r, "Sec-WebSocket-Accept", accept);
	request_empty(r, 101);
}
