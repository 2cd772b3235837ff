/* SPDX-License-Identifier: Apache-2.0 */
/* Files: bounded reads, atomic replacement, trees, relative to a directory fd. */
#ifndef BASE_FILE_H
#define BASE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

/*
 * Reads a whole regular file of at most max bytes; *ret_data is malloc'd and
 * has a NUL after its ret_len bytes. dirfd may be AT_FDCWD.
 */
int file_read(int dirfd, const char *path, size_t max, char **ret_data,
	      size_t *ret_len, struct err *e);

/* Kinds of file, for file_open(). */
enum {
	FILE_REGULAR = 1,
	FILE_BLOCK = 2, /* block device */
	FILE_CHAR = 4, /* character device */
	FILE_FIFO = 8,
	FILE_SOCKET = 16, /* already open: none can be opened */
};

/*
 * Opens what a configuration or a user names: never waits for the other end of
 * a FIFO or for a line, never takes a terminal, close-on-exec. kinds: FILE_*
 * that the caller can work with. mode: of a file that O_CREAT makes. An fd, or
 * -errno with *ret_why saying why in words (static, or of strerror): -EISDIR
 * or -EINVAL for a file of another kind, -ENXIO for a FIFO without a reader.
 */
int file_open(int dirfd, const char *path, int flags, mode_t mode,
	      unsigned kinds, const char **ret_why);
/* The same question about an open descriptor: 0 or -errno with *ret_why. */
int file_check_kind(int fd, unsigned kinds, const char **ret_why);

/* Writes everything or fails; retries on EINTR. 0 or -errno. */
int file_write_full(int fd, const void *data, size_t len);
/* Reads exactly len bytes: 0, -errno, or -EPIPE at an early end of file. */
int file_read_full(int fd, void *data, size_t len);
int file_pread_full(int fd, void *data, size_t len, uint64_t offset);
int file_pwrite_full(int fd, const void *data, size_t len, uint64_t offset);

/*
 * Replaces dirfd/path atomically: temporary file beside it, fsync, rename,
 * fsync of the directory. A reader sees the old or the new content whole.
 */
int file_replace(int dirfd, const char *path, const void *data, size_t len,
		 mode_t mode, struct err *e);

/* The same, but the name may be lost: for what is renamed by the caller, who syncs
 * the directory to which it goes. */
int file_replace_content(int dirfd, const char *path, const void *data,
			 size_t len, mode_t mode, struct err *e);

/* The same for what need not survive the host: nothing waits for the disk. */
int file_replace_volatile(int dirfd, const char *path, const void *data,
			  size_t len, mode_t mode, struct err *e);

/* mkdir -p; existing directories keep their mode. */
int file_make_dirs(const char *path, mode_t mode, struct err *e);

/*
 * rm -rf dirfd/name without following links and without crossing into what was
 * renamed under us. Missing is success.
 */
int file_remove_tree(int dirfd, const char *name, struct err *e);

/* Reflink of src onto dst (FICLONE). 0 or -errno (-EOPNOTSUPP, -EXDEV: copy). */
int file_clone(int src_fd, int dst_fd);

/* Copies src to dst from offset 0 keeping holes; uses reflink when possible. */
int file_copy_sparse(int src_fd, int dst_fd, struct err *e);

/*
 * Gives the file `from` (no link) the name dirfd/name as well, which must be
 * free; where that cannot be (another file system, too many names), a copy of it
 * with the same mode, shared where the file system can. durable: a copy's
 * content is on the disk on return; the directory is the caller's. May be slow.
 */
int file_link_or_copy(const char *from, int dirfd, const char *name,
		      bool durable, struct err *e);

/* Free bytes for an unprivileged writer on the file system of fd. */
int file_free_bytes(int fd, uint64_t *ret_bytes, struct err *e);

int file_set_nonblock(int fd);
int file_set_cloexec(int fd, bool on);

/*
 * First in main(): whoever started us may have closed 0, 1 or 2; the next file
 * or socket that is opened would become our standard output. What was closed
 * reads as empty and cannot be written to (EBADF). 0 or -errno.
 */
int file_open_standard(void);

#endif
