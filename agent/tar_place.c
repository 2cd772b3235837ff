/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Putting the entries of an archive into the file system. Every name is walked
 * component by component below the target with O_NOFOLLOW: neither ".." nor a
 * link, one from the archive itself included, leads out of the target.
 *
 * A file is written beside its name and gets it when it is whole: what was there
 * stays until then, also when the disk is full or the sender goes away. Links
 * likewise. A pipe, a device or a socket is never replaced.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
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

void tar_left_add(struct tar_left *left, const char *name, const char *why)
{
	size_t len = strlen(name);

	if (left->count++ == 0)
		(void)snprintf(left->first, sizeof(left->first), "%s%.60s: %s",
			       len > 60 ? "..." : "",
			       len > 60 ? name + len - 60 : name, why);
	if (left->tell)
		left->tell(left->ctx, name, why);
}

struct tar_policy tar_policy_guest(void)
{
	bool root = geteuid() == 0;

	return (struct tar_policy){ .owners = root,
				    .special = root,
				    .mode_mask = 07777 };
}

/* The next component of *at into out; 0 at the end, -errno when not allowed. */
int tar_next_component(const char **at, char out[static 256])
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
	rc = tar_next_component(&name, base);
	if (rc == 0)
		base[0] = 0; /* "." */
	while (rc > 0 && (rc = tar_next_component(&name, next)) > 0) {
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
	if (p->policy.owners && fchown(fd, (uid_t)e->uid, (gid_t)e->gid) < 0)
		return tar_place_fail(p, errno, e->name, "cannot chown");
	if (fchmod(fd, (mode_t)(e->mode & p->policy.mode_mask)) < 0)
		return tar_place_fail(p, errno, e->name, "cannot chmod");
	/* A time that the file system cannot hold is no reason to stop. */
	(void)futimens(fd, times);
	return 0;
}

/* Says why a thing of this mode may not be replaced; NULL: it may. */
static const char *kept(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFIFO:
		return "will not replace the named pipe";
	case S_IFCHR:
	case S_IFBLK:
		return "will not replace the device";
	case S_IFSOCK:
		return "will not replace the socket";
	default:
		return NULL;
	}
}

/* A name of its own in dir, for what is not whole yet. */
static int temp_name(char out[static 32])
{
	uint64_t r;

	if (getrandom(&r, sizeof(r), 0) != (ssize_t)sizeof(r))
		return errno;
	(void)snprintf(out, 32, ".vmd-cp-%016llx", (unsigned long long)r);
	return 0;
}

