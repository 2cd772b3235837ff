/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tree of this host as a tar stream that is pulled piece by piece. Regular
 * files, directories, symbolic and hard links with modes and times; owners are
 * left to the receiver (0). Links are not followed, except SOURCE itself.
 */
#ifndef VMCTL_TAR_OUT_H
#define VMCTL_TAR_OUT_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

struct tar_out;

/* name: what the tree's top is called in the archive. NULL with *e set. */
struct tar_out *tar_out_new(const char *source, const char *name,
			    struct err *e);
void tar_out_free(struct tar_out *t);
/* An api_source_fn: bytes, 0 at the end. */
ssize_t tar_out_read(void *ctx, void *data, size_t room, struct err *e);
/* Bytes of file content so far. */
uint64_t tar_out_bytes(const struct tar_out *t);

#endif
