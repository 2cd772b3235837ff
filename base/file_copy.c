/* SPDX-License-Identifier: Apache-2.0 */
/* A second name for a file, or a copy where there can be none. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"

/* Another file system, too many names, or links that are forbidden here. */
static bool cannot_link(int sys)
{
	return sys == EXDEV || sys == EMLINK || sys == EPERM ||
	       sys == EOPNOTSUPP || sys == ENOSYS;
}

static int copy_to(int from_fd, int dirfd, const char *name, bool durable,
		   struct err *e)
{
	AUTO(fd) int fd = -1;
	struct stat st;
	int rc;

	if (fstat(from_fd, &st) < 0 || !S_ISREG(st.st_mode))
		return err_set(e, ERR_INVALID, "not_a_file", 0,
			       "what is to become %s is not a regular file",
			       name);
	fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC,
		    st.st_mode & 0777);
	if (fd < 0)
		return err_sys(e, errno, "create %s", name);
	rc = file_copy_sparse(from_fd, fd, e);
	if (rc == 0 && fchmod(fd, st.st_mode & 0777) < 0) /* umask */
		rc = err_sys(e, errno, "mode of %s", name);
	if (rc == 0 && durable && fsync(fd) < 0)
		rc = err_sys(e, errno, "write %s to the disk", name);
	if (rc < 0)
		(void)unlinkat(dirfd, name, 0);
	return rc;
}

int file_link_or_copy(const char *from, int dirfd, const char *name,
		      bool durable, struct err *e)
{
	AUTO(fd) int from_fd = -1;
	int rc;

	if (linkat(AT_FDCWD, from, dirfd, name, 0) == 0)
		return 0;
	if (!cannot_link(errno))
		return err_sys(e, errno, "link %s to %s", from, name);
	from_fd = open(from, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (from_fd < 0)
		return err_sys(e, errno, "open %s", from);
	rc = copy_to(from_fd, dirfd, name, durable, e);
	return rc < 0 ? err_wrap(e, rc, "copy %s", from) : 0;
}
