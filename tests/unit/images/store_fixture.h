/* SPDX-License-Identifier: Apache-2.0 */
/* A store in a temporary directory, with images made by the real publisher. */
#ifndef TESTS_UNIT_IMAGES_STORE_FIXTURE_H
#define TESTS_UNIT_IMAGES_STORE_FIXTURE_H

#include "tests/unit/test.h"

#include "images/publish.h"
#include "images/store_internal.h"

struct fixture {
	char dir[64];
	struct image_store *store;
};

int fixture_setup(void **state);
int fixture_teardown(void **state);

/* A file below the fixture's directory. */
void fixture_write(const struct fixture *f, const char *path,
		   const char *content);
bool fixture_exists(const struct fixture *f, const char *path);

/* An image of that name with the given contents; root may be NULL. */
void fixture_publish(const struct fixture *f, const char *name,
		     const char *kernel, const char *root, struct image *ret);

/* Number of entries in a directory below the fixture's directory. */
size_t fixture_count(const struct fixture *f, const char *path);

#endif
