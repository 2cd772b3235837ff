/* SPDX-License-Identifier: Apache-2.0 */
/* The framing of a request's body: see http_head.h. */
#include <string.h>

#include "base/parse.h"
#include "vmd/http/http_head.h"

enum {
	SIZE, /* digits of a chunk's size */
	EXTENSION, /* what may stand behind it; passed over */
	SIZE_LF,
	DATA,
	DATA_CR,
	DATA_LF,
	TRAILER, /* at the beginning of a line */
	TRAILER_LINE,
	TRAILER_LF,
	END_LF,
	OVER
};

enum {
	SIZE_DIGITS_MAX = 15, /* 2^60 bytes */
	LINE_MAX_BYTES = 1024, /* a size with its extensions */
	TRAILERS_MAX = 8192
};

void http_body_begin(struct http_body *b, const struct http_head *h)
{
	*b = (struct http_body){ .chunked = h->chunked };
	if (h->chunked)
		return;
	b->left = h->length;
	b->state = h->length ? DATA : OVER;
}

bool http_body_over(const struct http_body *b)
{
	return b->state == OVER;
}

void http_body_took(struct http_body *b, size_t len)
{
	b->left -= len;
	if (b->left == 0)
		b->state = b->chunked ? DATA_CR : OVER;
}

static bool size_digit(struct http_body *b, char c)
{
	int digit = parse_hex_digit(c);

	if (digit < 0 || b->line == SIZE_DIGITS_MAX)
		return false;
	b->left = b->left * 16 + (uint64_t)digit;
	b->line++;
	return true;
}

static void size_over(struct http_body *b)
{
	b->line = 0;
	b->state = b->left ? DATA : TRAILER;
}

/* A trailer field; none is of use. false: too much of it, or malformed. */
static bool trailer(struct http_body *b, char c)
{
	if (++b->line > TRAILERS_MAX || c == '\n')
		return false;
	if (c == '\r')
		b->state = b->state == TRAILER ? END_LF : TRAILER_LF;
	else
		b->state = TRAILER_LINE;
	return true;
}

/* One byte of framing; false: malformed. */
static bool step(struct http_body *b, char c)
{
	switch (b->state) {
	case SIZE:
		if (b->line && (c == '\r' || c == ';' || c == ' ')) {
			b->state = c == '\r' ? SIZE_LF : EXTENSION;
			return true;
		}
		return size_digit(b, c);
	case EXTENSION:
		if (c == '\r')
			b->state = SIZE_LF;
		return c != '\n' && ++b->line <= LINE_MAX_BYTES;
	case SIZE_LF:
		size_over(b);
		return c == '\n';
	case DATA_CR:
		b->state = DATA_LF;
		return c == '\r';
	case DATA_LF:
		b->state = SIZE;
		return c == '\n';
	case TRAILER_LF:
		b->state = TRAILER;
		return c == '\n';
	case END_LF:
		b->state = OVER;
		return c == '\n';
	default:
		return trailer(b, c);
	}
}

int64_t http_body_next(struct http_body *b, const void *data, size_t len,
		       size_t *ret_len, struct err *e)
{
	const char *at = data;
	size_t n = 0;

	while (n < len && b->state != DATA && b->state != OVER)
		if (!step(b, at[n++]))
			return err_set(e, ERR_INVALID, "bad_request", 0,
				       "the request's body is not well "
				       "chunked");
	*ret_len = 0;
	if (b->state == DATA)
		*ret_len = len - n < b->left ? len - n : (size_t)b->left;
	return (int64_t)n;
}
