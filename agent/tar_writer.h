/* SPDX-License-Identifier: Apache-2.0 */
/* What tar_write.c (the stream) and tar_walk.c (the tree) share; nobody else
 * includes it. */
#ifndef AGENT_TAR_WRITER_H
#define AGENT_TAR_WRITER_H

#include <dirent.h>

#include "agent/tar.h"

struct level {
	DIR *dir;
	size_t name_len; /* of the entry name of this directory */
};

struct hard_link {
	dev_t dev;
	ino_t ino;
	char *name;
};

struct tar_writer {
	struct level levels[TAR_DEPTH_MAX];
	size_t depth;
	struct tar_entry entry; /* name: the path in the archive */
	uint8_t head[TAR_HEADERS_MAX];
	size_t head_at, head_end;
	int file;
	bool as_root, shrunk;
	struct tar_sparse sparse; /* of the file, when it has holes */
	size_t segment;
	uint64_t at; /* in the file, or in its segment */
	uint64_t said; /* the file's length, UINT64_MAX: nobody knows */
	char *text; /* sent first: a sparse map; or all of a file of proc */
	size_t text_at, text_len;
	uint64_t body_left;
	size_t pad_left;
	struct hard_link *links;
	size_t link_count;
	bool at_end; /* the end mark is in head */
	int failed; /* sticks: the walk cannot go on behind a hole */
	struct tar_left left;
	uint64_t bytes;
	char error[TAR_ERROR_MAX];
};

/* Sets the error, returns -sys. */
int tar_write_fail(struct tar_writer *w, int sys, const char *name);
void tar_drop_text(struct tar_writer *w);

/* tar_walk.c */

/* Queues the header of name below dir; w->entry.name is set. Nothing queued: it is
 * left out. top: the one that was asked for, followed when it is a link. */
int tar_walk_add(struct tar_writer *w, int dir, const char *name, bool top);
/* The same for an open file; takes fd. */
int tar_walk_add_open(struct tar_writer *w, int fd, bool top);
/* Queues the next header, or the end mark. */
int tar_walk_next(struct tar_writer *w);

#endif
