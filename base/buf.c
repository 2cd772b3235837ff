/* SPDX-License-Identifier: Apache-2.0 */
/* See buf.h. */
#include "base/buf.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	BUF_FIRST_ALLOCATION = 256
};

void buf_done(struct buf *b)
{
	free(b->data);
	b->data = NULL;
	b->start = b->end = b->cap = 0;
}

/* 0, -ENOBUFS, -ENOMEM: afterwards cap - end >= len. */
static int buf_make_room(struct buf *b, size_t len)
{
	size_t held = buf_len(b), want;
	uint8_t *grown;

	if (len > b->limit || held > b->limit - len)
		return -ENOBUFS;
	if (b->data && b->cap - b->end >= len)
		return 0;
	if (b->data && b->start) {
		memmove(b->data, b->data + b->start, held);
		b->start = 0;
		b->end = held;
	}
	if (b->data && b->cap - b->end >= len)
		return 0;
	want = b->cap ? b->cap : BUF_FIRST_ALLOCATION;
	while (want < held + len)
		want *= 2;
	if (want > b->limit)
		want = b->limit;
	grown = realloc(b->data, want ? want : 1);
	if (!grown)
		return -ENOMEM;
	b->data = grown;
	b->cap = want;
	return 0;
}

uint8_t *buf_reserve(struct buf *b, size_t len)
{
	if (buf_make_room(b, len) < 0)
		return NULL;
	return b->data + b->end;
}

void buf_commit(struct buf *b, size_t len)
{
	assert(len <= b->cap - b->end);
	b->end += len;
}

int buf_append(struct buf *b, const void *data, size_t len)
{
	int rc;

	if (!len)
		return 0;
	rc = buf_make_room(b, len);
	if (rc < 0)
		return rc;
	memcpy(b->data + b->end, data, len);
	b->end += len;
	return 0;
}

int buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list args;
	char *text = NULL;
	int len, rc;

	va_start(args, fmt);
	len = vasprintf(&text, fmt, args);
	va_end(args);
	if (len < 0)
		return -ENOMEM;
	rc = buf_append(b, text, (size_t)len);
	free(text);
	return rc;
}

void buf_consume(struct buf *b, size_t len)
{
	assert(len <= buf_len(b));
	b->start += len;
	if (b->start == b->end)
		b->start = b->end = 0;
}

char *buf_to_string(const struct buf *b)
{
	char *s = malloc(buf_len(b) + 1);

	if (!s)
		return NULL;
	if (buf_len(b))
		memcpy(s, buf_head(b), buf_len(b));
	s[buf_len(b)] = '\0';
	return s;
}
