/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Trees as tar streams: POSIX ustar with pax extended headers (long names and
 * links, sizes over 8 GiB, times in ns); GNU long names are read as well.
 * Regular files, directories, symbolic and hard links, modes, owners (when
 * root) and modification times.
 *
 * Both are incremental: the caller brings or takes bytes in any pieces. Memory
 * is bounded: one name buffer, one pax header, a table of hard links.
 *
 * Source: POSIX.1-2017, pax, "pax Interchange Format".
 */
#ifndef AGENT_TAR_H
#define AGENT_TAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum {
	TAR_BLOCK = 512,
	TAR_NAME_MAX = 4096, /* with the NUL */
	TAR_PAX_MAX = 65536, /* an extended header, or a GNU long name */
	TAR_DEPTH_MAX = 96, /* directories open at once while walking */
	TAR_HARDLINKS_MAX = 4096, /* more are sent as files of their own */
	TAR_ERROR_MAX = 160,
};

/* One 512-byte header, as text fields (POSIX.1-2017 table 4-14). */
struct tar_header {
	char name[100];
	char mode[8];
	char uid[8];
	char gid[8];
	char size[12];
	char mtime[12];
	char checksum[8];
	char type;
	char linkname[100];
	char magic[6];
	char version[2];
	char uname[32];
	char gname[32];
	char devmajor[8];
	char devminor[8];
	char prefix[155];
	char pad[12];
};
_Static_assert(sizeof(struct tar_header) == TAR_BLOCK, "ustar header");

unsigned int tar_checksum(const struct tar_header *h);

/* What a header (with its extensions) says. */
struct tar_entry {
	char name[TAR_NAME_MAX];
	char link[TAR_NAME_MAX];
	uint64_t size;
	int64_t mtime_s;
	long mtime_ns;
	uint64_t uid, gid;
	unsigned int mode;
	char type;
};

/* ---- reading: extract below a directory --------------------------------- */
struct tar_reader;

/* Takes dirfd. NULL when out of memory. */
struct tar_reader *tar_reader_new(int dirfd);
void tar_reader_free(struct tar_reader *r);
/* 0 or -errno; then tar_reader_error() names the file and the reason. */
int tar_reader_feed(struct tar_reader *r, const void *data, size_t len);
/* The stream ended: -EPROTO when inside an entry or without an end mark. */
int tar_reader_finish(struct tar_reader *r);
const char *tar_reader_error(const struct tar_reader *r);

/* tar_place.c: putting things below dirfd without following any link. */
struct tar_place {
	int root; /* the target directory */
	bool as_root; /* owners are set */
	char error[TAR_ERROR_MAX];
};
/* File: returns an fd to write to, or -errno. */
int tar_place_file(struct tar_place *p, const struct tar_entry *e);
/* Directory, symlink, hard link: 0 or -errno. */
int tar_place_other(struct tar_place *p, const struct tar_entry *e);
/* Owner, mode, times of an open file or directory. */
int tar_place_attributes(struct tar_place *p, const struct tar_entry *e,
			 int fd);
/* Opens an existing directory of the archive, for its attributes. */
int tar_place_open_directory(struct tar_place *p, const char *name);
int tar_place_fail(struct tar_place *p, int sys, const char *name,
		   const char *what);

/* ---- writing: walk a tree ------------------------------------------------ */
struct tar_writer;

/* path may be a file or a directory; a link at the end is followed. NULL with
 * errno set. */
struct tar_writer *tar_writer_new(const char *path);
void tar_writer_free(struct tar_writer *w);
/* Bytes produced (0: the archive is complete) or -errno. */
ssize_t tar_writer_read(struct tar_writer *w, void *out, size_t room);
const char *tar_writer_error(const struct tar_writer *w);

/* tar_header.c: an entry as a header, with a pax header before it if needed.
 * out has room for TAR_HEADERS_MAX. Returns the length. */
enum {
	TAR_HEADERS_MAX = 3 * TAR_BLOCK + 2 * TAR_NAME_MAX + TAR_BLOCK
};
size_t tar_encode_entry(const struct tar_entry *e, uint8_t *out);
/* false: not a number */
bool tar_number(const char *field, size_t len, uint64_t *ret);
/* One pax header (len bytes of records) applied to e; false: malformed. */
bool tar_apply_pax(const char *records, size_t len, struct tar_entry *e,
		   bool *ret_size_given);

#endif
