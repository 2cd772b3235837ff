/* SPDX-License-Identifier: Apache-2.0 */
/* What tar_read.c (the stream) and tar_entry.c (what its headers say, and where
 * that goes) share; nobody else includes it. */
#ifndef AGENT_TAR_READER_H
#define AGENT_TAR_READER_H

#include "agent/tar.h"

enum state {
	READ_HEADER,
	READ_MAP,
	READ_BODY,
	READ_END
};

struct tar_reader {
	struct tar_place place;
	enum state state;
	bool failed;
	uint8_t block[TAR_BLOCK]; /* the header being collected */
	size_t have;
	uint64_t body_left, pad_left;
	struct tar_file
		file; /* written while READ_BODY; else body is dropped */
	struct tar_sparse sparse;
	size_t map_pad; /* behind the map, up to the next block */
	bool in_map; /* the body still gives its map */
	size_t segment; /* whose data come */
	uint64_t at; /* in the file, or in its segment */
	uint64_t bytes;
	bool through; /* the one file was written into a pipe */
	char *text; /* extension: TAR_PAX_MAX, made on first use */
	size_t text_len;
	char text_type; /* 'x', 'L', 'K', or 0 */
	struct tar_entry entry; /* being built: extensions come first */
	struct tar_entry extended; /* "", UINT64_MAX, mtime_ns -1: not said */
	bool has_size;
	struct tar_entry *dirs[TAR_DEPTH_MAX];
	size_t dir_count;
};

/* tar_entry.c: all 0 or -errno, with the place's error set. */

int tar_malformed(struct tar_reader *r, const char *what);
/* What extension headers said is for one entry only. */
void tar_forget_extensions(struct tar_reader *r);
/* The header in r->block: r->entry, and what it begins. */
int tar_start_header(struct tar_reader *r);
/* An old GNU map is whole: the entry is placed. */
int tar_place_entry(struct tar_reader *r);
/* The text of an extension is whole. */
int tar_finish_text(struct tar_reader *r);
/* The attributes of the directory that was entered last. */
int tar_leave_directory(struct tar_reader *r);

#endif
