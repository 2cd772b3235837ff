/* SPDX-License-Identifier: Apache-2.0 */
/* A VM's own disk out of a blob. */
#ifndef IMAGES_CLONE_H
#define IMAGES_CLONE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct clone_result {
	uint64_t size_bytes;
	bool reflink; /* shares its blocks with the blob */
	bool grown; /* the file system was enlarged */
};

/*
 * Makes the new file `to` with the content of the blob `from`: by reflink where
 * the file system can, else by copying what is not a hole. size_bytes is the
 * size of the disk; 0 or the blob's own size give the size the image was built
 * with (a blob lacks the hole at the end of its disk). Larger: an ext4 file
 * system is enlarged with resize2fs. Smaller than the file system: ERR_INVALID
 * code disk_too_small.
 *
 * The file gets its name when it is complete; when this fails, or the process is
 * killed, nothing is left behind (except, killed, on file systems that have no
 * O_TMPFILE). durable: content and name are on the disk when it succeeds.
 */
int image_clone(const char *from, const char *to, uint64_t size_bytes,
		bool durable, struct clone_result *ret, struct err *e);

#endif
