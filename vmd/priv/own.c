/* SPDX-License-Identifier: Apache-2.0 */
#include "vmd/priv/own.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"

enum {
	DEPTH_MAX =
		32 /* a state directory has 4; a staged root file system more */
};

static int open_dir(int parent, const char *name)
{
	return openat(parent, name,
		      O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/* What to do with one entry, and with the directory itself: "." */
typedef int own_fn(int dirfd, const char *name, const struct stat *st,
		   uid_t user, gid_t group);

static int walk(int fd, int depth, own_fn *fn, uid_t user, gid_t group)
{
	DIR *dir = fdopendir(fd);
	struct dirent *entry;
	int rc = 0;

	if (!dir) {
		rc = -errno;
		(void)close(fd);
		return rc;
	}
	while (rc == 0 && (entry = readdir(dir))) {
		struct stat st;
		int below;

		if (strcmp(entry->d_name, "..") == 0 ||
		    strcmp(entry->d_name, ".") == 0)
			continue;
		if (fstatat(dirfd(dir), entry->d_name, &st,
			    AT_SYMLINK_NOFOLLOW) < 0) {
			rc = errno == ENOENT ? 0 : -errno;
			continue;
		}
		if (S_ISDIR(st.st_mode) && depth < DEPTH_MAX) {
			below = open_dir(dirfd(dir), entry->d_name);
			rc = below < 0
				     ? -errno
				     : walk(below, depth + 1, fn, user, group);
		}
		if (rc == 0)
			rc = fn(dirfd(dir), entry->d_name, &st, user, group);
	}
	(void)closedir(dir);
	return rc;
}

static int hand_over(int dirfd, const char *name, const struct stat *st,
		     uid_t user, gid_t group)
{
	(void)st;
	return fchownat(dirfd, name, user, group, AT_SYMLINK_NOFOLLOW) < 0
		       ? -errno
		       : 0;
}

static int own_state(struct priv_dirs *d, const char *path, uid_t user,
		     gid_t group, struct err *e)
{
	struct stat st;
	int fd, rc;

	if (fstat(d->state_fd, &st) < 0)
		return err_sys(e, errno, "looking at %s", path);
	if (st.st_uid == user)
		return 0;
	if (st.st_uid != 0)
		return err_set(e, ERR_PERMISSION, "state_dir_owner", EPERM,
			       "the state directory %s belongs to user %u, not "
			       "to root or to vmd's user %u: chown it, or give "
			       "another --state-dir",
			       path, st.st_uid, user);
	log_info("%s is root's: handing it over to user %u", path, user);
	fd = open_dir(d->state_fd, ".");
	rc = fd < 0 ? -errno : walk(fd, 0, hand_over, user, group);
	/* Last: until then the next start begins again. */
	if (rc == 0 && fchown(d->state_fd, user, group) < 0)
		rc = -errno;
	return rc < 0 ? err_sys(e, -rc, "handing %s over to user %u", path,
				user)
		      : 0;
}

/* A directory of vmd's own in the run directory. */
static int own_below(int run_fd, const char *path, const char *name, uid_t user,
		     gid_t group, int *ret_fd, struct err *e)
{
	AUTO(fd) int fd = -1;
	struct stat st;
	int all, rc;

	if (mkdirat(run_fd, name, 0700) < 0 && errno != EEXIST)
		return err_sys(e, errno, "making %s/%s", path, name);
	fd = open_dir(run_fd, name);
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(e, errno, "opening %s/%s", path, name);
	if (st.st_uid != user) {
		/* VMs of root's daemon have what they need open. */
		all = st.st_uid == 0 ? open_dir(fd, ".") : -1;
		rc = st.st_uid != 0 ? -EPERM
		     : all < 0	    ? -errno
				    : walk(all, 0, hand_over, user, group);
		if (rc == 0 && fchown(fd, user, group) < 0)
			rc = -errno;
		if (rc < 0)
			return err_sys(e, -rc, "handing %s/%s over to user %u",
				       path, name, user);
	}
	*ret_fd = take_fd(&fd);
	return 0;
}

static int own_run(struct priv_dirs *d, const char *path, uid_t user,
		   gid_t group, struct err *e)
{
	AUTO(fd) int trash = -1;
	struct stat st;
	int rc;

	if (fstat(d->run_fd, &st) < 0)
		return err_sys(e, errno, "looking at %s", path);
	if (st.st_uid != 0)
		return err_set(e, ERR_PERMISSION, "run_dir_owner", EPERM,
			       "the run directory %s belongs to user %u: it "
			       "must be root's, or its owner could listen in "
			       "the place of vmd-priv: chown it, or give "
			       "another --run-dir",
			       path, st.st_uid);
	rc = own_below(d->run_fd, path, "vms", user, group, &d->run_vms_fd, e);
	return rc < 0 ? rc
		      : own_below(d->run_fd, path, "trash", user, group, &trash,
				  e);
}

/* Others pass through what is above it, and only that. */
static int make_state_dir(const char *path, struct err *e)
{
	AUTO(free) char *copy = strdup(path);
	int rc;

	if (!copy)
		return err_sys(e, ENOMEM, "making %s", path);
	rc = file_make_dirs(dirname(copy), 0755, e);
	if (rc == 0 && mkdir(path, 0700) < 0 && errno != EEXIST)
		rc = err_sys(e, errno, "making %s", path);
	return rc;
}

int priv_dirs_open(struct priv_dirs *d, const char *state_dir,
		   const char *run_dir, uid_t user, gid_t group, struct err *e)
{
	mode_t mask = umask(0022);
	int rc = make_state_dir(state_dir, e);

	*d = (struct priv_dirs){ -1, -1, -1 };
	if (rc == 0)
		rc = file_make_dirs(run_dir, 0755, e);
	(void)umask(mask);
	if (rc < 0)
		return rc;
	d->state_fd = open_dir(AT_FDCWD, state_dir);
	d->run_fd = open_dir(AT_FDCWD, run_dir);
	if (d->state_fd < 0 || d->run_fd < 0)
		return err_sys(e, errno, "opening %s",
			       d->state_fd < 0 ? state_dir : run_dir);
	rc = own_state(d, state_dir, user, group, e);
	return rc < 0 ? rc : own_run(d, run_dir, user, group, e);
}

void priv_dirs_close(struct priv_dirs *d)
{
	close_fd(&d->state_fd);
	close_fd(&d->run_fd);
	close_fd(&d->run_vms_fd);
}
