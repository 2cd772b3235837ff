/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing a tree as a tar stream, a buffer at a time: a stack of open
 * directories, one open file, and the headers that wait to be taken.
 *
 * A file that shrinks while it is read is filled up with zeros, since its size
 * has been said already; one that grows is cut. Sockets, pipes and devices are
 * left out. What cannot be read ends the archive with an error.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "agent/tar.h"

struct level {
	DIR *dir;
	size_t name_len; /* of the entry name of this directory */
};

struct hard_link {
	dev_t dev;
	ino_t ino;
	char *name;
};

struct tar_writer {
	struct level levels[TAR_DEPTH_MAX];
	size_t depth;
	struct tar_entry entry; /* name: the path in the archive */
	uint8_t head[TAR_HEADERS_MAX];
	size_t head_at, head_end;
	int file;
	uint64_t body_left;
	size_t pad_left;
	struct hard_link *links;
	size_t link_count;
	bool at_end; /* the end mark is in head */
	int failed; /* sticks: the walk cannot go on behind a hole */
	char error[TAR_ERROR_MAX];
};

static int fail(struct tar_writer *w, int sys, const char *name)
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

/* The earlier name of the same file, or NULL after noting this one. */
static const char *linked_name(struct tar_writer *w, const struct stat *st)
{
	struct hard_link *l;

	for (size_t i = 0; i < w->link_count; i++)
		if (w->links[i].ino == st->st_ino &&
		    w->links[i].dev == st->st_dev)
			return w->links[i].name;
	if (w->link_count == TAR_HARDLINKS_MAX)
		return NULL;
	if (!w->links)
		w->links = calloc(TAR_HARDLINKS_MAX, sizeof(*w->links));
	if (!w->links)
		return NULL;
	l = &w->links[w->link_count];
	l->dev = st->st_dev;
	l->ino = st->st_ino;
	l->name = strdup(w->entry.name);
	w->link_count += l->name != NULL;
	return NULL;
}

static void queue_header(struct tar_writer *w, const struct stat *st, char type,
			 uint64_t size)
{
	struct tar_entry *e = &w->entry;

	e->type = type;
	e->size = size;
	e->mode = st->st_mode & 07777;
	e->uid = st->st_uid;
	e->gid = st->st_gid;
	e->mtime_s = st->st_mtim.tv_sec;
	e->mtime_ns = st->st_mtim.tv_nsec;
	w->head_at = 0;
	w->head_end = tar_encode_entry(e, w->head);
}

/*
 * proc, sysfs and their like, met on the way: endless, and reading some of
 * their files waits or has effects. They are sent as empty directories.
 */
static bool is_kernel_view(int fd)
{
	static const uint32_t types[] = {
		0x00009fa0, /* proc */ 0x62656572, /* sysfs */
		0x63677270, /* cgroup2 */ 0x64626720, /* debugfs */
		0x74726163, /* tracefs */ 0x73636673, /* securityfs */
		0x62656570, /* configfs */ 0xcafe4a11, /* bpf */
	};
	struct statfs fs;

	if (fstatfs(fd, &fs) < 0)
		return false;
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if ((uint32_t)fs.f_type == types[i])
			return true;
	return false;
}

/* Takes fd. */
static int add_directory(struct tar_writer *w, int fd, const struct stat *st)
{
	struct level *l = &w->levels[w->depth];
	size_t len = strlen(w->entry.name);

	if (w->depth == TAR_DEPTH_MAX || len + 2 > TAR_NAME_MAX) {
		(void)close(fd);
		return fail(w, ENAMETOOLONG, w->entry.name);
	}
	if (w->depth > 0 && is_kernel_view(fd)) {
		(void)close(fd);
	} else if (!(l->dir = fdopendir(fd))) {
		(void)close(fd);
		return fail(w, errno, w->entry.name);
	} else {
		l->name_len = len;
		w->depth++;
	}
	/* The slash is for old readers; not part of the name below. */
	memcpy(w->entry.name + len, "/", 2);
	w->entry.link[0] = 0;
	queue_header(w, st, '5', 0);
	w->entry.name[len] = 0;
	return 0;
}

/* Takes fd. */
static int add_file(struct tar_writer *w, int fd, const struct stat *st)
{
	const char *same = st->st_nlink > 1 ? linked_name(w, st) : NULL;

	w->entry.link[0] = 0;
	if (same) {
		(void)snprintf(w->entry.link, TAR_NAME_MAX, "%s", same);
		queue_header(w, st, '1', 0);
		(void)close(fd);
		return 0;
	}
	queue_header(w, st, '0', (uint64_t)st->st_size);
	w->file = fd;
	w->body_left = (uint64_t)st->st_size;
	w->pad_left =
		(size_t)((TAR_BLOCK - w->body_left % TAR_BLOCK) % TAR_BLOCK);
	return 0;
}

