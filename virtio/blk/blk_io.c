/* SPDX-License-Identifier: Apache-2.0 */
/* See blk_io.h. */
#include "virtio/blk/blk_io.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "base/checked.h"

int blk_io_size(int fd, uint64_t *ret_bytes, struct err *e)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_sys(e, errno, "disk");
	if (S_ISREG(st.st_mode)) {
		*ret_bytes = (uint64_t)st.st_size;
		return 0;
	}
	if (!S_ISBLK(st.st_mode))
		return err_set(e, ERR_INVALID, "drive_bad_type", 0,
			       "a disk must be a regular file or a block "
			       "device");
	if (ioctl(fd, BLKGETSIZE64, ret_bytes) < 0)
		return err_sys(e, errno, "size of the block device");
	return 0;
}

/* Takes done bytes off the front of the list. */
static void advance(struct iovec **iov, size_t *count, size_t done)
{
	while (*count && done >= (*iov)->iov_len) {
		done -= (*iov)->iov_len;
		(*iov)++;
		(*count)--;
	}
	if (*count) {
		(*iov)->iov_base = (char *)(*iov)->iov_base + done;
		(*iov)->iov_len -= done;
	}
}

int blk_io_transfer(int fd, struct iovec *iov, size_t count, uint64_t offset,
		    bool write)
{
	while (count) {
		ssize_t n = write ? pwritev(fd, iov, (int)count, (off_t)offset)
				  : preadv(fd, iov, (int)count, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -EIO;
		offset += (uint64_t)n;
		advance(&iov, &count, (size_t)n);
	}
	return 0;
}

static int allocate(int fd, int mode, uint64_t offset, uint64_t len)
{
	int rc;

	do
		rc = fallocate(fd, mode, (off_t)offset, (off_t)len);
	while (rc < 0 && errno == EINTR);
	return rc < 0 ? -errno : 0;
}

int blk_io_discard(int fd, uint64_t offset, uint64_t len)
{
	return allocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset,
			len);
}

static int write_plain_zeroes(int fd, uint64_t offset, uint64_t len)
{
	static uint8_t zeroes[64 * 1024];

	while (len) {
		struct iovec part = { .iov_base = zeroes,
				      .iov_len = min_u64(len, sizeof(zeroes)) };
		size_t now = part.iov_len;
		int rc = blk_io_transfer(fd, &part, 1, offset, true);

		if (rc < 0)
			return rc;
		offset += now;
		len -= now;
	}
	return 0;
}

int blk_io_write_zeroes(int fd, uint64_t offset, uint64_t len, bool may_unmap)
{
	int rc = -EOPNOTSUPP;

	if (may_unmap)
		rc = blk_io_discard(fd, offset, len);
	if (rc == -EOPNOTSUPP)
		rc = allocate(fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE,
			      offset, len);
	/* tmpfs and old file systems know holes but no zero ranges. */
	return rc == -EOPNOTSUPP ? write_plain_zeroes(fd, offset, len) : rc;
}
