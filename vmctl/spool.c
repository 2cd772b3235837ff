/* SPDX-License-Identifier: Apache-2.0 */
#include "vmctl/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"

static int temporary(struct err *e)
{
	const char *dir = getenv("TMPDIR");
	int fd;

	if (!dir || !*dir)
		dir = "/tmp";
	fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0) {
		(void)err_sys(e, errno, "temporary file in %s", dir);
		return -1;
	}
	return fd;
}

/* All of `from`, whose length nobody knows, into the file. */
static int fill(int from, int to, const char *path, struct err *e)
{
	char chunk[65536];

	for (;;) {
		ssize_t n = read(from, chunk, sizeof(chunk));
		int rc;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(e, errno, "cannot read %s", path);
		if (n == 0)
			return 0;
		rc = file_write_full(to, chunk, (size_t)n);
		if (rc < 0)
			return err_sys(e, -rc, "temporary file for %s", path);
	}
}

int spool_open(const char *path, struct err *e)
{
	AUTO(fd) int from = -1;
	AUTO(fd) int to = -1;
	struct stat st;

	if (stat(path, &st) < 0) {
		(void)err_sys(e, errno, "cannot read %s", path);
		return -1;
	}
	if (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode))
		return SPOOL_NOT_NEEDED;
	from = open(path, O_RDONLY | O_NOCTTY | O_CLOEXEC);
	if (from < 0) {
		(void)err_sys(e, errno, "cannot read %s", path);
		return -1;
	}
	to = temporary(e);
	if (to < 0 || fill(from, to, path, e) < 0 ||
	    fchmod(to, st.st_mode & 0666) < 0)
		return -1;
	return take_fd(&to);
}
