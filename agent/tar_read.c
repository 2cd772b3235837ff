/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading a tar stream: a state machine over 512-byte blocks.
 *
 *   HEADER -> BODY (file data, or the text of an extension) -> HEADER ... END
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
#include <unistd.h>

#include "agent/tar.h"

enum state {
	READ_HEADER,
	READ_BODY,
	READ_END
};

struct tar_reader {
	struct tar_place place;
	enum state state;
	bool failed;
	uint8_t block[TAR_BLOCK]; /* the header being collected */
	size_t have;
	uint64_t body_left, pad_left;
	int file; /* written while READ_BODY; -1: body is dropped */
	char *text; /* extension: TAR_PAX_MAX, made on first use */
	size_t text_len;
	char text_type; /* 'x', 'L', 'K', or 0 */
	struct tar_entry entry; /* being built: extensions come first */
	struct tar_entry extended; /* "", UINT64_MAX, mtime_ns -1: not said */
	bool has_size;
	struct tar_entry *dirs[TAR_DEPTH_MAX];
	size_t dir_count;
};

/* What extension headers said is for one entry only. */
static void forget_extensions(struct tar_reader *r)
{
	r->extended.name[0] = r->extended.link[0] = 0;
	r->extended.uid = r->extended.gid = UINT64_MAX;
	r->extended.mtime_ns = -1;
	r->has_size = false;
}

struct tar_reader *tar_reader_new(int dirfd)
{
	struct tar_reader *r = calloc(1, sizeof(*r));

	if (!r) {
		(void)close(dirfd);
		return NULL;
	}
	r->place.root = dirfd;
	r->place.as_root = geteuid() == 0;
	r->file = -1;
	forget_extensions(r);
	return r;
}

void tar_reader_free(struct tar_reader *r)
{
	if (!r)
		return;
	for (size_t i = 0; i < r->dir_count; i++)
		free(r->dirs[i]);
	if (r->file >= 0)
		(void)close(r->file);
	(void)close(r->place.root);
	free(r->text);
	free(r);
}

const char *tar_reader_error(const struct tar_reader *r)
{
	return r->place.error;
}

static int malformed(struct tar_reader *r, const char *what)
{
	(void)snprintf(r->place.error, sizeof(r->place.error),
		       "malformed archive: %s", what);
	return -EPROTO;
}

/* ---- directories whose attributes are still to be set ------------------- */

static int leave_directory(struct tar_reader *r)
{
	struct tar_entry *e = r->dirs[--r->dir_count];
	int fd = tar_place_open_directory(&r->place, e->name), rc;

	if (fd < 0)
		rc = tar_place_fail(&r->place, -fd, e->name, "cannot open");
	else
		rc = tar_place_attributes(&r->place, e, fd);
	if (fd >= 0)
		(void)close(fd);
	free(e);
	return rc;
}

static bool is_below(const char *name, const char *dir)
{
	size_t len = strlen(dir);

	while (len && dir[len - 1] == '/')
		len--;
	return strncmp(name, dir, len) == 0 && (!len || name[len] == '/');
}

static int leave_others(struct tar_reader *r, const char *name)
{
	int rc = 0;

	while (rc == 0 && r->dir_count &&
	       !is_below(name, r->dirs[r->dir_count - 1]->name))
		rc = leave_directory(r);
	return rc;
}

static int enter_directory(struct tar_reader *r)
{
	struct tar_entry *copy;
	int rc = tar_place_other(&r->place, &r->entry);

	if (rc < 0)
		return rc;
	if (r->dir_count == TAR_DEPTH_MAX)
		return tar_place_fail(&r->place, ENAMETOOLONG, r->entry.name,
				      "too many directories deep:");
	copy = malloc(sizeof(*copy));
	if (!copy)
		return tar_place_fail(&r->place, ENOMEM, r->entry.name,
				      "cannot keep");
	*copy = r->entry;
	r->dirs[r->dir_count++] = copy;
	return 0;
}

/* ---- headers -------------------------------------------------------------- */

static void copy_field(char *out, const char *field, size_t len)
{
	memcpy(out, field, len);
	out[len] = 0;
}

static int parse_header(struct tar_reader *r, const struct tar_header *h,
			struct tar_entry *e)
{
	uint64_t sum, mode, mtime;
	size_t at = 0;

	if (!tar_number(h->checksum, sizeof(h->checksum), &sum) ||
	    sum != tar_checksum(h))
		return malformed(r, "wrong checksum of a header");
	if (!tar_number(h->mode, sizeof(h->mode), &mode) ||
	    !tar_number(h->uid, sizeof(h->uid), &e->uid) ||
	    !tar_number(h->gid, sizeof(h->gid), &e->gid) ||
	    !tar_number(h->size, sizeof(h->size), &e->size))
		return malformed(r, "a field is not a number");
	/* Times before 1970 are written in ways that nobody agrees on. */
	if (!tar_number(h->mtime, sizeof(h->mtime), &mtime))
		mtime = 0;
	e->mode = (unsigned int)(mode & 07777);
	e->mtime_s = (int64_t)mtime;
	e->mtime_ns = 0;
	e->type = h->type;
	/* GNU's magic is "ustar " and it has other things in prefix. */
	if (memcmp(h->magic, "ustar", 6) == 0 && h->prefix[0]) {
		copy_field(e->name, h->prefix, sizeof(h->prefix));
		at = strlen(e->name);
		e->name[at++] = '/';
	}
	copy_field(e->name + at, h->name, sizeof(h->name));
	copy_field(e->link, h->linkname, sizeof(h->linkname));
	return 0;
}

