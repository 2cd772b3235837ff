/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A source that is a pipe or a device: an archive says a file's length before its
 * bytes, so they are collected in an unnamed file first.
 */
#ifndef VMCTL_SPOOL_H
#define VMCTL_SPOOL_H

#include "base/err.h"

enum {
	SPOOL_NOT_NEEDED = -2 /* path is a file or a directory */
};

/* An open file with all that path gives; SPOOL_NOT_NEEDED, or -1 with *e set. */
int spool_open(const char *path, struct err *e);

#endif
