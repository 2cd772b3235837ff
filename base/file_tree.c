/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Removing a directory tree: descends by descriptors with O_NOFOLLOW, so a link
 * planted in the tree is removed and never followed.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

enum {
	TREE_DEPTH_MAX = 256
};

static int remove_at(int dirfd, const char *name, int depth);

static int remove_content(int fd, int depth)
{
	DIR *dir = fdopendir(fd); /* owns fd from here */
	struct dirent *entry;
	int rc = 0;

	if (!dir) {
		rc = -errno;
		(void)close(fd);
		return rc;
	}
	for (;;) {
		errno = 0;
		entry = readdir(dir);
		if (!entry) {
			if (errno)
				rc = -errno;
			break;
		}
		if (strcmp(entry->d_name, ".") == 0 ||
		    strcmp(entry->d_name, "..") == 0)
			continue;
		rc = remove_at(fd, entry->d_name, depth + 1);
		if (rc < 0)
			break;
	}
	(void)closedir(dir);
	return rc;
}

static int remove_at(int dirfd, const char *name, int depth)
{
	int fd, rc;

	if (unlinkat(dirfd, name, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return -errno;
	if (depth > TREE_DEPTH_MAX)
		return -ELOOP;
	fd = openat(dirfd, name,
		    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	rc = remove_content(fd, depth);
	if (rc < 0)
		return rc;
	if (unlinkat(dirfd, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
		return -errno;
	return 0;
}

int file_remove_tree(int dirfd, const char *name, struct err *e)
{
	int rc = remove_at(dirfd, name, 0);

	return rc < 0 ? err_sys(e, -rc, "remove %s", name) : 0;
}
