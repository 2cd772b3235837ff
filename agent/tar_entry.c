/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The entries of a tar stream: what a header and the extensions before it say, and
 * what is made of it. The attributes of a directory are set when the archive
 * leaves it, since every entry made inside would change its time and a read-only
 * mode would forbid them; the open directories are a stack of bounded depth.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/tar_reader.h"

/* Old GNU: where a header has its map and the file's length. */
enum {
	OLD_MAP_AT = 386,
	OLD_MAP_HEADER = 4,
	OLD_SIZE_AT = 483,
};

void tar_forget_extensions(struct tar_reader *r)
{
	r->extended.name[0] = r->extended.link[0] = 0;
	r->extended.uid = r->extended.gid = UINT64_MAX;
	r->extended.mtime_ns = -1;
	r->has_size = false;
	tar_sparse_reset(&r->sparse);
}

int tar_malformed(struct tar_reader *r, const char *what)
{
	(void)snprintf(r->place.error, sizeof(r->place.error),
		       "malformed archive: %s", what);
	return -EPROTO;
}

/* ---- directories whose attributes are still to be set ------------------- */

int tar_leave_directory(struct tar_reader *r)
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
		rc = tar_leave_directory(r);
	return rc;
}

static int enter_directory(struct tar_reader *r)
{
	struct tar_entry *copy;
	bool set;
	int rc = tar_place_directory(&r->place, &r->entry, &set);

	if (rc < 0 || !set)
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
		return tar_malformed(r, "wrong checksum of a header "
					"(compressed ones are not taken)");
	if (!tar_number(h->mode, sizeof(h->mode), &mode) ||
	    !tar_number(h->uid, sizeof(h->uid), &e->uid) ||
	    !tar_number(h->gid, sizeof(h->gid), &e->gid) ||
	    !tar_number(h->size, sizeof(h->size), &e->size))
		return tar_malformed(r, "a field is not a number");
	/* Times before 1970 are written in ways that nobody agrees on. */
	if (!tar_number(h->mtime, sizeof(h->mtime), &mtime))
		mtime = 0;
	if (!tar_number(h->devmajor, sizeof(h->devmajor), &e->dev_major) ||
	    !tar_number(h->devminor, sizeof(h->devminor), &e->dev_minor))
		e->dev_major = e->dev_minor = 0;
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

int tar_finish_text(struct tar_reader *r)
{
	char type = r->text_type;
	const char *wrong;

	r->text_type = 0;
	if (type == 'x') {
		wrong = tar_apply_pax(r->text, r->text_len, &r->extended,
				      &r->has_size, &r->sparse);
		return wrong ? tar_malformed(r, wrong) : 0;
	}
	/* GNU: the text is the name, with or without a NUL. */
	if (r->text_len >= TAR_NAME_MAX + 1)
		return tar_malformed(r, "a name is too long");
	r->text[r->text_len] = 0;
	if (strlen(r->text) >= TAR_NAME_MAX)
		return tar_malformed(r, "a name is too long");
	(void)snprintf(type == 'L' ? r->extended.name : r->extended.link,
		       TAR_NAME_MAX, "%s", r->text);
	return 0;
}

static int start_text(struct tar_reader *r, char type)
{
	if (r->entry.size > TAR_PAX_MAX - 1)
		return tar_malformed(r, "an extended header, or the map of a "
					"sparse file, is too long");
	if (!r->text)
		r->text = malloc(TAR_PAX_MAX);
	if (!r->text)
		return tar_place_fail(&r->place, ENOMEM, "", "cannot unpack");
	r->text_len = 0;
	r->text_type = type;
	return 0;
}

static int open_through(struct tar_reader *r)
{
	struct tar_place *p = &r->place;
	struct stat st;
	int fd;

	if (r->through)
		return tar_malformed(r,
				     "more than one file for one destination");
	fd = open(p->path, O_WRONLY | O_NOCTTY | O_CLOEXEC);
	if (fd >= 0 && (fstat(fd, &st) < 0 || S_ISREG(st.st_mode))) {
		(void)close(fd); /* it was exchanged under us */
		fd = -1;
		errno = EAGAIN;
	}
	if (fd < 0)
		return tar_place_fail(p, errno, p->path, "cannot write to");
	r->file = (struct tar_file){ .fd = fd, .parent = -1, .through = true };
	r->through = true;
	return 0;
}

static int start_file(struct tar_reader *r)
{
	r->body_left = r->entry.size;
	r->in_map = r->sparse.in_body;
	r->segment = 0;
	r->at = 0;
	if (r->place.root < 0)
		return open_through(r);
	return tar_place_file(&r->place, &r->entry, &r->file);
}

static int leave_out(struct tar_reader *r, const char *why)
{
	r->body_left = r->entry.size;
	tar_left_add(&r->place.left, r->entry.name, why);
	return 0;
}

static int start_special(struct tar_reader *r)
{
	r->entry.size = 0;
	if (!r->place.policy.special)
		return leave_out(r, r->entry.type == '6' ? "named pipe"
							 : "device");
	return tar_place_other(&r->place, &r->entry);
}

/* The entry is known: its own header, extensions, a map. */
int tar_place_entry(struct tar_reader *r)
{
	struct tar_entry *e = &r->entry;
	int rc = tar_place_rename(&r->place, e);

	if (rc == 0)
		rc = leave_others(r, e->name);
	if (rc < 0)
		return rc;
	switch (e->type) {
	case 0:
	case '0':
	case '7':
	case 'S':
		return start_file(r);
	case '5':
		return enter_directory(r);
	case '1':
	case '2':
		return tar_place_other(&r->place, e);
	case '3':
	case '4':
	case '6':
		return start_special(r);
	default:
		return leave_out(r, "an entry of unknown type");
	}
}

/* Old GNU: the header's own part of the map, and the file's length. */
static int start_old_sparse(struct tar_reader *r, bool *ret_more)
{
	const uint8_t *h = r->block;
	const char *wrong;

	tar_sparse_reset(&r->sparse);
	wrong = tar_sparse_old(&r->sparse, h + OLD_MAP_AT, OLD_MAP_HEADER,
			       ret_more);
	if (!wrong && !tar_number((const char *)h + OLD_SIZE_AT, 12,
				  &r->sparse.real_size))
		wrong = "the length of a sparse file";
	return wrong ? tar_malformed(r, wrong) : 0;
}

static int start_entry(struct tar_reader *r)
{
	struct tar_entry *e = &r->entry;
	bool more = false;
	int rc = 0;

	apply_extensions(r);
	if (!e->name[0])
		return tar_malformed(r, "an entry without a name");
	/* Old archives mark a directory by a slash at the end. */
	if ((e->type == '0' || !e->type) && e->name[strlen(e->name) - 1] == '/')
		e->type = '5';
	if (e->type == 'M')
		return tar_malformed(r, "the rest of a file of another volume");
	if (e->type == 'V') { /* the volume's name */
		r->body_left = e->size;
		return 0;
	}
	if (e->type == 'S')
		rc = start_old_sparse(r, &more);
	if (rc == 0 && !more)
		return tar_place_entry(r);
	r->state = READ_MAP;
	r->have = 0;
	return rc;
}

int tar_start_header(struct tar_reader *r)
{
	struct tar_header h;
	int rc;

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
		return rc;
	case 'g':
		r->body_left = r->entry.size; /* dropped */
		return 0;
	default:
		return start_entry(r);
	}
}
