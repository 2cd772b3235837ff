/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A growable byte queue with a hard limit: append at the tail, consume at the
 * head. Zero-initialise with BUF_INIT(limit). Not thread-safe.
 */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stddef.h>
#include <stdint.h>

struct buf {
	uint8_t *data; /* allocation */
	size_t start; /* first unread byte */
	size_t end; /* one past the last */
	size_t cap;
	size_t limit; /* most bytes held at once */
};

#define BUF_INIT(limit_bytes)          \
	{                              \
		.limit = (limit_bytes) \
	}

void buf_done(struct buf *b);

static inline size_t buf_len(const struct buf *b)
{
	return b->end - b->start;
}

static inline const uint8_t *buf_head(const struct buf *b)
{
	return b->data + b->start;
}

/* Room for len more bytes at the tail; NULL when over the limit or no memory. */
uint8_t *buf_reserve(struct buf *b, size_t len);

/* len bytes written into the reserved room become part of the queue. */
void buf_commit(struct buf *b, size_t len);

/* 0, or -ENOBUFS over the limit, -ENOMEM. */
int buf_append(struct buf *b, const void *data, size_t len);
int buf_printf(struct buf *b, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* Drops len bytes from the head; len must be at most buf_len(). */
void buf_consume(struct buf *b, size_t len);

/* Gives the memory back when nothing is held; it may be used again. */
static inline void buf_trim(struct buf *b)
{
	if (buf_len(b) == 0)
		buf_done(b);
}

/* A NUL-terminated copy of the content; NULL when out of memory. */
char *buf_to_string(const struct buf *b);

static inline void auto_buf(struct buf *b)
{
	buf_done(b);
}

#endif
