/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The API over HTTP/1.1 on a unix socket, in our loop. HTTP is libmicrohttpd's:
 *
 *   client - socket - http_connection.c - socket pair - http_mhd.c - handlers
 *                     http_gate.c          libmicrohttpd
 *
 * The front (http_connection.c) owns the client: who it is, how slow it may be,
 * how much is held for it. It passes the bytes of one request on, unchanged, and
 * the bytes of its answer back. What the library says on its own (HTML, at times
 * twice) never reaches a client: until a handler has answered, nothing but "100
 * Continue" passes, and the front says what is wrong, as a problem. A TLS session
 * would have its place in the front, too.
 *
 * A handler answers at once or later; until then nothing is read from its client.
 *
 * Every request passes here in the same order: peer, framing (http_gate.h), head
 * (http_head.h), route, query, type and size, body by the API's schema, and only
 * then a handler sees it. Whatever is refused on the way is answered by one
 * problem object.
 *
 * Trust: peers are hostile until SO_PEERCRED says who they are (root, our own
 * user, or a member of the socket's group); what they send is hostile always.
 * Those who may use the API share it: see http_share.h.
 */
#ifndef VMD_HTTP_H
#define VMD_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "api/route.h"
#include "base/buf.h"
#include "vmd/daemon.h"
#include "vmd/http/http_head.h"
#include "vmd/http/ws.h"

enum {
	HTTP_SLOW_SECONDS = 30, /* to send a request, or to take an answer */
	HTTP_ETAG_LEN = 40,
};

struct http;
struct http_connection;

/* What a stream's read function says in place of a number of bytes. */
enum {
	HTTP_STREAM_LATER = 0, /* request_resume() when there is something */
	HTTP_STREAM_END = -1,
	HTTP_STREAM_BROKEN = -2 /* the client must see that it is not whole */
};
typedef ssize_t http_read_fn(void *data, char *buf, size_t room);

/* An answer, ready to be sent. */
struct http_answer {
	unsigned status; /* 0: there is none */
	struct buf headers; /* of its own: name and value, each with its NUL */
	const char *trailer_name; /* behind a chunked body, or NULL */
	char trailer[288];
	char *text; /* the body, or NULL */
	size_t len;
	http_read_fn *read; /* or it comes from here */
	void (*freed)(void *data);
	void *data;
};

struct request {
	struct http *http;
	struct daemon *daemon;
	struct http_connection *connection;
	const struct http_head *head;
	uid_t uid; /* of the client */
	const struct api_route *route; /* NULL until it was found */
	struct api_params params;
	bool head_only; /* HEAD: the answer without its body */
	json_t *query; /* typed, with defaults */
	json_t *body; /* validated, with defaults; NULL without one */
	struct buf raw;
	size_t large; /* of raw's limit, taken from the daemon's share */
	bool sent; /* the answer is under way */
	bool dead; /* the client has gone */
	struct http_answer answer;
	char etag[HTTP_ETAG_LEN]; /* of the answer, with its quotes, or "" */

	/* Waiting. */
	struct store_waiter durable; /* what the answer tells of */
	struct watch watch;
	struct loop_timer timer;
	void (*poll)(struct request *r); /* looks again; may answer */
	void (*timeout)(struct request *r);
	char subject[ID_LEN + 1]; /* id of what is waited for */
	char answer_key[160]; /* of a request that shall be done once, or "" */
	char fingerprint[65];
	struct stored_answer replayed; /* what such a request got before */

	/* A handler that streams keeps its state here. */
	void *stream;
	/* Upload: takes len bytes, returns how many (0: it is not called again
	 * before request_resume()). */
	size_t (*upload)(struct request *r, const char *data, size_t len);
	void (*upload_end)(struct request *r);
	/* The request is over, answered or not. */
	void (*gone)(struct request *r);
};

typedef void handler_fn(struct request *r);

/* The table of handlers, by route. */
extern handler_fn *const handlers[API_ROUTE_COUNT];

/* listen_fd is taken over, also on failure. */
struct http *http_new(struct daemon *d, int listen_fd, struct err *e);
/* Closes every connection; no handler is called any more. */
void http_free(struct http *h);
/* WebSockets count. */
size_t http_connections(const struct http *h);

/* Answers; each may be called once per request, from the handler or later. They
 * are sent from the loop: the caller is never called back. */
void request_json(struct request *r, unsigned status, json_t *steal_body,
		  const char *location);
void request_text(struct request *r, unsigned status, const char *type,
		  char *steal_text, size_t len);
/* Without a body: 204. */
void request_empty(struct request *r, unsigned status);
void request_fail(struct request *r, const struct err *e);
/* 200 and what read() gives; freed(data) when it is over or nobody wants it. */
void request_stream(struct request *r, const char *type, http_read_fn *read,
		    void (*freed)(void *data), void *data);
/* A header for the answer; before the answer. */
void request_answer_header(struct request *r, const char *name,
			   const char *value);
/* The one header behind a stream, before read() says that it is over; the name
 * is a constant. */
void request_answer_trailer(struct request *r, const char *name,
			    const char *value);
/* Not answered yet: poll() at every change, timeout() after seconds. */
void request_wait(struct request *r, const char *subject, uint64_t seconds,
		  void (*poll)(struct request *r),
		  void (*timeout)(struct request *r));
/* There is more to be read or written, or an answer to be sent. */
void request_resume(struct request *r);

/* The 202 for an operation, or its end when ?wait= was asked for. */
void request_operation(struct request *r, const char *op_id);

/* http_replay.c: true when an earlier answer was given again (or refused). */
bool request_replay(struct request *r);
/* Keeps the answer for the request's Idempotency-Key, if it has one. */
int request_remember(struct request *r, unsigned status, const char *location,
		     const json_t *body, struct err *e);

/* http_websocket.c: becomes a WebSocket (or 426/400). fn gets the socket when it
 * is open; a client that goes before gets NULL. data is then freed by fn's
 * owner. */
void request_websocket(struct request *r, void (*fn)(void *data, struct ws *ws),
		       void *data);

/* The tag of a thing with an id in its present revision. */
void http_etag(char ret[static HTTP_ETAG_LEN], const char *id,
	       uint64_t revision);
/* Whether If-Match or If-None-Match names the tag, or is *; a weak one does not
 * count where a strong one must be. */
bool request_has_tag(const struct request *r, const char *name,
		     const char *etag, bool strong);
const char *request_header(const struct request *r, const char *name);
uint64_t request_query_u64(const struct request *r, const char *name);
bool request_query_bool(const struct request *r, const char *name);
const char *request_query_text(const struct request *r, const char *name);

#endif
