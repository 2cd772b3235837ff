/* SPDX-License-Identifier: Apache-2.0 */
/* See file.h. Removing trees is in file_tree.c. */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/cleanup.h"

int file_write_full(int fd, const void *data, size_t len)
{
	const char *p = data;

	while (len) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

int file_read_full(int fd, void *data, size_t len)
{
	char *p = data;

	while (len) {
		ssize_t n = read(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -EPIPE;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

int file_pread_full(int fd, void *data, size_t len, uint64_t offset)
{
	char *p = data;

	while (len) {
		ssize_t n = pread(fd, p, len, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -EPIPE;
		p += n;
		len -= (size_t)n;
		offset += (uint64_t)n;
	}
	return 0;
}

int file_pwrite_full(int fd, const void *data, size_t len, uint64_t offset)
{
	const char *p = data;

	while (len) {
		ssize_t n = pwrite(fd, p, len, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		p += n;
		len -= (size_t)n;
		offset += (uint64_t)n;
	}
	return 0;
}

static const struct {
	mode_t type;
	unsigned kind;
	const char *why;
} kinds_of_file[] = {
	{ S_IFREG, FILE_REGULAR, "it is a regular file" },
	{ S_IFBLK, FILE_BLOCK, "it is a block device" },
	{ S_IFCHR, FILE_CHAR, "it is a character device" },
	{ S_IFIFO, FILE_FIFO, "it is a FIFO" },
	{ S_IFDIR, 0, "it is a directory" },
	{ S_IFSOCK, FILE_SOCKET, "it is a socket" },
};

int file_check_kind(int fd, unsigned kinds, const char **ret_why)
{
	struct stat st;

	if (fstat(fd, &st) < 0) {
		int sys = errno;

		*ret_why = strerror(sys);
		return -sys;
	}
	*ret_why = "it is no file";
	for (size_t i = 0; i < ARRAY_LEN(kinds_of_file); i++) {
		if (kinds_of_file[i].type != (st.st_mode & S_IFMT))
			continue;
		if (kinds_of_file[i].kind & kinds)
			return 0;
		*ret_why = kinds_of_file[i].why;
	}
	return S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
}

int file_open(int dirfd, const char *path, int flags, mode_t mode,
	      unsigned kinds, const char **ret_why)
{
	AUTO(fd)
	int fd = openat(dirfd, path, flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY,
			mode);
	int rc = fd < 0 ? -errno : 0;

	if (rc == -ENXIO)
		*ret_why = "nobody is at its other end";
	else if (rc < 0)
		*ret_why = strerror(-rc);
	else
		rc = file_check_kind(fd, kinds, ret_why);
	if (rc < 0)
		return rc;
	/* The flag was for open(2); a disk is read by whoever waits for it. */
	if (file_check_kind(fd, FILE_REGULAR | FILE_BLOCK, ret_why) == 0 &&
	    !(flags & O_NONBLOCK))
		(void)fcntl(fd, F_SETFL, flags & ~O_NONBLOCK);
	return take_fd(&fd);
}

int file_read(int dirfd, const char *path, size_t max, char **ret_data,
	      size_t *ret_len, struct err *e)
{
	AUTO(fd)
	int fd = openat(dirfd, path,
			O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	AUTO(free) char *data = NULL;
	size_t len = 0;
	struct stat st;

	if (fd < 0)
		return err_sys(e, errno, "open %s", path);
	if (fstat(fd, &st) < 0)
		return err_sys(e, errno, "stat %s", path);
	if (!S_ISREG(st.st_mode))
		return err_set(e, ERR_INVALID, "not_a_file", 0,
			       "%s is not a regular file", path);
	if ((uint64_t)st.st_size > max)
		return err_set(e, ERR_LIMIT, "file_too_big", EFBIG,
			       "%s has %lld bytes, more than the %zu allowed",
			       path, (long long)st.st_size, max);
	data = malloc((size_t)st.st_size + 1);
	if (!data)
		return err_sys(e, ENOMEM, "read %s", path);
	while (len < (size_t)st.st_size) {
		ssize_t n = read(fd, data + len, (size_t)st.st_size - len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(e, errno, "read %s", path);
		if (n == 0)
			break; /* it became shorter */
		len += (size_t)n;
	}
	data[len] = '\0';
	*ret_data = take_ptr(data);
	*ret_len = len;
	return 0;
}

/* Opens a new file beside path for file_replace(); its name goes to tmp. */
static int open_beside(int dirfd, const char *path, mode_t mode, char *tmp,
		       size_t tmp_size)
{
	for (int attempt = 0; attempt < 8; attempt++) {
		uint64_t noise = 0;
		int fd;

		if (getrandom(&noise, sizeof(noise), 0) < 0)
			return -errno;
		if (snprintf(tmp, tmp_size, "%s.%016llx.tmp", path,
			     (unsigned long long)noise) >= (int)tmp_size)
			return -ENAMETOOLONG;
		fd = openat(dirfd, tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC,
			    mode);
		if (fd >= 0 || errno != EEXIST)
			return fd >= 0 ? fd : -errno;
	}
	return -EEXIST;
}

static int sync_parent(int dirfd, const char *path)
{
	const char *slash = strrchr(path, '/');
	AUTO(free)
	char *dir =
		slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
	AUTO(fd) int fd = -1;

	if (!dir)
		return -ENOMEM;
	fd = openat(dirfd, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fsync(fd) < 0)
		return -errno;
	return 0;
}

/* How much of a replaced file is on the disk when it is done. */
enum durable {
	DURABLE_NOT,
	DURABLE_CONTENT,
	DURABLE_ALL /* its name, too */
};

static int replace(int dirfd, const char *path, const void *data, size_t len,
		   mode_t mode, enum durable durable, struct err *e)
{
	char tmp[4096];
	AUTO(fd) int fd = open_beside(dirfd, path, mode, tmp, sizeof(tmp));
	int rc;

	if (fd < 0)
		return err_sys(e, -fd, "create a file beside %s", path);
	rc = file_write_full(fd, data, len);
	if (!rc && durable != DURABLE_NOT && fsync(fd) < 0)
		rc = -errno;
	if (!rc && renameat(dirfd, tmp, dirfd, path) < 0)
		rc = -errno;
	if (rc < 0) {
		(void)unlinkat(dirfd, tmp, 0);
		return err_sys(e, -rc, "write %s", path);
	}
	rc = durable == DURABLE_ALL ? sync_parent(dirfd, path) : 0;
	return rc < 0 ? err_sys(e, -rc, "sync the directory of %s", path) : 0;
}

int file_replace(int dirfd, const char *path, const void *data, size_t len,
		 mode_t mode, struct err *e)
{
	return replace(dirfd, path, data, len, mode, DURABLE_ALL, e);
}

int file_replace_content(int dirfd, const char *path, const void *data,
			 size_t len, mode_t mode, struct err *e)
{
	return replace(dirfd, path, data, len, mode, DURABLE_CONTENT, e);
}

int file_replace_volatile(int dirfd, const char *path, const void *data,
			  size_t len, mode_t mode, struct err *e)
{
	return replace(dirfd, path, data, len, mode, DURABLE_NOT, e);
}

int file_make_dirs(const char *path, mode_t mode, struct err *e)
{
	AUTO(free) char *copy = strdup(path);
	struct stat st;

	if (!copy)
		return err_sys(e, ENOMEM, "create %s", path);
	for (char *p = copy + 1;; p++) {
		char was = *p;

		if (was != '/' && was != '\0')
			continue;
		*p = '\0';
		if (mkdir(copy, mode) < 0 && errno != EEXIST)
			return err_sys(e, errno, "create directory %s", copy);
		*p = was;
		if (!was)
			break;
	}
	if (stat(path, &st) < 0)
		return err_sys(e, errno, "stat %s", path);
	if (!S_ISDIR(st.st_mode))
		return err_sys(e, ENOTDIR, "%s", path);
	return 0;
}

int file_clone(int src_fd, int dst_fd)
{
	return ioctl(dst_fd, FICLONE, src_fd) < 0 ? -errno : 0;
}

/* Copies [offset, end) with copy_file_range, or by hand where it cannot. */
static int copy_range(int src_fd, int dst_fd, off_t offset, off_t end)
{
	off_t in = offset, out = offset;
	char bounce[65536];

	while (in < end) {
		ssize_t n = copy_file_range(src_fd, &in, dst_fd, &out,
					    (size_t)(end - in), 0);
		int rc;

		if (n > 0)
			continue;
		if (n == 0)
			return 0; /* the source became shorter */
		if (errno != EXDEV && errno != EINVAL && errno != EOPNOTSUPP &&
		    errno != ENOSYS)
			return -errno;
		size_t len = end - in < (off_t)sizeof(bounce)
				     ? (size_t)(end - in)
				     : sizeof(bounce);

		rc = file_pread_full(src_fd, bounce, len, (uint64_t)in);
		if (!rc)
			rc = file_pwrite_full(dst_fd, bounce, len,
					      (uint64_t)out);
		if (rc < 0)
			return rc;
		in += (off_t)len;
		out += (off_t)len;
	}
	return 0;
}

int file_copy_sparse(int src_fd, int dst_fd, struct err *e)
{
	off_t at = 0;
	struct stat st;
	int rc;

	if (file_clone(src_fd, dst_fd) == 0)
		return 0;
	if (fstat(src_fd, &st) < 0)
		return err_sys(e, errno, "copy: stat the source");
	if (ftruncate(dst_fd, st.st_size) < 0)
		return err_sys(e, errno, "copy: size of the target");
	while (at < st.st_size) {
		off_t data = lseek(src_fd, at, SEEK_DATA), hole;

		if (data < 0 && errno == ENXIO)
			return 0; /* a hole up to the end */
		if (data < 0)
			return err_sys(e, errno, "copy: find data");
		hole = lseek(src_fd, data, SEEK_HOLE);
		if (hole < 0)
			hole = st.st_size;
		rc = copy_range(src_fd, dst_fd, data, hole);
		if (rc < 0)
			return err_sys(e, -rc, "copy");
		at = hole;
	}
	return 0;
}

int file_free_bytes(int fd, uint64_t *ret_bytes, struct err *e)
{
	struct statvfs vfs;

	if (fstatvfs(fd, &vfs) < 0)
		return err_sys(e, errno, "free space");
	if (__builtin_mul_overflow((uint64_t)vfs.f_bavail,
				   (uint64_t)vfs.f_frsize, ret_bytes))
		*ret_bytes = UINT64_MAX;
	return 0;
}

int file_set_nonblock(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return -errno;
	return 0;
}

int file_set_cloexec(int fd, bool on)
{
	return fcntl(fd, F_SETFD, on ? FD_CLOEXEC : 0) < 0 ? -errno : 0;
}

int file_open_standard(void)
{
	for (int fd = 0; fd <= STDERR_FILENO; fd++) {
		if (fcntl(fd, F_GETFD) >= 0 || errno != EBADF)
			continue;
		/* The lowest free number: the one that was just tried. It stays
		 * open, for the programs that we start too. */
		/* NOLINTNEXTLINE(android-cloexec-open) */
		if (open("/dev/null", O_RDONLY) < 0)
			return -errno;
	}
	return 0;
}
