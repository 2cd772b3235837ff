/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading a tar stream: a state machine over 512-byte blocks.
 *
 *   HEADER -> [MAP] -> BODY (file data, or the text of an extension) -> HEADER
 *   ... END
 *
 * MAP: the rest of an old GNU sparse file's map, in blocks behind its header. The
 * map of GNU.sparse 1.0 is the first part of the body.
 *
 * The attributes of a directory are set when the archive leaves it, since
 * every entry made inside would change its time and a read-only mode would
 * forbid them; the open directories are a stack of bounded depth.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/tar_reader.h"

enum {
	OLD_MAP_BLOCK = 21 /* entries in a block of an old GNU map */
};

static size_t smaller(uint64_t a, size_t b)
{
	return a < b ? (size_t)a : b;
}

static struct tar_reader *make(const struct tar_policy *policy)
{
	struct tar_reader *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->place.policy = *policy;
	r->place.root = -1;
	r->file = (struct tar_file){ .fd = -1, .parent = -1 };
	tar_forget_extensions(r);
	return r;
}

struct tar_reader *tar_reader_new(int dirfd, const struct tar_policy *policy)
{
	struct tar_reader *r = make(policy);

	if (r)
		r->place.root = dirfd;
	else
		(void)close(dirfd);
	return r;
}

struct tar_reader *tar_reader_new_at(const char *path, const char *name,
				     const struct tar_policy *policy)
{
	struct tar_reader *r = make(policy);

	if (r)
		r->place.path = strdup(path);
	if (r && name)
		r->place.name = strdup(name);
	if (r && r->place.path && (!name || r->place.name))
		return r;
	tar_reader_free(r);
	return NULL;
}

void tar_reader_free(struct tar_reader *r)
{
	if (!r)
		return;
	for (size_t i = 0; i < r->dir_count; i++)
		free(r->dirs[i]);
	tar_place_drop(&r->file);
	tar_place_done(&r->place);
	tar_sparse_done(&r->sparse);
	free(r->text);
	free(r);
}

const char *tar_reader_error(const struct tar_reader *r)
{
	return r->place.error;
}

struct tar_left *tar_reader_left(struct tar_reader *r)
{
	return &r->place.left;
}

uint64_t tar_reader_bytes(const struct tar_reader *r)
{
	return r->bytes;
}

static int end_body(struct tar_reader *r)
{
	int rc = 0;

	r->state = READ_HEADER;
	r->have = 0;
	if (r->text_type)
		return tar_finish_text(r);
	if (r->file.fd >= 0 && r->in_map)
		return tar_malformed(r, "the map of a sparse file");
	if (r->file.fd >= 0 && r->sparse.given)
		rc = tar_place_write(&r->place, &r->entry, &r->file,
				     r->sparse.real_size, NULL, 0);
	if (r->file.fd >= 0 && rc == 0)
		rc = tar_place_end(&r->place, &r->entry, &r->file);
	if (r->entry.type != 'g')
		tar_forget_extensions(r);
	return rc;
}

static int begin_body(struct tar_reader *r)
{
	r->pad_left = (TAR_BLOCK - r->body_left % TAR_BLOCK) % TAR_BLOCK;
	r->state = READ_BODY;
	if (r->file.fd >= 0 && r->sparse.given && !r->in_map) {
		const char *wrong = tar_sparse_check(&r->sparse, r->body_left);

		if (wrong)
			return tar_malformed(r, wrong);
	}
	return r->body_left ? 0 : end_body(r);
}

/* A block of an old GNU map is there. */
static int take_map(struct tar_reader *r)
{
	bool more;
	const char *wrong =
		tar_sparse_old(&r->sparse, r->block, OLD_MAP_BLOCK, &more);
	int rc;

	r->have = 0;
	if (wrong)
		return tar_malformed(r, wrong);
	if (more)
		return 0;
	rc = tar_place_entry(r);
	return rc < 0 ? rc : begin_body(r);
}

static int take_header(struct tar_reader *r)
{
	static const uint8_t zeros[TAR_BLOCK];
	int rc;

	if (memcmp(r->block, zeros, TAR_BLOCK) == 0) {
		r->state = READ_END;
		return 0;
	}
	rc = tar_start_header(r);
	return rc < 0 || r->state == READ_MAP ? rc : begin_body(r);
}