/* Whether base in parent may be replaced by something other than a directory. */
static int check_replaced(struct tar_place *p, const struct tar_entry *e,
			  int parent, const char *base)
{
	struct stat st;

	if (!base[0])
		return tar_place_fail(p, EISDIR, e->name, "cannot create");
	if (fstatat(parent, base, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0
				       : tar_place_fail(p, errno, e->name,
							"cannot create");
	if (S_ISDIR(st.st_mode))
		return tar_place_fail(p, EISDIR, e->name,
				      "cannot replace the directory");
	if (kept(st.st_mode))
		return tar_place_fail(p, EEXIST, e->name, kept(st.st_mode));
	return 0;
}

/* Gives what lies under temp its name. */
static int publish(int parent, const char *temp, const char *base)
{
	int sys = renameat(parent, temp, parent, base) < 0 ? errno : 0;

	/* Two names of one file: then rename() does nothing. */
	(void)unlinkat(parent, temp, 0);
	return sys;
}

int tar_place_file(struct tar_place *p, const struct tar_entry *e,
		   struct tar_file *ret)
{
	int parent, rc;

	*ret = (struct tar_file){ .fd = -1, .parent = -1 };
	parent = open_parent(p, e->name, true, ret->base);
	if (parent < 0)
		return tar_place_fail(p, -parent, e->name, "cannot create");
	rc = check_replaced(p, e, parent, ret->base);
	if (rc == 0 && temp_name(ret->temp) != 0)
		rc = tar_place_fail(p, errno, e->name, "cannot create");
	if (rc == 0) {
		ret->fd = openat(parent, ret->temp,
				 O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW |
					 O_CLOEXEC,
				 0600);
		if (ret->fd < 0)
			rc = tar_place_fail(p, errno, e->name, "cannot create");
	}
	if (rc < 0) {
		(void)close(parent);
		return rc;
	}
	ret->parent = parent;
	return 0;
}

static bool is_zero(const uint8_t *data, size_t len)
{
	return len == 0 ||
	       (data[0] == 0 && memcmp(data, data + 1, len - 1) == 0);
}

static int write_all(const struct tar_file *f, const uint8_t *data, size_t len,
		     uint64_t offset)
{
	while (len > 0) {
		ssize_t n = f->through
				    ? write(f->fd, data, len)
				    : pwrite(f->fd, data, len, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? errno : EIO;
		data += n;
		offset += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

/* What lies in a hole must be said to a pipe. */
static int write_zeros(struct tar_file *f, uint64_t to)
{
	static const uint8_t zeros[65536];
	int sys = 0;

	while (sys == 0 && f->at < to) {
		size_t n = to - f->at < sizeof(zeros) ? (size_t)(to - f->at)
						      : sizeof(zeros);

		sys = write_all(f, zeros, n, 0);
		f->at += n;
	}
	return sys;
}

int tar_place_write(struct tar_place *p, const struct tar_entry *e,
		    struct tar_file *f, uint64_t offset, const uint8_t *data,
		    size_t len)
{
	int sys = 0;

	if (f->through) {
		sys = write_zeros(f, offset);
		if (sys == 0 && data) {
			sys = write_all(f, data, len, 0);
			f->at += len;
		}
	} else if (data && (len < TAR_BLOCK || !is_zero(data, len))) {
		/* Zeros stay holes: ftruncate() at the end gives the length. */
		sys = write_all(f, data, len, offset);
	}
	if (f->size < offset + len)
		f->size = offset + len;
	return sys ? tar_place_fail(p, sys, e->name, "cannot write") : 0;
}

void tar_place_drop(struct tar_file *f)
{
	if (f->parent >= 0) {
		(void)unlinkat(f->parent, f->temp, 0);
		(void)close(f->parent);
	}
	if (f->fd >= 0)
		(void)close(f->fd);
	f->fd = f->parent = -1;
}

int tar_place_end(struct tar_place *p, const struct tar_entry *e,
		  struct tar_file *f)
{
	int fd, sys = 0, rc = 0;

	if (f->through)
		sys = write_zeros(f, f->size);
	else if (ftruncate(f->fd, (off_t)f->size) < 0)
		sys = errno;
	if (sys == 0 && !f->through)
		rc = tar_place_attributes(p, e, f->fd);
	fd = f->fd;
	f->fd = -1;
	if (close(fd) < 0 && sys == 0 && rc == 0)
		sys = errno;
	if (sys == 0 && rc == 0 && !f->through)
		sys = publish(f->parent, f->temp, f->base);
	tar_place_drop(f);
	return sys ? tar_place_fail(p, sys, e->name, "cannot write") : rc;
}

int tar_place_directory(struct tar_place *p, const struct tar_entry *e,
			bool *ret_set)
{
	char base[256];
	int parent = open_parent(p, e->name, true, base), fd = -1, sys = 0;
	bool made;

	*ret_set = false;
	if (parent < 0)
		return tar_place_fail(p, -parent, e->name, "cannot create");
	if (base[0]) {
		made = mkdirat(parent, base, 0755) == 0;
		if (!made && errno != EEXIST)
			sys = errno;
		fd = sys ? -1 : enter(parent, base, false);
		if (fd < 0 && !sys)
			sys = fd == -ELOOP ? ENOTDIR : -fd;
		/* What was there keeps its own, as with cp(1); but an archive's
		 * word is law, as with tar(1). */
		*ret_set = made || !p->path;
	}
	if (fd >= 0)
		(void)close(fd);
	(void)close(parent);
	return sys ? tar_place_fail(p, sys, e->name, "cannot make directory")
		   : 0;
}

/* The first name of the file is a name of the archive: below the target too. */
static int make_hard_link(struct tar_place *p, const struct tar_entry *e,
			  int parent, const char *temp)
{
	char from_base[256];
	int from = open_parent(p, e->link, false, from_base), sys = 0;

	if (from < 0)
		return -from;
	if (!from_base[0] || linkat(from, from_base, parent, temp, 0) < 0)
		sys = from_base[0] ? errno : EISDIR;
	(void)close(from);
	return sys;
}

static int make_other(struct tar_place *p, const struct tar_entry *e,
		      int parent, const char *temp)
{
	const struct timespec times[2] = {
		{ .tv_nsec = UTIME_OMIT },
		{ .tv_sec = e->mtime_s, .tv_nsec = e->mtime_ns },
	};
	mode_t mode = (mode_t)(e->mode & p->policy.mode_mask);
	dev_t dev =
		makedev((unsigned int)e->dev_major, (unsigned int)e->dev_minor);
	int rc;

	switch (e->type) {
	case '1':
		return make_hard_link(p, e, parent, temp);
	case '2':
		rc = symlinkat(e->link, parent, temp);
		break;
	case '6':
		rc = mkfifoat(parent, temp, 0600);
		break;
	default:
		rc = mknodat(parent, temp,
			     0600 | (e->type == '3' ? S_IFCHR : S_IFBLK), dev);
		break;
	}
	if (rc == 0 && p->policy.owners)
		rc = fchownat(parent, temp, (uid_t)e->uid, (gid_t)e->gid,
			      AT_SYMLINK_NOFOLLOW);
	if (rc == 0 && e->type != '2') /* ours: nobody has put a link there */
		rc = fchmodat(parent, temp, mode, 0);
	(void)utimensat(parent, temp, times, AT_SYMLINK_NOFOLLOW);
	return rc < 0 ? errno : 0;
}

int tar_place_other(struct tar_place *p, const struct tar_entry *e)
{
	char base[256], temp[32];
	int parent = open_parent(p, e->name, true, base), sys, rc;

	if (parent < 0)
		return tar_place_fail(p, -parent, e->name, "cannot create");
	rc = check_replaced(p, e, parent, base);
	sys = rc == 0 ? temp_name(temp) : 0;
	if (rc == 0 && sys == 0) {
		sys = make_other(p, e, parent, temp);
		if (sys)
			(void)unlinkat(parent, temp, 0);
		else
			sys = publish(parent, temp, base);
	}
	(void)close(parent);
	return sys ? tar_place_fail(p, sys, e->name, "cannot create") : rc;
}
