/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The API over HTTP/1.1 on a unix socket. libmicrohttpd runs without threads:
 * its own epoll descriptor is one source of our loop. A handler answers at once
 * or later; until then the connection is suspended and costs nothing.
 *
 * Every request passes here in the same order: peer, route, query, headers,
 * size, body by the API's schema, and only then a handler sees it.
 *
 * Trust: peers are hostile until SO_PEERCRED says who they are (root, our own
 * user, or a member of the socket's group); what they send is hostile always.
 */
#ifndef VMD_HTTP_H
#define VMD_HTTP_H

#include <microhttpd.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/route.h"
#include "base/buf.h"
#include "vmd/daemon.h"
#include "vmd/ws.h"

enum {
	HTTP_CONNECTIONS_MAX = 256,
	HTTP_POOL_BYTES = 32768, /* headers must fit in it */
	HTTP_SLOW_SECONDS = 30, /* to send a request, or to take an answer */
};

struct http;

struct request {
	struct http *http;
	struct daemon *daemon;
	LIST_ENTRY(request) link;
	struct MHD_Connection *connection;
	char *uri; /* raw */
	const struct api_route *route; /* NULL until the first call */
	struct api_params params;
	json_t *query; /* typed, with defaults */
	json_t *body; /* validated, with defaults; NULL without one */
	struct buf raw;
	size_t large; /* of raw's limit, taken from the daemon's share */
	bool begun, suspended, over;
	bool sent; /* the answer is under way */
	bool dead; /* the client has gone */
	struct MHD_Response *response; /* ready to be sent */
	unsigned status;

	/* Waiting. */
	struct store_waiter durable; /* what the answer tells of */
	struct watch watch;
	struct loop_timer timer;
	struct loop_source hangup;
	void (*poll)(struct request *r); /* looks again; may answer */
	void (*timeout)(struct request *r);
	char subject[ID_LEN + 1]; /* id of what is waited for */
	char answer_key[160]; /* Idempotency-Key, or "" */
	char fingerprint[65];

	/* A handler that streams keeps its state here. */
	void *stream;
	/* Upload: takes len bytes, returns how many (0: suspended). */
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
size_t http_connections(const struct http *h);
/* Something was resumed: let microhttpd look at it. */
void http_kick(struct http *h);

/* Answers; each may be called once per request, from the handler or later. */
void request_json(struct request *r, unsigned status, json_t *steal_body,
		  const char *location);
void request_text(struct request *r, unsigned status, const char *type,
		  char *steal_text, size_t len);
/* Without a body: 204. */
void request_empty(struct request *r, unsigned status);
void request_fail(struct request *r, const struct err *e);
/* A 405 with what the path takes. */
void request_fail_allow(struct request *r, const struct err *e,
			const char *allow);
void request_response(struct request *r, unsigned status,
		      struct MHD_Response *take);
/* Keeps the answer for the request's Idempotency-Key, if it has one. */
int request_remember(struct request *r, unsigned status, const char *location,
		     const json_t *body, struct err *e);
/* Not answered yet: poll() at every change, timeout() after seconds. */
void request_wait(struct request *r, const char *subject, uint64_t seconds,
		  void (*poll)(struct request *r),
		  void (*timeout)(struct request *r));
/* Suspends the connection until request_resume(). */
void request_suspend(struct request *r);
void request_resume(struct request *r);

/* The 202 for an operation, or its end when ?wait= was asked for. */
void request_operation(struct request *r, const char *op_id);

/* Becomes a WebSocket (or 426/400). fn gets the socket when it is open; a
 * client that goes before gets NULL. data is then freed by fn's owner. */
void request_websocket(struct request *r, void (*fn)(void *data, struct ws *ws),
		       void *data);

const char *request_header(struct request *r, const char *name);
uint64_t request_query_u64(const struct request *r, const char *name);
bool request_query_bool(const struct request *r, const char *name);
const char *request_query_text(const struct request *r, const char *name);

#endif
