/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tree that is written: which header comes next, and what a file's body will
 * be. A stack of open directories, one open file.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "agent/tar_writer.h"

/* The top was asked for: without it nothing is left. What lies below is not. */
static int pass_over(struct tar_writer *w, bool top, int sys)
{
	if (top)
		return tar_write_fail(w, sys, w->entry.name);
	tar_left_add(&w->left, w->entry.name, strerror(sys));
	return 0;
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
	e->mode = st->st_mode & (w->as_root ? 01777 : 07777);
	e->uid = w->as_root ? 0 : st->st_uid;
	e->gid = w->as_root ? 0 : st->st_gid;
	e->dev_major = type == '3' || type == '4' ? major(st->st_rdev) : 0;
	e->dev_minor = type == '3' || type == '4' ? minor(st->st_rdev) : 0;
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
static int add_directory(struct tar_writer *w, int fd, const struct stat *st,
			 bool top)
{
	struct level *l = &w->levels[w->depth];
	size_t len = strlen(w->entry.name);

	if (w->depth == TAR_DEPTH_MAX || len + 2 > TAR_NAME_MAX) {
		(void)close(fd);
		return pass_over(w, top, ENAMETOOLONG);
	}
	if (!top && is_kernel_view(fd)) {
		(void)close(fd);
		tar_left_add(&w->left, w->entry.name,
			     "what the kernel shows in it");
	} else if (!(l->dir = fdopendir(fd))) {
		(void)close(fd);
		return pass_over(w, top, errno);
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

/*
 * All of a file whose size the kernel does not say, as in /proc; sys: some of
 * them wait for what may never come, which O_NONBLOCK makes an error.
 */
static int read_whole(struct tar_writer *w, int fd)
{
	size_t room = 65536;
	ssize_t n = 1;

	w->text_len = 0;
	w->text = malloc(room);
	while (w->text && n > 0) {
		if (w->text_len == room) {
			char *grown = room < TAR_KERNEL_FILE_MAX
					      ? realloc(w->text, room * 2)
					      : NULL;

			if (!grown)
				return EFBIG;
			w->text = grown;
			room *= 2;
		}
		n = read(fd, w->text + w->text_len, room - w->text_len);
		if (n < 0 && errno == EINTR)
			n = 1;
		else if (n < 0)
			return errno;
		else
			w->text_len += (size_t)n;
	}
	return w->text ? 0 : ENOMEM;
}

/* What the body will be: its size, the map before it. 0 or an errno. */
static int plan_body(struct tar_writer *w, int fd, const struct stat *st)
{
	uint64_t size = (uint64_t)st->st_size;
	int sys;

	tar_sparse_reset(&w->sparse);
	w->segment = 0;
	w->at = 0;
	w->shrunk = false;
	w->entry.real_size = 0;
	if (is_kernel_view(fd)) {
		sys = read_whole(w, fd);
		w->said = UINT64_MAX;
		w->body_left = w->text_len;
		return sys;
	}
	w->said = w->body_left = size;
	if ((uint64_t)st->st_blocks * 512 >= size ||
	    !tar_sparse_scan(&w->sparse, fd, size)) {
		tar_sparse_reset(&w->sparse);
		return 0;
	}
	w->text = tar_sparse_text(&w->sparse, &w->text_len);
	if (!w->text)
		return ENOMEM;
	w->sparse.given = true;
	w->entry.real_size = size;
	w->body_left = w->text_len;
	for (size_t i = 0; i < w->sparse.count; i++)
		w->body_left += w->sparse.segments[i].len;
	return 0;
}

/* Takes fd. */
static int add_file(struct tar_writer *w, int fd, const struct stat *st,
		    bool top)
{
	const char *same = st->st_nlink > 1 ? linked_name(w, st) : NULL;
	int sys;

	w->entry.link[0] = 0;
	if (same) {
		(void)snprintf(w->entry.link, TAR_NAME_MAX, "%s", same);
		queue_header(w, st, '1', 0);
		(void)close(fd);
		return 0;
	}
	sys = plan_body(w, fd, st);
	if (sys) {
		tar_drop_text(w);
		w->body_left = 0;
		(void)close(fd);
		return pass_over(w, top, sys);
	}
	queue_header(w, st, '0', w->body_left);
	w->entry.real_size = 0;
	w->file = fd;
	w->pad_left =
		(size_t)((TAR_BLOCK - w->body_left % TAR_BLOCK) % TAR_BLOCK);
	return 0;
}

static int add_link(struct tar_writer *w, int dir, const char *name,
		    const struct stat *st)
{
	ssize_t n = readlinkat(dir, name, w->entry.link, TAR_NAME_MAX);

	if (n < 0 || n >= TAR_NAME_MAX)
		return pass_over(w, false, n < 0 ? errno : ENAMETOOLONG);
	w->entry.link[n] = 0;
	queue_header(w, st, '2', 0);
	return 0;
}

/* Neither file, directory nor link. */
static int add_special(struct tar_writer *w, const struct stat *st, bool top)
{
	if (top)
		return tar_write_fail(w, ENOTSUP, w->entry.name);
	w->entry.link[0] = 0;
	if (S_ISSOCK(st->st_mode))
		tar_left_add(&w->left, w->entry.name, "socket");
	else
		queue_header(w, st,
			     S_ISFIFO(st->st_mode)  ? '6'
			     : S_ISCHR(st->st_mode) ? '3'
						    : '4',
			     0);
	return 0;
}

/* Takes fd. */
int tar_walk_add_open(struct tar_writer *w, int fd, bool top)
{
	struct stat st;
	int sys;

	if (fstat(fd, &st) < 0) {
		sys = errno;
		(void)close(fd);
		return pass_over(w, top, sys);
	}
	if (S_ISDIR(st.st_mode))
		return add_directory(w, fd, &st, top);
	if (S_ISREG(st.st_mode))
		return add_file(w, fd, &st, top);
	(void)close(fd);
	return add_special(w, &st, top);
}

int tar_walk_add(struct tar_writer *w, int dir, const char *name, bool top)
{
	struct stat st;
	int fd;

	if (fstatat(dir, name, &st, top ? 0 : AT_SYMLINK_NOFOLLOW) < 0)
		/* Gone since the directory was read: as if never there. */
		return errno == ENOENT && !top ? 0 : pass_over(w, top, errno);
	if (S_ISLNK(st.st_mode))
		return add_link(w, dir, name, &st);
	if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
		return add_special(w, &st, top);
	fd = openat(dir, name,
		    O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY |
			    (top ? 0 : O_NOFOLLOW));
	return fd < 0 ? pass_over(w, top, errno)
		      : tar_walk_add_open(w, fd, top);
}

int tar_walk_next(struct tar_writer *w)
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
				tar_left_add(&w->left, w->entry.name,
					     strerror(errno));
			(void)closedir(l->dir);
			w->depth--;
			continue;
		}
		if (!strcmp(d->d_name, ".") || !strcmp(d->d_name, ".."))
			continue;
		len = strlen(d->d_name);
		if (l->name_len + len + 3 > TAR_NAME_MAX) {
			tar_left_add(&w->left, d->d_name,
				     strerror(ENAMETOOLONG));
			continue;
		}
		w->entry.name[l->name_len] = '/';
		memcpy(w->entry.name + l->name_len + 1, d->d_name, len + 1);
		rc = tar_walk_add(w, dirfd(l->dir), d->d_name, false);
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