/* Bytes of the map, which fills whole blocks; *ret_used of len. */
static int take_body_map(struct tar_reader *r, const uint8_t *data, size_t len,
			 size_t *ret_used)
{
	const char *wrong = NULL;
	size_t i = 0;
	bool end = false;

	while (i < len && !wrong && !end)
		wrong = tar_sparse_byte(&r->sparse, (char)data[i++], &end);
	r->at += i;
	*ret_used = i;
	if (wrong)
		return tar_malformed(r, wrong);
	if (!end)
		return 0;
	r->in_map = false;
	r->map_pad = (size_t)((TAR_BLOCK - r->at % TAR_BLOCK) % TAR_BLOCK);
	if (r->at + r->map_pad > r->entry.size)
		return tar_malformed(r, "the map of a sparse file");
	wrong = tar_sparse_check(&r->sparse,
				 r->entry.size - r->at - r->map_pad);
	r->at = 0;
	return wrong ? tar_malformed(r, wrong) : 0;
}

/* Bytes of a segment, or of a file that is none. *ret_used of len. */
static int take_data(struct tar_reader *r, const uint8_t *data, size_t len,
		     size_t *ret_used)
{
	const struct tar_segment *s;
	uint64_t offset = r->at;
	int rc;

	if (r->sparse.given) {
		while (r->at == r->sparse.segments[r->segment].len) {
			r->segment++; /* the sums were checked: there is one */
			r->at = 0;
		}
		s = &r->sparse.segments[r->segment];
		len = smaller(s->len - r->at, len);
		offset = s->offset + r->at;
	}
	rc = tar_place_write(&r->place, &r->entry, &r->file, offset, data, len);
	r->at += len;
	r->bytes += len;
	*ret_used = len;
	return rc;
}

static int take_body(struct tar_reader *r, const uint8_t *data, size_t len)
{
	int rc = 0;

	if (r->text_type) {
		memcpy(r->text + r->text_len, data, len);
		r->text_len += len;
	}
	while (r->file.fd >= 0 && len > 0 && rc == 0) {
		size_t used = smaller(r->map_pad, len);

		if (r->in_map)
			rc = take_body_map(r, data, len, &used);
		else if (r->map_pad)
			r->map_pad -= used;
		else
			rc = take_data(r, data, len, &used);
		data += used;
		len -= used;
	}
	return rc;
}

/* Takes some bytes; *ret_used says how many. */
static int step(struct tar_reader *r, const uint8_t *data, size_t len,
		size_t *ret_used)
{
	size_t n;
	int rc = 0;

	*ret_used = len;
	if (r->state == READ_END)
		return 0;
	if (r->state == READ_HEADER || r->state == READ_MAP) {
		n = smaller(TAR_BLOCK - r->have, len);
		memcpy(r->block + r->have, data, n);
		r->have += n;
		*ret_used = n;
		if (r->have < TAR_BLOCK)
			return 0;
		return r->state == READ_MAP ? take_map(r) : take_header(r);
	}
	if (r->body_left) {
		n = smaller(r->body_left, len);
		rc = take_body(r, data, n);
		r->body_left -= n;
	} else {
		n = smaller(r->pad_left, len);
		r->pad_left -= n;
	}
	*ret_used = n;
	if (rc == 0 && !r->body_left && !r->pad_left)
		rc = end_body(r);
	return rc;
}

int tar_reader_feed(struct tar_reader *r, const void *data, size_t len)
{
	const uint8_t *at = data;

	if (r->failed)
		return -EPROTO;
	while (len > 0) {
		size_t used;
		int rc = step(r, at, len, &used);

		if (rc < 0) {
			r->failed = true;
			return rc;
		}
		at += used;
		len -= used;
	}
	return 0;
}

int tar_reader_finish(struct tar_reader *r)
{
	int rc = 0;

	if (r->failed)
		return -EPROTO;
	if (r->state != READ_END)
		return tar_malformed(r, "it ends too early");
	if (r->place.path && !r->place.top[0] && !r->place.into_dot)
		return tar_malformed(r, "it is empty");
	while (r->dir_count && rc == 0)
		rc = tar_leave_directory(r);
	return rc;
}
