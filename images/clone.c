/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See clone.h. The superblock is read from a blob of ours, yet its numbers are
 * checked before use. ext4: https://docs.kernel.org/filesystems/ext4/
 * "The Super Block".
 */
#include "images/clone.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/jail.h"
#include "base/log.h"
#include "base/parse.h"
#include "base/process.h"

enum {
	EXT4_SUPER_OFFSET = 1024,
	EXT4_SUPER_SIZE = 1024,
	EXT4_MAGIC = 0xef53,
	EXT4_INCOMPAT_64BIT = 0x80,
	EXT4_LOG_BLOCK_MAX = 6, /* 64 KiB blocks */
	RESIZE_MS = 120000
};

struct target {
	int fd;
	int dirfd;
	const char *name;
	bool named; /* has its name: from the start where there is no O_TMPFILE */
};

static uint32_t le32_at(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return le32toh(v);
}

/* Size of the ext2/3/4 file system on fd in bytes, 0 when it is none. */
static uint64_t ext4_bytes(int fd)
{
	uint8_t super[EXT4_SUPER_SIZE];
	uint64_t blocks, bytes;
	uint32_t log_block;

	if (file_pread_full(fd, super, sizeof(super), EXT4_SUPER_OFFSET) < 0)
		return 0;
	if ((super[0x38] | super[0x39] << 8) != EXT4_MAGIC)
		return 0;
	log_block = le32_at(super + 0x18);
	blocks = le32_at(super + 0x4);
	if (le32_at(super + 0x60) & EXT4_INCOMPAT_64BIT)
		blocks |= (uint64_t)le32_at(super + 0x150) << 32;
	if (log_block > EXT4_LOG_BLOCK_MAX ||
	    !checked_mul(blocks, UINT64_C(1024) << log_block, &bytes) ||
	    bytes > INT64_MAX)
		return 0;
	return bytes;
}

static int choose_size(uint64_t asked, uint64_t blob, uint64_t fs,
		       uint64_t *ret_size, struct err *e)
{
	uint64_t natural = fs > blob ? fs : blob;
	char have[24], want[24];

	if (asked == 0 || asked == blob) {
		*ret_size = natural;
		return 0;
	}
	if (asked < natural)
		return err_set(e, ERR_INVALID, "disk_too_small", 0,
			       "a disk of %s was asked for, and the image "
			       "needs at least %s",
			       format_size(asked, want),
			       format_size(natural, have));
	if (asked > INT64_MAX || asked % 512)
		return err_set(e, ERR_INVALID, "disk_size_invalid", 0,
			       "a disk's size is a multiple of 512 bytes");
	*ret_size = asked;
	return 0;
}

static int target_open(const char *to, char *copies[2], struct target *t,
		       struct err *e)
{
	const char *dir;

