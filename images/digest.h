/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-256 of files and texts, as lower-case hex. */
#ifndef IMAGES_DIGEST_H
#define IMAGES_DIGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "images/store.h"

/* Called now and then with the bytes done so far. */
typedef void digest_progress_fn(uint64_t done_bytes, void *data);

/* The whole file from offset 0; progress may be NULL. */
int digest_file(int fd, char ret_hex[static IMAGE_DIGEST_LEN + 1],
		uint64_t *ret_size, digest_progress_fn *progress, void *data,
		struct err *e);

void digest_text(const void *text, size_t len,
		 char ret_hex[static IMAGE_DIGEST_LEN + 1]);

/* Exactly 64 characters of [0-9a-f]. */
bool digest_hex_ok(const char *hex);

#endif
