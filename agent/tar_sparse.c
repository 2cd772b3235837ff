/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Maps of sparse files: segments of data, ascending, everything between them a
 * hole. Numbers come from the archive: each is checked against what came before
 * and against the file's length, the count is bounded.
 *
 * Source: GNU tar manual, "Storing Sparse Files"; tar.h of GNU tar.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/tar.h"

enum {
	OLD_ENTRY = 24, /* two numbers of 12 */
	NUMBER_DIGITS = 20
};

static const char wrong_map[] = "the map of a sparse file";
static const char too_many[] = "a sparse file has too many parts";

void tar_sparse_reset(struct tar_sparse *s)
{
	struct tar_segment *segments = s->segments;
	size_t room = s->room;

	*s = (struct tar_sparse){ .segments = segments,
				  .room = room,
				  .numbers_left = UINT64_MAX };
}

void tar_sparse_done(struct tar_sparse *s)
{
	free(s->segments);
	*s = (struct tar_sparse){ .segments = NULL };
}

const char *tar_sparse_add(struct tar_sparse *s, uint64_t offset, uint64_t len)
{
	struct tar_segment *grown;
	uint64_t end = 0;

	if (s->count == TAR_SEGMENTS_MAX)
		return too_many;
	if (s->count)
		end = s->segments[s->count - 1].offset +
		      s->segments[s->count - 1].len;
	if (offset < end || len > INT64_MAX - offset || offset > INT64_MAX)
		return wrong_map;
	if (s->count == s->room) {
		size_t room = s->room ? 2 * s->room : 16;

		grown = realloc(s->segments, room * sizeof(*grown));
		if (!grown)
			return "no memory for the map of a sparse file";
		s->segments = grown;
		s->room = room;
	}
	s->segments[s->count++] = (struct tar_segment){ offset, len };
	return NULL;
}

/* 0.1: "offset,length,offset,length". */
static const char *add_list(struct tar_sparse *s, const char *text)
{
	while (*text) {
		uint64_t v[2];

		for (int i = 0; i < 2; i++) {
			size_t len = strcspn(text, ",");
			char number[NUMBER_DIGITS + 1];

			if (len > NUMBER_DIGITS)
				return wrong_map;
			memcpy(number, text, len);
			number[len] = 0;
			if (!tar_decimal(number, &v[i]))
				return wrong_map;
			text += len + (text[len] == ',');
		}
		if (tar_sparse_add(s, v[0], v[1]))
			return wrong_map;
	}
	return NULL;
}

const char *tar_sparse_record(struct tar_sparse *s, const char *key,
			      const char *value)
{
	static const char wrong[] = "a record of a sparse file";
	uint64_t v = 0;

	/* star's way, which nobody writes any more. */
	if (strcmp(key, "SCHILY.realsize") == 0 ||
	    (strcmp(key, "SCHILY.filetype") == 0 &&
	     strcmp(value, "sparse") == 0))
		return "a sparse file of a kind that is not read (star's)";
	if (strncmp(key, "GNU.sparse.", 11) != 0)
		return NULL;
	key += 11;
	s->given = true;
	if (strcmp(key, "map") == 0)
		return add_list(s, value);
	if (strcmp(key, "name") == 0)
		return NULL; /* the caller's */
	if (!tar_decimal(value, &v))
		return wrong;
	if (strcmp(key, "offset") == 0) {
		if (s->half)
			return wrong;
		s->half = true;
		s->offset = v;
	} else if (strcmp(key, "numbytes") == 0) {
		if (!s->half)
			return wrong;
		s->half = false;
		return tar_sparse_add(s, s->offset, v);
	} else if (strcmp(key, "size") == 0 || strcmp(key, "realsize") == 0) {
		s->real_size = v;
	} else if (strcmp(key, "major") == 0) {
		s->in_body = v == 1;
		if (v > 1)
			return "a sparse file of a version that is not read";
	}
	return NULL;
}

