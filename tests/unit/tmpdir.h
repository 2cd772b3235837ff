/* SPDX-License-Identifier: Apache-2.0 */
/* A directory of the test's own, as a part of a fixture or as the fixture. */
#ifndef TESTS_UNIT_TMPDIR_H
#define TESTS_UNIT_TMPDIR_H

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "tests/unit/test.h"

struct tmpdir {
	char path[32];
	int fd;
};

static inline void tmpdir_init(struct tmpdir *t)
{
	(void)strcpy(t->path, "/tmp/vmd-test-XXXXXX");
	assert_non_null(mkdtemp(t->path));
	t->fd = open(t->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(t->fd >= 0);
}

static inline void tmpdir_done(struct tmpdir *t)
{
	(void)close(t->fd);
	assert_int_equal(file_remove_tree(AT_FDCWD, t->path, NULL), 0);
}

/* Writes a file of the directory, with exactly this mode. */
static inline void tmpdir_put(const struct tmpdir *t, const char *name,
			      const char *text, mode_t mode)
{
	assert_int_equal(
		file_replace(t->fd, name, text, strlen(text), mode, NULL), 0);
}

static inline int tmpdir_setup(void **state)
{
	struct tmpdir *t = malloc(sizeof(*t));

	assert_non_null(t);
	tmpdir_init(t);
	*state = t;
	return 0;
}

static inline int tmpdir_teardown(void **state)
{
	tmpdir_done(*state);
	free(*state);
	return 0;
}

#define TMPDIR_TEST(name) \
	cmocka_unit_test_setup_teardown(name, tmpdir_setup, tmpdir_teardown)

#endif
