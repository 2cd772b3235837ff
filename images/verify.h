/* SPDX-License-Identifier: Apache-2.0 */
/* The full check of the image store: every blob is hashed. */
#ifndef IMAGES_VERIFY_H
#define IMAGES_VERIFY_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct verify_result {
	size_t images;
	size_t blobs;
	uint64_t bytes;
};

/*
 * Checks one image (by name or id), or all when ref is NULL, and reports
 * progress. ERR_CORRUPT code image_corrupt names the first damaged one.
 */
int image_verify(const char *store_dir, const char *ref,
		 struct verify_result *ret, struct err *e);

#endif
