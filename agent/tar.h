/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Trees as tar streams: POSIX ustar with pax extended headers (long names and
 * links, sizes over 8 GiB, times in ns). Read are also GNU long names and sparse
 * files in all their forms (old GNU, GNU.sparse 0.0, 0.1, 1.0); written is 1.0.
 * Files, directories, links, pipes and devices with modes, owners (when root) and
 * modification times; extended attributes and ACLs are not carried.
 *
 * The same code runs in the guest (PUSH and PULL) and in vmctl (the other end of
 * `vmctl cp`); what may be made there differs: struct tar_policy.
 *
 * All is incremental: the caller brings or takes bytes in any pieces. Memory is
 * bounded: one name buffer, one pax header, one sparse map, a table of hard links.
 *
 * What cannot be carried is left out, counted and named (struct tar_left): the
 * rest is copied. docs/copy.md lists every case.
 *
 * Source: POSIX.1-2017, pax, "pax Interchange Format"; GNU tar manual, "Storing
 * Sparse Files".
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
	TAR_SEGMENTS_MAX = 65536, /* of one sparse file */
	TAR_SPARSE_LEAST = 65536, /* holes worth a map */
	TAR_KERNEL_FILE_MAX = 4 << 20, /* of proc, whose files have no size */
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
	uint64_t real_size; /* of a sparse file, to be written; 0: it is none */
	int64_t mtime_s;
	long mtime_ns;
	uint64_t uid, gid;
	uint64_t dev_major, dev_minor;
	unsigned int mode;
	char type;
};

/* ---- what was left out ---------------------------------------------------- */
struct tar_left {
	unsigned int count;
	char first[120]; /* "name: reason", of the first */
	/* Told each one, when not NULL. */
	void (*tell)(void *ctx, const char *name, const char *why);
	void *ctx;
};
void tar_left_add(struct tar_left *left, const char *name, const char *why);

/* ---- sparse maps ----------------------------------------------------------- */
struct tar_segment {
	uint64_t offset, len;
};

struct tar_sparse {
	struct tar_segment *segments;
	size_t count, room;
	uint64_t real_size;
	bool given; /* the entry is sparse */
	bool in_body; /* 1.0: the map lies before the data */
	bool half; /* an offset came, its length not yet */
	uint64_t offset;
	/* The map in the body: numbers, one a line. */
	uint64_t number;
	uint64_t numbers_left; /* UINT64_MAX: the first one says how many */
	bool digits;
};

void tar_sparse_reset(struct tar_sparse *s);
void tar_sparse_done(struct tar_sparse *s);
/* NULL, or what is wrong with it. */
const char *tar_sparse_add(struct tar_sparse *s, uint64_t offset, uint64_t len);
/* A "GNU.sparse." or "SCHILY." record. NULL, or what is wrong. */
const char *tar_sparse_record(struct tar_sparse *s, const char *key,
			      const char *value);
/* Old GNU: the entries in a header or in a block behind it. *ret_more: another
 * block follows. */
const char *tar_sparse_old(struct tar_sparse *s, const uint8_t *entries,
			   size_t count, bool *ret_more);
/* A byte of the map in the body. *ret_end: that was the last one of the map. */
const char *tar_sparse_byte(struct tar_sparse *s, char c, bool *ret_end);
/* The map is whole and has data_size bytes of data. NULL, or what is wrong. */
const char *tar_sparse_check(const struct tar_sparse *s, uint64_t data_size);
/* The map of an open file: its data, as far as the file system tells. False: it
 * has no holes worth it, or nothing can be said. */
bool tar_sparse_scan(struct tar_sparse *s, int fd, uint64_t size);
/* The map as the body's first part, padded. NULL: no memory. */
char *tar_sparse_text(const struct tar_sparse *s, size_t *ret_len);

/* ---- reading: extract below a directory --------------------------------- */
struct tar_policy {
	bool owners; /* set as the archive says: only root can */
	bool special; /* make pipes and devices */
	bool through; /* a named pipe or character device is written into */
	unsigned int mode_mask;
};
/* In the guest: all that this user may. */
struct tar_policy tar_policy_guest(void);

struct tar_reader;

/* Unpacks below dirfd, which is taken. NULL when out of memory. */
struct tar_reader *tar_reader_new(int dirfd, const struct tar_policy *policy);
/*
 * As cp(1) with the destination path: the one tree of the archive gets that name,
 * or goes into it when it is a directory ("." goes into it without a name of its
 * own). name: what the tree is called there, whatever the archive says; NULL: what
 * the archive says. Nothing is looked at before the first entry.
 */
struct tar_reader *tar_reader_new_at(const char *path, const char *name,
				     const struct tar_policy *policy);
