/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing a tree as a tar stream, a buffer at a time: headers that wait to be
 * taken, then the body of one open file. tar_walk.c brings the next.
 *
 * A file that shrinks while it is read is filled up with zeros, since its size
 * has been said already; one that grows is cut. Both are told, as are sockets, for
 * which tar has no entry, and what cannot be opened: the rest goes on. What cannot
 * be read any further ends the archive with an error.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/tar_writer.h"

int tar_write_fail(struct tar_writer *w, int sys, const char *name)
{
	size_t len = strlen(name);

	(void)snprintf(w->error, sizeof(w->error), "cannot read %s%.90s: %s",
		       len > 90 ? "..." : "", len > 90 ? name + len - 90 : name,
		       strerror(sys));
	return -sys;
}

const char *tar_writer_error(const struct tar_writer *w)
{
	return w->error;
}

struct tar_left *tar_writer_left(struct tar_writer *w)
{
	return &w->left;
}

uint64_t tar_writer_bytes(const struct tar_writer *w)
{
	return w->bytes;
}

void tar_drop_text(struct tar_writer *w)
{
	free(w->text);
	w->text = NULL;
	w->text_at = w->text_len = 0;
}

/* "." for what has no name of its own. */
static void set_top(struct tar_writer *w, const char *path)
{
	const char *end = path + strlen(path), *base;

	while (end > path && end[-1] == '/')
		end--;
	for (base = end; base > path && base[-1] != '/'; base--)
		;
	(void)snprintf(w->entry.name, TAR_NAME_MAX, "%.*s", (int)(end - base),
		       base);
	if (!w->entry.name[0] || strcmp(w->entry.name, "..") == 0)
		(void)strcpy(w->entry.name, ".");
}

struct tar_writer *tar_writer_new(const char *path, int fd, bool as_root)
{
	struct tar_writer *w = calloc(1, sizeof(*w));
	int rc;

	if (!w) {
		if (fd >= 0)
			(void)close(fd);
		errno = ENOMEM;
		return NULL;
	}
	w->file = -1;
	w->as_root = as_root;
	set_top(w, path);
	rc = fd >= 0 ? tar_walk_add_open(w, fd, true)
		     : tar_walk_add(w, AT_FDCWD, path, true);
	if (rc < 0) {
		tar_writer_free(w);
		errno = -rc;
		return NULL;
	}
	return w;
}

void tar_writer_free(struct tar_writer *w)
{
	if (!w)
		return;
	while (w->depth)
		(void)closedir(w->levels[--w->depth].dir);
	for (size_t i = 0; i < w->link_count; i++)
		free(w->links[i].name);
	free(w->links);
	if (w->file >= 0)
		(void)close(w->file);
	tar_sparse_done(&w->sparse);
	free(w->text);
	free(w);
}

static ssize_t take_text(struct tar_writer *w, uint8_t *out, size_t room)
{
	size_t n = w->text_len - w->text_at;

	n = n < room ? n : room;
	memcpy(out, w->text + w->text_at, n);
	w->text_at += n;
	if (w->text_at == w->text_len)
		tar_drop_text(w);
	return (ssize_t)n;
}

/* Where the next bytes of the file lie, and how many at most follow there. */
static uint64_t next_offset(struct tar_writer *w, size_t *room)
{
	const struct tar_segment *s;

	if (!w->sparse.given)
		return w->at;
	while (w->at == w->sparse.segments[w->segment].len) {
		w->segment++; /* body_left says that there is one */
		w->at = 0;
	}
	s = &w->sparse.segments[w->segment];
	if (*room > s->len - w->at)
		*room = (size_t)(s->len - w->at);
	return s->offset + w->at;
}

static ssize_t take_body(struct tar_writer *w, uint8_t *out, size_t room)
{
	uint64_t offset;
	ssize_t n;

	if (room > w->body_left)
		room = (size_t)w->body_left;
	if (w->text) {
		n = take_text(w, out, room);
	} else {
		offset = next_offset(w, &room);
		do {
			n = pread(w->file, out, room, (off_t)offset);
		} while (n < 0 && errno == EINTR);
		if (n < 0)
			return tar_write_fail(w, errno, w->entry.name);
		if (n == 0) {
			if (!w->shrunk)
				tar_left_add(&w->left, w->entry.name,
					     "its end: it became shorter while "
					     "it was read");
			w->shrunk = true;
			memset(out, 0, room);
			n = (ssize_t)room;
		}
		w->at += (uint64_t)n;
		w->bytes += (uint64_t)n;
	}
	w->body_left -= (uint64_t)n;
	return n;
}

/* One that grew while it was read was cut. */
static void end_file(struct tar_writer *w)
{
	struct stat st;

	if (w->file < 0)
		return;
	if (fstat(w->file, &st) == 0 && (uint64_t)st.st_size > w->said)
		tar_left_add(&w->left, w->entry.name,
			     "its end: it grew while it was read");
	(void)close(w->file);
	w->file = -1;
}

static ssize_t produce(struct tar_writer *w, uint8_t *out, size_t room)
{
	size_t n = w->head_end - w->head_at;

	if (n) {
		n = n < room ? n : room;
		memcpy(out, w->head + w->head_at, n);
		w->head_at += n;
		return (ssize_t)n;
	}
	if (w->body_left)
		return take_body(w, out, room);
	end_file(w);
	n = w->pad_left < room ? w->pad_left : room;
	memset(out, 0, n);
	w->pad_left -= n;
	return (ssize_t)n;
}

ssize_t tar_writer_read(struct tar_writer *w, void *out, size_t room)
{
	uint8_t *at = out;
	size_t done = 0;

	while (done < room) {
		ssize_t n;

		if (w->head_at == w->head_end && !w->body_left &&
		    !w->pad_left) {
			int rc;

			end_file(w);
			rc = w->failed;
			if (rc == 0 && !w->at_end)
				rc = w->failed = tar_walk_next(w);
			if (rc < 0)
				return done ? (ssize_t)done : rc;
			if (w->head_at == w->head_end)
				break;
		}
		n = produce(w, at + done, room - done);
		if (n < 0)
			return n;
		done += (size_t)n;
	}
	return (ssize_t)done;
}
