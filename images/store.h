/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The image store: content-addressed blobs and one manifest per name.
 *
 *   DIR/blobs/sha256/<hex>      read-only, named by the SHA-256 of the content
 *   DIR/manifests/<name>.json   what an image is made of; replaced atomically
 *   DIR/quarantine/<hex>        damaged blobs that a build has replaced; for people
 *   DIR/staging/<id>/           a build in progress; swept when its owner is gone
 *
 * Reading manifests and removing an image are quick and run in vmd. Building,
 * hashing, copying and sweeping are the job of the program vmd-image, which vmd
 * starts and can kill at any moment.
 */
#ifndef IMAGES_STORE_H
#define IMAGES_STORE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum {
	IMAGE_NAME_MAX = 63,
	IMAGE_DIGEST_LEN = 64
};

enum image_init {
	IMAGE_INIT_AGENT,
	IMAGE_INIT_SYSTEM
};

struct image_blob {
	char digest[IMAGE_DIGEST_LEN + 1]; /* hex; "" when absent */
	uint64_t size_bytes;
};

struct image {
	char name[IMAGE_NAME_MAX + 1];
	char id[IMAGE_DIGEST_LEN + 1]; /* SHA-256 of the manifest's content */
	char recipe[32];
	char arch[16]; /* "x86_64" */
	char created[32]; /* RFC 3339 */
	char kernel_release[65];
	char kernel_format[16]; /* "elf" or "bzimage" */
	enum image_init init;
	struct image_blob kernel, initrd, root; /* root may be absent */
	/*
	 * Size of the root disk. Its blob is the beginning of the disk: the
	 * rest are zeros, which a clone brings back as a hole. 0 without root.
	 */
	uint64_t disk_bytes;
	char cmdline[512];
	char command[256]; /* run when the user names none: "/bin/sh" */
	uint64_t min_memory_bytes;
	/* Set by image_store_list() only: the manifest or a blob fails its
	 * checks; of the other fields only name says something. */
	bool damaged;
};

struct image_store;

struct image_store *image_store_open(const char *dir, struct err *e);
void image_store_free(struct image_store *s);

/* By id, name or a unique prefix of the id (base/lookup.h). ERR_NOT_FOUND code
 * image_not_found; ERR_CORRUPT code image_corrupt: a blob is missing or has
 * the wrong size. */
int image_store_get(struct image_store *s, const char *ref, struct image *ret,
		    struct err *e);
/* All images, sorted by name; *ret is malloc'd. */
int image_store_list(struct image_store *s, struct image **ret,
		     size_t *ret_count, struct err *e);
/* Removes the name (a damaged image too), for good: it is gone from the disk on
 * return, which may take a moment. Blobs that no manifest uses go with the next
 * sweep. Who uses an image is the caller's knowledge: check before. */
int image_store_remove(struct image_store *s, const char *name, struct err *e);
/* Removes staging directories except those whose vmd-image still runs, and
 * unused blobs. Returns how many things were removed, or a negative errno. Slow:
 * for vmd-image. */
int image_store_sweep(struct image_store *s, struct err *e);
/* Absolute path of a blob, malloc'd. */
char *image_store_blob_path(const struct image_store *s,
			    const struct image_blob *blob);

/* Manifest <-> struct, strict: for the store and for vmd-image. */
int image_from_json(const json_t *manifest, struct image *ret, struct err *e);
json_t *image_to_json(const struct image *img);

#endif
