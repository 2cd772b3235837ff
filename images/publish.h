/* SPDX-License-Identifier: Apache-2.0 */
/* Turning what a recipe left in its staging directory into an image. */
#ifndef IMAGES_PUBLISH_H
#define IMAGES_PUBLISH_H

#include "images/digest.h"
#include "images/store_internal.h"

enum artifact_kind {
	ARTIFACT_KERNEL,
	ARTIFACT_INITRD,
	ARTIFACT_ROOT,
	ARTIFACT_COUNT
};

/* "kernel", "initrd", "root". */
extern const char *const artifact_names[ARTIFACT_COUNT];

struct publish {
	const struct image_store *store;
	int staging_fd; /* the build's own directory */
	bool replace; /* an image of that name gives way */
	/* Names of regular files in the staging directory; "" when absent. */
	char files[ARTIFACT_COUNT][64];
	/* Told what is being done; may be NULL. */
	void (*progress)(const char *step, uint64_t done, uint64_t total,
			 void *data);
	void *data;
};

/*
 * Hashes the files, moves them into the store as blobs and writes the manifest.
 * In: the texts of *img. Out: its blobs, sizes and id. Everything is on disk
 * before the manifest gets its name, so a killed publisher leaves no image, only
 * the staging directory and perhaps an unused blob, both taken by a sweep.
 * ERR_CONFLICT code image_exists when the name is taken.
 */
int image_publish(const struct publish *p, struct image *img, struct err *e);

#endif