/* What extension headers said replaces what the header says. */
static void apply_extensions(struct tar_reader *r)
{
	const struct tar_entry *x = &r->extended;
	struct tar_entry *e = &r->entry;

	if (x->name[0])
		memcpy(e->name, x->name, sizeof(e->name));
	if (x->link[0])
		memcpy(e->link, x->link, sizeof(e->link));
	if (r->has_size)
		e->size = x->size;
	if (x->mtime_ns >= 0) {
		e->mtime_s = x->mtime_s;
		e->mtime_ns = x->mtime_ns;
	}
	if (x->uid != UINT64_MAX)
		e->uid = x->uid;
	if (x->gid != UINT64_MAX)
		e->gid = x->gid;
}

static int finish_text(struct tar_reader *r)
{
	char type = r->text_type;

	r->text_type = 0;
	if (type == 'x')
		return tar_apply_pax(r->text, r->text_len, &r->extended,
				     &r->has_size)
			       ? 0
			       : malformed(r, "an extended header");
	/* GNU: the text is the name, with or without a NUL. */
	if (r->text_len >= TAR_NAME_MAX + 1)
		return malformed(r, "a name is too long");
	r->text[r->text_len] = 0;
	if (strlen(r->text) >= TAR_NAME_MAX)
		return malformed(r, "a name is too long");
	(void)snprintf(type == 'L' ? r->extended.name : r->extended.link,
		       TAR_NAME_MAX, "%s", r->text);
	return 0;
}

static int start_text(struct tar_reader *r, char type)
{
	if (r->entry.size > TAR_PAX_MAX - 1)
		return malformed(r, "an extended header is too long");
	if (!r->text)
		r->text = malloc(TAR_PAX_MAX);
	if (!r->text)
		return tar_place_fail(&r->place, ENOMEM, "", "cannot unpack");
	r->text_len = 0;
	r->text_type = type;
	return 0;
}

static int start_entry(struct tar_reader *r)
{
	struct tar_entry *e = &r->entry;
	int rc;

	apply_extensions(r);
	forget_extensions(r);
	if (!e->name[0])
		return malformed(r, "an entry without a name");
	/* Old archives mark a directory by a slash at the end. */
	if ((e->type == '0' || !e->type) && e->name[strlen(e->name) - 1] == '/')
		e->type = '5';
	rc = leave_others(r, e->name);
	if (rc < 0)
		return rc;
	switch (e->type) {
	case 0:
	case '0':
	case '7':
		r->file = tar_place_file(&r->place, e);
		r->body_left = e->size;
		return r->file < 0 ? r->file : 0;
	case '5':
		return enter_directory(r);
	case '1':
	case '2':
		return tar_place_other(&r->place, e);
	default:
		return tar_place_fail(&r->place, ENOTSUP, e->name,
				      "devices and pipes are not copied:");
	}
}

static int end_body(struct tar_reader *r)
{
	int rc = 0;

	r->state = READ_HEADER;
	r->have = 0;
	if (r->text_type)
		return finish_text(r);
	if (r->file >= 0) {
		rc = tar_place_attributes(&r->place, &r->entry, r->file);
		if (close(r->file) < 0 && rc == 0)
			rc = tar_place_fail(&r->place, errno, r->entry.name,
					    "cannot write");
		r->file = -1;
	}
	return rc;
}

static int take_header(struct tar_reader *r)
{
	static const uint8_t zeros[TAR_BLOCK];
	struct tar_header h;
	int rc;

	if (memcmp(r->block, zeros, TAR_BLOCK) == 0) {
		r->state = READ_END;
		return 0;
	}
	memcpy(&h, r->block, sizeof(h));
	rc = parse_header(r, &h, &r->entry);
	if (rc < 0)
		return rc;
	r->body_left = 0;
	switch (h.type) {
	case 'x':
	case 'L':
	case 'K':
		rc = start_text(r, h.type);
		r->body_left = r->entry.size;
		break;
	case 'g':
		r->body_left = r->entry.size; /* dropped */
		break;
	default:
		rc = start_entry(r);
		break;
	}
	if (rc < 0)
		return rc;
	r->pad_left = (TAR_BLOCK - r->body_left % TAR_BLOCK) % TAR_BLOCK;
	r->state = READ_BODY;
	return r->body_left ? 0 : end_body(r);
}

static int take_body(struct tar_reader *r, const uint8_t *data, size_t len)
{
	if (r->text_type) {
		memcpy(r->text + r->text_len, data, len);
		r->text_len += len;
	}
	while (r->file >= 0 && len > 0) {
		ssize_t n = write(r->file, data, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return tar_place_fail(&r->place, n < 0 ? errno : EIO,
					      r->entry.name, "cannot write");
		data += n;
		len -= (size_t)n;
	}
	return 0;
}

static size_t smaller(uint64_t a, size_t b)
{
	return a < b ? (size_t)a : b;
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
	if (r->state == READ_HEADER) {
		n = smaller(TAR_BLOCK - r->have, len);
		memcpy(r->block + r->have, data, n);
		r->have += n;
		*ret_used = n;
		return r->have == TAR_BLOCK ? take_header(r) : 0;
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
		return malformed(r, "it ends too early");
	while (r->dir_count && rc == 0)
		rc = leave_directory(r);
	return rc;
}