const char *tar_sparse_old(struct tar_sparse *s, const uint8_t *entries,
			   size_t count, bool *ret_more)
{
	const char *at = (const char *)entries;

	s->given = true;
	for (size_t i = 0; i < count; i++, at += OLD_ENTRY) {
		uint64_t offset, len;
		const char *wrong;

		if (at[12] == 0)
			break; /* an unused one */
		if (!tar_number(at, 12, &offset) ||
		    !tar_number(at + 12, 12, &len))
			return wrong_map;
		wrong = tar_sparse_add(s, offset, len);
		if (wrong)
			return wrong;
	}
	*ret_more = entries[count * OLD_ENTRY] != 0;
	return NULL;
}

static const char *take_number(struct tar_sparse *s)
{
	if (s->numbers_left == UINT64_MAX) {
		if (s->number > TAR_SEGMENTS_MAX)
			return too_many;
		s->numbers_left = 2 * s->number;
		return NULL;
	}
	s->numbers_left--;
	s->half = !s->half;
	if (!s->half)
		return tar_sparse_add(s, s->offset, s->number);
	s->offset = s->number;
	return NULL;
}

const char *tar_sparse_byte(struct tar_sparse *s, char c, bool *ret_end)
{
	const char *wrong;

	*ret_end = false;
	if (c >= '0' && c <= '9') {
		if (s->number > INT64_MAX / 10 - 1)
			return wrong_map;
		s->number = s->number * 10 + (uint64_t)(c - '0');
		s->digits = true;
		return NULL;
	}
	if (c != '\n' || !s->digits)
		return wrong_map;
	wrong = take_number(s);
	s->number = 0;
	s->digits = false;
	*ret_end = s->numbers_left == 0;
	return wrong;
}

const char *tar_sparse_check(const struct tar_sparse *s, uint64_t data_size)
{
	uint64_t sum = 0, end = 0;

	for (size_t i = 0; i < s->count; i++) {
		sum += s->segments[i].len; /* ascending: no overflow */
		end = s->segments[i].offset + s->segments[i].len;
	}
	return s->half || sum != data_size || end > s->real_size ||
			       s->real_size > INT64_MAX
		       ? wrong_map
		       : NULL;
}

bool tar_sparse_scan(struct tar_sparse *s, int fd, uint64_t size)
{
	uint64_t at = 0, data = 0;

	tar_sparse_reset(s);
	s->real_size = size;
	while (at < size) {
		off_t from = lseek(fd, (off_t)at, SEEK_DATA);
		off_t to = from < 0 ? -1 : lseek(fd, from, SEEK_HOLE);

		if (from < 0 && errno == ENXIO)
			break; /* holes up to the end */
		if (from < (off_t)at || to <= from)
			return false;
		if ((uint64_t)from >= size)
			break;
		/* The last one that fits takes all that is left. */
		if ((uint64_t)to > size || s->count == TAR_SEGMENTS_MAX - 2)
			to = (off_t)size;
		if (tar_sparse_add(s, (uint64_t)from, (uint64_t)(to - from)))
			return false;
		data += (uint64_t)(to - from);
		at = (uint64_t)to;
	}
	if (lseek(fd, 0, SEEK_SET) < 0 || size - data < TAR_SPARSE_LEAST)
		return false;
	/* As GNU tar writes it: the length shows in the map too. */
	return tar_sparse_add(s, size, 0) == NULL;
}

char *tar_sparse_text(const struct tar_sparse *s, size_t *ret_len)
{
	/* Two numbers with their line ends, and the count. */
	size_t room = (s->count + 1) * 2 * (NUMBER_DIGITS + 1) + TAR_BLOCK;
	char *text = calloc(1, room);
	int n;

	if (!text)
		return NULL;
	n = snprintf(text, room, "%zu\n", s->count);
	for (size_t i = 0; i < s->count; i++)
		n += snprintf(text + n, room - (size_t)n, "%llu\n%llu\n",
			      (unsigned long long)s->segments[i].offset,
			      (unsigned long long)s->segments[i].len);
	*ret_len = ((size_t)n + TAR_BLOCK - 1) / TAR_BLOCK * TAR_BLOCK;
	return text;
}
