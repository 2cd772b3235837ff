/* SPDX-License-Identifier: Apache-2.0 */
/* Building an image: staging directory, recipe, publishing. */
#ifndef IMAGES_BUILD_H
#define IMAGES_BUILD_H

#include <stdbool.h>
#include <stddef.h>

#include "images/store.h"

struct build_request {
	const char *store_dir;
	const char *staging_id; /* a name; the directory must not exist */
	const char *recipe;
	const char *name;
	const char *const *options; /* "name=value" */
	size_t option_count;
	bool replace; /* an image of that name gives way */
	bool no_jail; /* the recipe runs as we are */
};

/*
 * Builds and publishes; reports progress on standard output (see report.h). On
 * failure the staging directory is removed; killed, it stays for a sweep.
 */
int image_build(const struct build_request *request, struct image *ret,
		struct err *e);

#endif
