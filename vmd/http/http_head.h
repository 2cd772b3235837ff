/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The head of a request (RFC 9112) and the framing of its body, without any
 * input or output: what comes from a client is only ever read here.
 *
 * Strict: lines end with CRLF, exactly one Host, one length or chunks and never
 * both. A request that two readers could understand differently is refused.
 */
#ifndef VMD_HTTP_HEAD_H
#define VMD_HTTP_HEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum {
	HTTP_HEAD_MAX = 32768, /* bytes, with the empty line */
	HTTP_TARGET_MAX = 16384, /* a path of the guest, percent-encoded */
	HTTP_HEADERS_MAX = 100,
};

struct http_header {
	const char *name, *value; /* value without blanks around it */
};

struct http_head {
	char *text; /* owned; the rest points into it */
	const char *method;
	const char *target; /* path and query, percent-encoded */
	struct http_header headers[HTTP_HEADERS_MAX];
	size_t count;
	bool old; /* HTTP/1.0 */
	bool close; /* the client wants no further request */
	bool chunked;
	bool expects; /* 100-continue */
	uint64_t length; /* of the body, when not chunked */
};

/*
 * 1: *ret_used bytes are a head, h is filled; 0: it is not complete; negative:
 * malformed, *e says how (its code has the HTTP status: api/problem.h), the
 * connection is of no further use. data is not changed.
 */
int http_head_parse(struct http_head *h, const void *data, size_t len,
		    size_t *ret_used, struct err *e);
void http_head_done(struct http_head *h);
/* The first header of that name, in any case; NULL. */
const char *http_head_find(const struct http_head *h, const char *name);
/* Whether a header with a comma-separated list has that word, in any case. */
bool http_head_has(const struct http_head *h, const char *name,
		   const char *word);

/* The body of a request, as it comes. */
struct http_body {
	bool chunked;
	uint64_t left; /* of the body or the chunk */
	unsigned state; /* of the chunks */
	size_t line; /* bytes of the present line or of the trailers */
};

void http_body_begin(struct http_body *b, const struct http_head *h);
/*
 * Passes over framing: returns how many bytes of data to drop, sets *ret_len to
 * how many bytes of the body's content follow there (0: more is needed, or it is
 * the end). Negative: malformed.
 */
int64_t http_body_next(struct http_body *b, const void *data, size_t len,
		       size_t *ret_len, struct err *e);
/* That many bytes of content were taken. */
void http_body_took(struct http_body *b, size_t len);
bool http_body_over(const struct http_body *b);

#endif