void tar_reader_free(struct tar_reader *r);
/* 0 or -errno (-EPROTO: the archive is wrong); then tar_reader_error() names the
 * file and the reason. */
int tar_reader_feed(struct tar_reader *r, const void *data, size_t len);
/* The stream ended: -EPROTO when inside an entry or without an end mark. */
int tar_reader_finish(struct tar_reader *r);
const char *tar_reader_error(const struct tar_reader *r);
struct tar_left *tar_reader_left(struct tar_reader *r);
/* Bytes of file content so far. */
uint64_t tar_reader_bytes(const struct tar_reader *r);

/* A file that is being written: beside its name until it is whole. */
struct tar_file {
	int fd, parent; /* -1: none */
	char base[256], temp[32];
	bool through; /* fd is a pipe or device that was there */
	uint64_t at, size; /* bytes written of a pipe; the file's length */
};

/* tar_place.c: putting things below root without following any link. */
struct tar_place {
	struct tar_policy policy;
	int root; /* the target directory; -1: not known yet */
	char *path; /* as cp(1): resolved at the first entry; NULL: not so */
	char *name; /* of the tree in a directory; NULL: the archive's */
	char *target; /* the name the archive's top gets in root; NULL: its own */
	char top[256]; /* the archive's top; "" before the first entry */
	bool into_dot; /* the top is "." */
	struct tar_left left;
	char error[TAR_ERROR_MAX];
};
void tar_place_done(struct tar_place *p);
/* tar_target.c: renames the entry (and a hard link's first name) as the target
 * wants it. 0 or -errno. */
int tar_place_rename(struct tar_place *p, struct tar_entry *e);
/* Opens a file to be written; 0 or -errno. */
int tar_place_file(struct tar_place *p, const struct tar_entry *e,
		   struct tar_file *ret);
/* len bytes at offset; data NULL: a hole. */
int tar_place_write(struct tar_place *p, const struct tar_entry *e,
		    struct tar_file *f, uint64_t offset, const uint8_t *data,
		    size_t len);
/* Gives it its attributes, its length and its name; closes it. */
int tar_place_end(struct tar_place *p, const struct tar_entry *e,
		  struct tar_file *f);
void tar_place_drop(struct tar_file *f);
/* Symbolic and hard links, pipes, devices: 0 or -errno. */
int tar_place_other(struct tar_place *p, const struct tar_entry *e);
/* *ret_set: its attributes are to be set when all is in it. */
int tar_place_directory(struct tar_place *p, const struct tar_entry *e,
			bool *ret_set);
/* Owner, mode, times of an open file or directory. */
int tar_place_attributes(struct tar_place *p, const struct tar_entry *e,
			 int fd);
/* Opens an existing directory of the archive, for its attributes. */
int tar_place_open_directory(struct tar_place *p, const char *name);
int tar_place_fail(struct tar_place *p, int sys, const char *name,
		   const char *what);
/* The next component of *at into out; 0 at the end, -errno when not allowed. */
int tar_next_component(const char **at, char out[static 256]);

/* ---- writing: walk a tree ------------------------------------------------ */
struct tar_writer;

/*
 * path may be a file or a directory; a link at the end is followed. The top of
 * the archive has the path's last component, "." when that is "." or "..". fd: an
 * open file to be sent in the place of path, which then only names it (taken), or
 * -1. as_root: everything belongs to root and has no set-id bits. NULL with errno
 * set (ENOTSUP: neither file nor directory).
 */
struct tar_writer *tar_writer_new(const char *path, int fd, bool as_root);
void tar_writer_free(struct tar_writer *w);
/* Bytes produced (0: the archive is complete) or -errno. */
ssize_t tar_writer_read(struct tar_writer *w, void *out, size_t room);
const char *tar_writer_error(const struct tar_writer *w);
struct tar_left *tar_writer_left(struct tar_writer *w);
uint64_t tar_writer_bytes(const struct tar_writer *w);

/* tar_header.c: an entry as a header, with a pax header before it if needed.
 * out has room for TAR_HEADERS_MAX. Returns the length. */
enum {
	TAR_HEADERS_MAX = 4 * TAR_BLOCK + 4 * TAR_NAME_MAX
};
size_t tar_encode_entry(const struct tar_entry *e, uint8_t *out);
/* false: not a number */
bool tar_number(const char *field, size_t len, uint64_t *ret);
bool tar_decimal(const char *text, uint64_t *ret);
/* One pax header (len bytes of records) applied to e and s. NULL, or what is
 * wrong with it. */
const char *tar_apply_pax(const char *records, size_t len, struct tar_entry *e,
			  bool *ret_size_given, struct tar_sparse *s);

#endif
