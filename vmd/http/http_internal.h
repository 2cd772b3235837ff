/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by http*.c only. */
#ifndef VMD_HTTP_INTERNAL_H
#define VMD_HTTP_INTERNAL_H

#include <microhttpd.h>

#include "vmd/http/http.h"
#include "vmd/http/http_gate.h"
#include "vmd/http/http_share.h"

enum http_state {
	HTTP_HEAD, /* a request is awaited, or its head is coming */
	HTTP_BODY,
	HTTP_WAITING, /* for the answer */
	HTTP_SENDING,
	HTTP_LINGERING, /* answered; the rest of the request is thrown away */
	HTTP_OVER
};

/* The library's side of a connection, which it knows by a socket pair. */
struct http_half {
	struct MHD_Connection *mhd; /* NULL: not yet, or not any more */
	struct MHD_UpgradeResponseHandle *upgrade;
	struct MHD_Response *response; /* of the answer under way */
	char *target; /* of the present request, as it came */
	int pair; /* our end; -1 */
	bool closing; /* the library is told to let go */
	bool suspended; /* until http_half_resume() */
	bool whole; /* it has the whole request */
	bool queued; /* it has the answer */
	bool complete; /* and has written all of it */
	bool ended; /* nothing more comes from it */
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
	struct http_gate gate;
	struct http_half half;
	struct http_head head;
	struct err refusal; /* what is wrong with the head */
	struct request *request;
	unsigned blank_lines; /* before the request */
	bool busy, again; /* pump() is at it; go() was called meanwhile */
	bool own; /* the answer in out is not the library's */
	bool moved; /* some of the answer was just taken by the client */
	bool dead; /* the library still has to let go */
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
	struct MHD_Daemon *mhd;
	bool running; /* http_mhd_run() is, and must not be called */
	bool unfinished; /* it stopped while the library had more to do */
	struct http_connection *opening; /* whose half is being made */
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
/* From now on the client has HTTP_SLOW_SECONDS to do something. */
void http_connection_wait(struct http_connection *c);

/* http_refuse.c; each returns whether there is a next step. */
/* What is no request gets its answer without one. */
bool http_refuse(struct http_connection *c, const struct err *e);
/* The library refused what passed the gate, or the look at the head did. */
bool http_refuse_as_library(struct http_connection *c, unsigned status);
/* The request's answer, while the library still waits for its body. */
bool http_answer_early(struct http_connection *c);
/* Reads what the library wrote before it got an answer: "100 Continue" is passed on.
 * true: there was something of its own; *ret_status is that, or 0 when it has just
 * closed. */
bool http_library_spoke(struct http_connection *c, unsigned *ret_status);

/* http_mhd.c: libmicrohttpd. It has no events of its own: it works when
 * http_mhd_run() is called, on what was written into its sockets. */
int http_mhd_start(struct http *h, struct err *e);
void http_mhd_stop(struct http *h);
void http_mhd_run(struct http *h);
int http_half_open(struct http_connection *c);
/* The library lets go at once. */
void http_half_close(struct http_connection *c);
/* The next request is awaited. */
void http_half_reset(struct http_connection *c);
void http_half_resume(struct http_connection *c);
/* Gives the request's answer to the library: 0 or -ENOMEM. */
int http_half_answer(struct http_connection *c);

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
/* A whole answer that does not come from the library: the connection ends. */
int http_put_answer(struct buf *out, const struct http_answer *a,
		    bool head_only);
void http_put_problem(struct buf *out, const struct err *e);
/* An answer to GET that the client has already becomes 304. */
void http_answer_condition(struct request *r);
/* The next pair of name and value at *at, which moves; false: no more. */
bool http_answer_header(const struct http_answer *a, size_t *at,
			const char **ret_name, const char **ret_value);

/* http_websocket.c */
bool http_is_upgrade(const struct request *r);
/* The 101 was sent: the socket, and what was read behind the request. */
void http_upgrade(struct request *r, int fd, const void *extra, size_t len);
void http_websockets_abort(struct http *h);

#endif
