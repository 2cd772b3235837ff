/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the image store share; for images/ and its tests only. */
#ifndef IMAGES_STORE_INTERNAL_H
#define IMAGES_STORE_INTERNAL_H

#include "images/store.h"

enum {
	MANIFEST_BYTES_MAX = 16 * 1024,
	MANIFEST_FORMAT = 1
};

/* Where damaged blobs go when good ones replace them; from blobs/sha256. */
#define IMAGE_QUARANTINE "../../quarantine"

/* Descriptors stay open: a store that is moved or replaced is not mixed up. */
struct image_store {
	char *dir; /* absolute */
	int blobs_fd;
	int manifests_fd;
	int staging_fd;
};

/*
 * The lock between those who put blobs in place (vmd-image, for the moment of a
 * few renames) and those who remove unused ones. Returns a descriptor that holds
 * it until closed; -EAGAIN when it is taken and wait is false.
 */
int image_store_lock(const struct image_store *s, bool wait, struct err *e);

/* Manifest of a name, checked for itself and against its name; not the blobs. */
int image_store_read_manifest(const struct image_store *s, const char *name,
			      struct image *ret, struct err *e);

/* Presence, kind and size of every blob. */
int image_store_check_blobs(const struct image_store *s,
			    const struct image *img, struct err *e);

/* All names (sorted) that have a manifest file; *ret_names is malloc'd. */
int image_store_names(const struct image_store *s,
		      char (**ret_names)[IMAGE_NAME_MAX + 1], size_t *ret_count,
		      struct err *e);

/* Removes blobs that no manifest uses; the lock is held. Count or -errno. */
int image_store_collect(const struct image_store *s, struct err *e);

/* Removes staging/id unless its owner still runs: 1, 0, or a negative errno. */
int image_store_sweep_one(const struct image_store *s, const char *id,
			  struct err *e);

#endif