static int add_link(struct tar_writer *w, int dir, const char *name,
		    const struct stat *st)
{
	ssize_t n = readlinkat(dir, name, w->entry.link, TAR_NAME_MAX);

	if (n < 0 || n >= TAR_NAME_MAX)
		return fail(w, n < 0 ? errno : ENAMETOOLONG, w->entry.name);
	w->entry.link[n] = 0;
	queue_header(w, st, '2', 0);
	return 0;
}

/* name below dir; w->entry.name is set. Nothing queued: it is left out. */
static int add(struct tar_writer *w, int dir, const char *name, int follow)
{
	struct stat st;
	int fd;

	if (fstatat(dir, name, &st, follow ? 0 : AT_SYMLINK_NOFOLLOW) < 0)
		/* Gone since the directory was read: as if never there. */
		return errno == ENOENT && !follow
			       ? 0
			       : fail(w, errno, w->entry.name);
	if (S_ISLNK(st.st_mode))
		return add_link(w, dir, name, &st);
	if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
		return 0;
	fd = openat(dir, name,
		    O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY |
			    (follow ? 0 : O_NOFOLLOW));
	if (fd < 0 || fstat(fd, &st) < 0) {
		int sys = errno;

		if (fd >= 0)
			(void)close(fd);
		return fail(w, sys, w->entry.name);
	}
	if (S_ISDIR(st.st_mode))
		return add_directory(w, fd, &st);
	if (S_ISREG(st.st_mode))
		return add_file(w, fd, &st);
	(void)close(fd);
	return 0;
}

struct tar_writer *tar_writer_new(const char *path)
{
	struct tar_writer *w = calloc(1, sizeof(*w));
	const char *end = path + strlen(path), *base;
	int rc;

	if (!w) {
		errno = ENOMEM;
		return NULL;
	}
	w->file = -1;
	while (end > path && end[-1] == '/')
		end--;
	for (base = end; base > path && base[-1] != '/'; base--)
		;
	(void)snprintf(w->entry.name, TAR_NAME_MAX, "%.*s",
		       (int)(end > base ? end - base : 1),
		       end > base ? base : ".");
	rc = add(w, AT_FDCWD, path, 1);
	if (rc == 0 && w->head_end == 0)
		rc = -ENOTSUP;
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
	free(w);
}

/* Queues the next header, or the end mark. */
static int advance(struct tar_writer *w)
{
	while (w->head_at == w->head_end && w->depth) {
		struct level *l = &w->levels[w->depth - 1];
		const struct dirent *d;
		size_t len;
		int rc;

		errno = 0;
		d = readdir(l->dir);
		w->entry.name[l->name_len] = 0;
		if (!d) {
			if (errno)
				return fail(w, errno, w->entry.name);
			(void)closedir(l->dir);
			w->depth--;
			continue;
		}
		if (!strcmp(d->d_name, ".") || !strcmp(d->d_name, ".."))
			continue;
		len = strlen(d->d_name);
		if (l->name_len + len + 3 > TAR_NAME_MAX)
			return fail(w, ENAMETOOLONG, d->d_name);
		w->entry.name[l->name_len] = '/';
		memcpy(w->entry.name + l->name_len + 1, d->d_name, len + 1);
		rc = add(w, dirfd(l->dir), d->d_name, 0);
		if (rc < 0)
			return rc;
	}
	if (w->head_at == w->head_end && !w->at_end) {
		memset(w->head, 0, (size_t)2 * TAR_BLOCK);
		w->head_at = 0;
		w->head_end = (size_t)2 * TAR_BLOCK;
		w->at_end = true;
	}
	return 0;
}

static ssize_t take_body(struct tar_writer *w, uint8_t *out, size_t room)
{
	ssize_t n;

	if (room > w->body_left)
		room = (size_t)w->body_left;
	do {
		n = read(w->file, out, room);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return fail(w, errno, w->entry.name);
	if (n == 0) {
		memset(out, 0, room);
		n = (ssize_t)room;
	}
	w->body_left -= (uint64_t)n;
	return n;
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
	if (w->file >= 0)
		(void)close(w->file);
	w->file = -1;
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

			if (w->file >= 0)
				(void)close(w->file);
			w->file = -1;
			rc = w->failed;
			if (rc == 0 && !w->at_end)
				rc = w->failed = advance(w);
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
