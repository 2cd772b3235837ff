/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by http*.c only. */
#ifndef VMD_HTTP_INTERNAL_H
#define VMD_HTTP_INTERNAL_H

#include "vmd/http/http.h"
#include "vmd/http/http_share.h"

enum http_state {
	HTTP_HEAD, /* a request is awaited, or its head is coming */
	HTTP_BODY,
	HTTP_WAITING, /* for the answer */
	HTTP_SENDING,
	HTTP_LINGERING, /* answered; the rest of the request is thrown away */
	HTTP_OVER
};

/* One client. */
struct http_connection {
	struct http *http;
	struct http_member *member; /* whose share it takes */
	uid_t uid;
	int fd;
	enum http_state state;
	struct loop_source source;
	struct loop_timer slow; /* armed while the client has to do something */
	struct loop_timer go; /* work that must not run inside a caller */
	struct buf in, out;
	struct http_head head;
	struct http_body body;
	struct request *request;
	size_t text_sent; /* of the answer's text */
	bool chunked; /* the answer's stream is */
	bool last; /* it closes after this answer */
	bool stalled; /* upload() or read() waits for request_resume() */
	bool stream_over;
	bool moved; /* some of the answer was just taken by the client */
	LIST_ENTRY(http_connection) link; /* the newest first */
};

/* A WebSocket that is open or about to be. */
struct websocket {
	struct http *http;
	struct http_member *member;
	int fd;
	struct ws *ws;
	void (*fn)(void *data, struct ws *ws);
	void *data;
	LIST_ENTRY(websocket) link;
};

struct http {
	struct daemon *daemon;
	int listen_fd;
	gid_t group; /* of the socket */
	bool has_group;
	bool closing;
	struct loop_source listen;
	struct loop_timer accept_again;
	struct http_shares shares;
	LIST_HEAD(, http_connection) connections;
	LIST_HEAD(, websocket) websockets;
};

/* http_accept.c */
void http_accept(struct loop_source *source, uint32_t events);

/* http_connection.c */
/* Takes fd and the member. */
void http_connection_new(struct http *h, int fd, uid_t uid,
			 struct http_member *member);
void http_connection_free(struct http_connection *c);
/* Something may go on: soon, from the loop. */
void http_connection_go(struct http_connection *c);

/* http_request.c */
/* The head is there: 0, or -ENOMEM. */
int http_request_new(struct http_connection *c);
/* Bytes of the body; returns how many were taken. */
size_t http_request_take(struct request *r, const char *data, size_t len);
/* The body is whole. */
void http_request_dispatch(struct request *r);
void http_request_free(struct request *r);
/* The answer may not be sent yet: what it tells of is not durable. */
bool http_request_held(struct request *r);

/* http_answer.c */
/* The answer's head, for a client that speaks HTTP/1.0 (old) or 1.1. */
int http_put_head(struct buf *out, const struct http_answer *a, bool old,
		  bool last);
/* A whole answer with a problem, without a request: the connection ends. */
void http_put_problem(struct buf *out, const struct err *e);
/* An answer to GET that the client has already becomes 304. */
void http_answer_condition(struct request *r);

/* http_websocket.c */
bool http_is_upgrade(const struct request *r);
/* The 101 was sent: the socket, and what was read behind the request. */
void http_upgrade(struct request *r, int fd, const void *extra, size_t len);
void http_websockets_abort(struct http *h);

#endif
