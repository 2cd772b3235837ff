/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Putting the entries of an archive into the file system. Every name is walked
 * component by component below the target with O_NOFOLLOW: neither ".." nor a
 * link, one from the archive itself included, leads out of the target.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/tar.h"

int tar_place_fail(struct tar_place *p, int sys, const char *name,
		   const char *what)
{
	size_t len = strlen(name);

	/* The end of a long name says more than its start. */
	(void)snprintf(p->error, sizeof(p->error), "%s %s%.90s: %s", what,
		       len > 90 ? "..." : "", len > 90 ? name + len - 90 : name,
		       strerror(sys));
	return -sys;
}

/* The next component of *at into out; 0 at the end, -errno when not allowed. */
static int next_component(const char **at, char out[static 256])
{
	for (;;) {
		size_t len;

		while (**at == '/')
			(*at)++;
		len = strcspn(*at, "/");
		if (len == 0)
			return 0;
		if (len > 255)
			return -ENAMETOOLONG;
		memcpy(out, *at, len);
		out[len] = 0;
		*at += len;
		if (strcmp(out, "..") == 0)
			return -EPERM;
		if (strcmp(out, ".") != 0)
			return 1;
	}
}

static int enter(int dir, const char *name, bool create)
{
	const int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
	int fd = openat(dir, name, flags);

	if (fd < 0 && errno == ENOENT && create) {
		if (mkdirat(dir, name, 0755) < 0 && errno != EEXIST)
			return -errno;
		fd = openat(dir, name, flags);
	}
	return fd < 0 ? -errno : fd;
}

/*
 * Opens the directory that holds the last component of name, which goes to
 * base ("" when name is the target itself). An fd or -errno.
 */
static int open_parent(struct tar_place *p, const char *name, bool create,
		       char base[static 256])
{
	char next[256];
	int dir = fcntl(p->root, F_DUPFD_CLOEXEC, 3), rc;

	base[0] = 0;
	if (dir < 0)
		return -errno;
	rc = next_component(&name, base);
	while (rc > 0 && (rc = next_component(&name, next)) > 0) {
		int deeper = enter(dir, base, create);

		(void)close(dir);
		if (deeper < 0)
			return deeper;
		dir = deeper;
		memcpy(base, next, sizeof(next));
	}
	if (rc < 0) {
		(void)close(dir);
		return rc;
	}
	return dir;
}

int tar_place_open_directory(struct tar_place *p, const char *name)
{
	char base[256];
	int parent = open_parent(p, name, false, base), fd;

	if (parent < 0)
		return parent;
	if (!base[0])
		return parent;
	fd = enter(parent, base, false);
	(void)close(parent);
	return fd;
}

int tar_place_attributes(struct tar_place *p, const struct tar_entry *e, int fd)
{
	const struct timespec times[2] = {
		{ .tv_nsec = UTIME_OMIT },
		{ .tv_sec = e->mtime_s, .tv_nsec = e->mtime_ns },
	};

	/* chown first: it clears the set-user-id bits. */
	if (p->as_root && fchown(fd, (uid_t)e->uid, (gid_t)e->gid) < 0)
		return tar_place_fail(p, errno, e->name, "cannot chown");
	if (fchmod(fd, (mode_t)(e->mode & 07777)) < 0)
		return tar_place_fail(p, errno, e->name, "cannot chmod");
	/* A time that the file system cannot hold is no reason to stop. */
	(void)futimens(fd, times);
	return 0;
}

int tar_place_file(struct tar_place *p, const struct tar_entry *e)
{
	char base[256];
	int parent = open_parent(p, e->name, true, base), fd = -1, sys;

	if (parent < 0)
		return tar_place_fail(p, -parent, e->name, "cannot create");
	sys = base[0] ? 0 : EISDIR;
	/* A new file, so that an old one stays whole for who has it open. */
	if (!sys && unlinkat(parent, base, 0) < 0 && errno != ENOENT)
		sys = errno;
	if (!sys) {
		fd = openat(parent, base,
			    O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW |
				    O_CLOEXEC,
			    0600);
		sys = fd < 0 ? errno : 0;
	}
	(void)close(parent);
	return sys ? tar_place_fail(p, sys, e->name, "cannot create") : fd;
}

static int place_directory(int parent, const char *base)
{
	int fd;

	if (!base[0])
		return 0;
	fd = enter(parent, base, true);
	if (fd < 0)
		return -fd;
	(void)close(fd);
	return 0;
}

static int place_link(struct tar_place *p, const struct tar_entry *e,
		      int parent, const char *base)
{
	const struct timespec times[2] = {
		{ .tv_nsec = UTIME_OMIT },
		{ .tv_sec = e->mtime_s, .tv_nsec = e->mtime_ns },
	};

	if (symlinkat(e->link, parent, base) < 0)
		return errno;
	if (p->as_root && fchownat(parent, base, (uid_t)e->uid, (gid_t)e->gid,
				   AT_SYMLINK_NOFOLLOW) < 0)
		return errno;
	(void)utimensat(parent, base, times, AT_SYMLINK_NOFOLLOW);
	return 0;
}

/* The first name of the file is a name of the archive: below the target too. */
static int place_hard_link(struct tar_place *p, const struct tar_entry *e,
			   int parent, const char *base)
{
	char from_base[256];
	int from = open_parent(p, e->link, false, from_base), sys = 0;

	if (from < 0)
		return -from;
	if (!from_base[0] || linkat(from, from_base, parent, base, 0) < 0)
		sys = from_base[0] ? errno : EISDIR;
	(void)close(from);
	return sys;
}

int tar_place_other(struct tar_place *p, const struct tar_entry *e)
{
	char base[256];
	int parent = open_parent(p, e->name, true, base), sys = 0;

	if (parent < 0)
		return tar_place_fail(p, -parent, e->name, "cannot create");
	if (e->type == '5') {
		sys = place_directory(parent, base);
	} else if (!base[0]) {
		sys = EISDIR;
	} else if (unlinkat(parent, base, 0) < 0 && errno != ENOENT) {
		sys = errno;
	} else if (e->type == '2') {
		sys = place_link(p, e, parent, base);
	} else {
		sys = place_hard_link(p, e, parent, base);
	}
	(void)close(parent);
	return sys ? tar_place_fail(p, sys, e->name, "cannot create") : 0;
}
