/* SPDX-License-Identifier: Apache-2.0 */
/* See discard.h. */
#include "images/discard.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"

static int open_synced(const char *dir, const char *part, int *ret_fd,
		       struct err *e)
{
	AUTO(free) char *path = NULL;
	AUTO(fd) int fd = -1;

	if (asprintf(&path, "%s/%s", dir, part) < 0) {
		path = NULL;
		return err_sys(e, ENOMEM, "empty the trash of %s", dir);
	}
	fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, errno, "open %s", path);
	if (fsync(fd) < 0)
		return err_sys(e, errno, "write %s to the disk", path);
	*ret_fd = take_fd(&fd);
	return 0;
}

/* Takes fd over. Calls fn for each entry; the others also when one fails. */
static int each_entry(int fd,
		      int (*fn)(int dirfd, const char *name, struct err *e),
		      struct err *e)
{
	DIR *dir = fdopendir(fd);
	struct dirent *entry;
	int rc = 0, count = 0;

	if (!dir) {
		rc = err_sys(e, errno, "read the trash");
		(void)close(fd);
		return rc;
	}
	while ((entry = readdir(dir))) {
		int one;

		if (strcmp(entry->d_name, ".") == 0 ||
		    strcmp(entry->d_name, "..") == 0)
			continue;
		one = fn(dirfd(dir), entry->d_name, e);
		if (one < 0)
			rc = one;
		count++;
	}
	(void)closedir(dir);
	return rc < 0 ? rc : count;
}

static int discard_one(int trash_fd, const char *name, struct err *e)
{
	int fd;

	if (strchr(name, '.'))
		return file_remove_tree(trash_fd, name, e);
	fd = openat(trash_fd, name,
		    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 && errno == ENOTDIR)
		return file_remove_tree(trash_fd, name, e);
	if (fd < 0)
		return errno == ENOENT ? 0 : err_sys(e, errno, "open %s", name);
	return each_entry(fd, file_remove_tree, e);
}

int discard_trash(const char *dir, struct err *e)
{
	int trash_fd = -1, rc;

	/*
	 * The new names first: one that is lost after its content is lost for
	 * good. The old ones need no sync: a name in the trash alone says that
	 * its VM goes, and an old name that went before the new one came would
	 * be a VM without files.
	 */
	rc = open_synced(dir, "trash", &trash_fd, e);
	if (rc == 0)
		rc = each_entry(trash_fd, discard_one, e);
	return rc < 0 ? err_wrap(e, rc, "empty the trash of %s", dir) : rc;
}
