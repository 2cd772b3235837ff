/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unpacking a tar stream of a guest, which is hostile: every entry must lie
 * below the one top name, no absolute path, no "..", nothing through a link, no
 * device nodes, no set-user-id bits. Owner is who runs vmctl.
 */
#ifndef VMCTL_TAR_IN_H
#define VMCTL_TAR_IN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/*
 * Reads the archive from fd to its end and puts its one top entry at `target`
 * (its last component replaces the top's name; its directory must exist).
 * progress (may be NULL) is told the bytes of content so far.
 */
int tar_in_extract(int fd, const char *target, void (*progress)(uint64_t bytes),
		   struct err *e);

/* A path of the archive below the new top: "top/a" -> "name/a". False for
 * anything that would leave it. *top ("" at first) is learnt from the first. */
bool tar_in_path(const char *path, char top[static 256], const char *name,
		 char *out, size_t room);

/* Whether the first entry in these bytes is a directory: 1, 0, or -1. */
int tar_first_is_directory(const void *data, size_t len);

#endif
