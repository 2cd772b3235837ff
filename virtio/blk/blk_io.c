/* SPDX-License-Identifier: Apache-2.0 */
/* See blk_io.h. */
#include "virtio/blk/blk_io.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

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

static ssize_t run_once(int fd, const struct blk_op *op)
{
	switch (op->kind) {
	case BLK_OP_READ:
		return preadv(fd, op->iov, (int)op->count, (off_t)op->offset);
	case BLK_OP_WRITE:
		return pwritev(fd, op->iov, (int)op->count, (off_t)op->offset);
	case BLK_OP_ALLOCATE:
		return fallocate(fd, op->mode, (off_t)op->offset,
				 (off_t)op->len);
	case BLK_OP_SYNC:
		return fdatasync(fd);
	}
	errno = EINVAL;
	return -1;
}

int64_t blk_io_run(int fd, const struct blk_op *op)
{
	ssize_t n;

	do
		n = run_once(fd, op);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}
