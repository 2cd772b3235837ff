/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The head of a request as the library read it, copied, and checked for what
 * the library takes though it should not (RFC 9112): two lengths, a length with
 * chunks, two Host, names and values with odd bytes. A request that two readers
 * could understand differently is refused.
 */
#ifndef VMD_HTTP_HEAD_H
#define VMD_HTTP_HEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum {
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
	bool chunked;
	bool expects; /* 100-continue */
	uint64_t length; /* of the body, when not chunked */
};

struct MHD_Connection;

/*
 * From the library's first call for a request; target is what its first line
 * says. 0, or negative: *e says what is wrong (its code has the HTTP status:
 * api/problem.h) and the connection is of no further use.
 */
int http_head_take(struct http_head *h, struct MHD_Connection *from,
		   const char *method, const char *target, const char *version,
		   struct err *e);
void http_head_done(struct http_head *h);
/* The first header of that name, in any case; NULL. */
const char *http_head_find(const struct http_head *h, const char *name);
/* Whether a header with a comma-separated list has that word, in any case. */
bool http_head_has(const struct http_head *h, const char *name,
		   const char *word);

#endif
