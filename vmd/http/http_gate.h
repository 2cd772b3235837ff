/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many of a client's bytes may pass to the library: never beyond the end of
 * the present request, so that what the library says is always about that one, and
 * none that two readers could understand differently (RFC 9112: lines that do not
 * end with CR and LF, NUL, folded lines, odd chunks), which it would take.
 *
 * No input, no output, no memory: what bytes mean is the library's business.
 */
#ifndef VMD_HTTP_GATE_H
#define VMD_HTTP_GATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum {
	HTTP_HEAD_MAX = 32768, /* bytes, with the empty line */
	HTTP_TARGET_MAX = 16384, /* a path of the guest, percent-encoded */
};

struct http_gate {
	unsigned state;
	bool trailers; /* lines behind a body, not before it */
	bool cr; /* the byte before is a CR */
	size_t line; /* bytes of the present line */
	size_t lines; /* whole ones before it */
	size_t total; /* bytes of the head, or of the trailers */
	uint64_t left; /* bytes of the body or of the chunk */
};

/* A head is awaited. */
void http_gate_head(struct http_gate *g);
/* The head was understood: the body that follows it, length when not chunked. */
void http_gate_body(struct http_gate *g, bool chunked, uint64_t length);
/* How many of the len bytes may pass; fewer: the end is there. Negative: malformed,
 * *e says how (its code has the HTTP status: api/problem.h). */
int64_t http_gate_pass(struct http_gate *g, const void *data, size_t len,
		       struct err *e);
/* The head, or the body, is whole. */
bool http_gate_over(const struct http_gate *g);

#endif