	copies[0] = strdup(to);
	copies[1] = strdup(to);
	if (!copies[0] || !copies[1])
		return err_sys(e, ENOMEM, "clone to %s", to);
	dir = dirname(copies[0]);
	t->name = basename(copies[1]);
	t->dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (t->dirfd < 0)
		return err_sys(e, errno, "clone to %s: open %s", to, dir);
	if (faccessat(t->dirfd, t->name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return err_set(e, ERR_CONFLICT, "disk_exists", EEXIST,
			       "%s exists already", to);
	t->fd = openat(t->dirfd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (t->fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR)) {
		t->fd = openat(t->dirfd, t->name,
			       O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
		t->named = t->fd >= 0;
	}
	return t->fd < 0 ? err_sys(e, errno, "create %s", to) : 0;
}

/*
 * resize2fs believes a file system that a template's maker, and later perhaps
 * another host, has written: it gets the disk, libraries, and nothing else.
 */
static const struct jail_spec grow_jail = {
	.name = "resize2fs",
	.keep_user = true, /* the disk is ours */
	.libraries = true,
	.proc = true, /* the disk has no name yet */
	.devices = JAIL_DEV_NULL,
	.limits = { .files = 64, .processes = 16, .locked_bytes = 65536 },
};

/* On a host that allows no namespaces as before, which is said. */
static int spawn_grow(struct process_spec *spec, struct process *child,
		      struct err *e)
{
	int rc;

	spec->jail = &grow_jail;
	rc = process_spawn(spec, child, e);
	if (rc == 0 || strcmp(e->code, "jail_failed") != 0)
		return rc;
	log_warn("resize2fs runs without a jail: %s", e->msg);
	err_clear(e);
	spec->jail = NULL;
	return process_spawn(spec, child, e);
}

static int grow(int fd, struct err *e)
{
	const char *const argv[] = { "resize2fs", "-f", "/proc/self/fd/3",
				     NULL };
	const struct process_fd fds[] = { { .from = fd, .to = 3 } };
	struct process_spec spec = {
		.argv = argv, .fds = fds, .fd_count = 1, .die_with_parent = true
	};
	struct process child = PROCESS_INIT;
	struct process_exit end = { .known = false };
	int rc = spawn_grow(&spec, &child, e);

	if (rc == -ENOENT)
		return err_set(e, ERR_UNAVAILABLE, "tool_missing", 0,
			       "the program resize2fs is not installed and a "
			       "larger disk needs it. Install it: apt-get "
			       "install e2fsprogs");
	if (rc < 0)
		return rc;
	rc = process_wait(&child, RESIZE_MS, &end);
	if (rc < 0) {
		(void)process_signal(&child, SIGKILL);
		rc = err_set(e, ERR_TIMEOUT, "resize_failed", 0,
			     "resize2fs did not end within %d s",
			     RESIZE_MS / 1000);
	} else if (end.signal || end.status) {
		uint64_t left = 0;

		(void)file_free_bytes(fd, &left, NULL);
		rc = left < (4 << 20)
			     ? err_sys(e, ENOSPC, "enlarge the file system")
			     : err_set(e, ERR_INTERNAL, "resize_failed", 0,
				       "resize2fs failed with status %d: the "
				       "file system of the image could not be "
				       "enlarged",
				       end.status);
	}
	process_close(&child);
	return rc;
}

static int fill(int from_fd, struct target *t, uint64_t fs_bytes,
		struct clone_result *result, struct err *e)
{
	int rc = 0;

	result->reflink = file_clone(from_fd, t->fd) == 0;
	if (!result->reflink)
		rc = file_copy_sparse(from_fd, t->fd, e);
	if (rc < 0)
		return rc;
	if (ftruncate(t->fd, (off_t)result->size_bytes) < 0)
		return err_sys(e, errno, "set the size of the disk");
	if (!fs_bytes || fs_bytes >= result->size_bytes)
		return 0;
	result->grown = true;
	return grow(t->fd, e);
}

static int give_name(struct target *t, const char *to, struct err *e)
{
	char path[40];

	if (t->named)
		return 0;
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", t->fd);
	if (linkat(AT_FDCWD, path, t->dirfd, t->name, AT_SYMLINK_FOLLOW) < 0)
		return err_sys(e, errno, "name the disk %s", to);
	t->named = true;
	return 0;
}

/* A full disk deserves numbers. */
static int explain(int rc, int from_fd, const struct target *t, const char *to,
		   struct err *e)
{
	char need[24], have[24];
	uint64_t left = 0;
	struct stat st;

	if (rc != -ENOSPC && rc != -EDQUOT)
		return err_wrap(e, rc, "clone to %s", to);
	if (fstat(from_fd, &st) < 0)
		st.st_blocks = 0;
	(void)file_free_bytes(t->dirfd, &left, NULL);
	return err_set(e, ERR_NO_SPACE, "disk_full", -rc,
		       "the disk that holds %s is full: the clone needs about "
		       "%s, and %s are free. Remove VMs or images that are not "
		       "needed any more",
		       to, format_size((uint64_t)st.st_blocks * 512, need),
		       format_size(left, have));
}

/* Content before name: what has the name is whole, whatever is cut off. */
static int finish(struct target *t, const char *to, bool durable, struct err *e)
{
	int rc;

	if (durable && fsync(t->fd) < 0)
		return err_sys(e, errno, "write the disk %s", to);
	rc = give_name(t, to, e);
	if (rc == 0 && durable && fsync(t->dirfd) < 0)
		rc = err_sys(e, errno, "write the directory of %s", to);
	return rc;
}

int image_clone(const char *from, const char *to, uint64_t size_bytes,
		bool durable, struct clone_result *ret, struct err *e)
{
	AUTO(fd) int from_fd = open(from, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct target t = { .fd = -1, .dirfd = -1 };
	struct clone_result result = { .size_bytes = 0 };
	char *copies[2] = { NULL, NULL };
	struct stat st;
	uint64_t fs;
	int rc;

	if (from_fd < 0)
		return err_sys(e, errno, "open the blob %s", from);
	if (fstat(from_fd, &st) < 0 || !S_ISREG(st.st_mode))
		return err_set(e, ERR_INVALID, "not_a_file", 0,
			       "%s is not a regular file", from);
	fs = ext4_bytes(from_fd);
	rc = choose_size(size_bytes, (uint64_t)st.st_size, fs,
			 &result.size_bytes, e);
	if (rc < 0)
		return rc;
	rc = target_open(to, copies, &t, e);
	if (!rc) {
		rc = fill(from_fd, &t, fs, &result, e);
		if (!rc)
			rc = finish(&t, to, durable, e);
		close_fd(&t.fd); /* frees the space before it is counted */
		if (rc < 0 && t.named)
			(void)unlinkat(t.dirfd, t.name, 0);
		if (rc < 0)
			rc = explain(rc, from_fd, &t, to, e);
	}
	close_fd(&t.dirfd);
	free(copies[0]);
	free(copies[1]);
	if (!rc)
		*ret = result;
	return rc;
}
