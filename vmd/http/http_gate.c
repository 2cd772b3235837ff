/* SPDX-License-Identifier: Apache-2.0 */
/* See http_gate.h. */
#include "vmd/http/http_gate.h"

#include <string.h>

#include "base/parse.h"

enum {
	LINES, /* of a head or of trailers */
	SIZE, /* digits of a chunk's size */
	EXTENSION, /* what may stand behind it */
	SIZE_LF,
	DATA,
	CHUNK_CR,
	CHUNK_LF,
	DATA_PLAIN, /* of a body with a length */
	OVER
};

enum {
	SIZE_DIGITS_MAX = 15, /* 2^60 bytes */
	EXTENSION_MAX = 1024,
	TRAILERS_MAX = 8192
};

void http_gate_head(struct http_gate *g)
{
	*g = (struct http_gate){ .state = LINES };
}

void http_gate_body(struct http_gate *g, bool chunked, uint64_t length)
{
	*g = (struct http_gate){ .left = length, .trailers = true };
	if (chunked)
		g->state = SIZE;
	else
		g->state = length ? DATA_PLAIN : OVER;
}

bool http_gate_over(const struct http_gate *g)
{
	return g->state == OVER;
}

static int malformed(struct err *e, const char *what)
{
	return err_set(e, ERR_INVALID, "bad_request", 0,
		       "the request is no HTTP: %s", what);
}

static int too_long(const struct http_gate *g, struct err *e)
{
	if (g->trailers)
		return malformed(e, "its trailers are too long");
	if (g->lines == 0)
		return err_set(e, ERR_INVALID, "uri_too_long", 0,
			       "the request's first line has more than %d "
			       "bytes",
			       HTTP_TARGET_MAX);
	return err_set(e, ERR_INVALID, "headers_too_large", 0,
		       "the head of the request has more than %d bytes",
		       HTTP_HEAD_MAX);
}

/* Up to the end of the present line, or of data: how many bytes; negative. */
static int64_t pass_line(struct http_gate *g, const char *data, size_t len,
			 struct err *e)
{
	const char *lf = memchr(data, '\n', len);
	size_t n = lf ? (size_t)(lf - data) : len, used = n + (lf != NULL);
	bool cr = n > 0 ? data[n - 1] == '\r' : g->cr;

	g->total += used;
	if (g->total > (g->trailers ? TRAILERS_MAX : HTTP_HEAD_MAX))
		return too_long(g, e);
	if (memchr(data, '\0', n))
		return malformed(e, "it has a NUL byte");
	/* An end of a line, says one; a blank, says another. */
	if (n > 0 && (g->cr || memchr(data, '\r', n - 1)))
		return malformed(e, "a CR must be followed by LF");
	if (g->line == 0 && n > 0 && (data[0] == ' ' || data[0] == '\t'))
		return malformed(e, "a line begins with a blank");
	if (g->line == 0 && n > 0 && data[0] == ':') /* an end, says one */
		return malformed(e, "a line begins with a colon");
	g->line += n;
	if (!lf) {
		g->cr = cr;
		return (int64_t)used;
	}
	if (!cr)
		return malformed(e, "a line must end with CR and LF");
	if (g->line == 1 && g->lines == 0 && !g->trailers)
		return malformed(e, "it is empty");
	if (g->line == 1)
		g->state = OVER;
	g->line = 0;
	g->cr = false;
	g->lines++;
	return (int64_t)used;
}

static bool pass_size(struct http_gate *g, char c)
{
	int digit = parse_hex_digit(c);

	if (g->line && (c == '\r' || c == ';')) {
		g->state = c == '\r' ? SIZE_LF : EXTENSION;
		return true;
	}
	if (digit < 0 || g->line == SIZE_DIGITS_MAX)
		return false;
	g->left = g->left * 16 + (uint64_t)digit;
	g->line++;
	return true;
}

/* One byte around a chunk; false: malformed. */
static bool pass_framing(struct http_gate *g, char c)
{
	switch (g->state) {
	case SIZE:
		return pass_size(g, c);
	case EXTENSION:
		if (c == '\r')
			g->state = SIZE_LF;
		return c != '\n' && c != '\0' && ++g->line <= EXTENSION_MAX;
	case SIZE_LF:
		g->line = 0;
		g->state = g->left ? DATA : LINES;
		return c == '\n';
	case CHUNK_CR:
		g->state = CHUNK_LF;
		return c == '\r';
	default: /* CHUNK_LF */
		g->state = SIZE;
		return c == '\n';
	}
}

static int64_t pass_data(struct http_gate *g, size_t len)
{
	size_t n = len < g->left ? len : (size_t)g->left;

	g->left -= n;
	if (g->left == 0)
		g->state = g->state == DATA ? CHUNK_CR : OVER;
	return (int64_t)n;
}

int64_t http_gate_pass(struct http_gate *g, const void *data, size_t len,
		       struct err *e)
{
	const char *at = data;
	size_t n = 0;

	while (n < len && g->state != OVER) {
		int64_t more = 1;

		if (g->state == LINES)
			more = pass_line(g, at + n, len - n, e);
		else if (g->state == DATA || g->state == DATA_PLAIN)
			more = pass_data(g, len - n);
		else if (!pass_framing(g, at[n]))
			more = malformed(e, "its body is not well chunked");
		if (more < 0)
			return more;
		n += (size_t)more;
	}
	return (int64_t)n;
}
