/* SPDX-License-Identifier: Apache-2.0 */
/* See store_fixture.h. */
#include "store_fixture.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

int fixture_setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	if (!f)
		return -1;
	(void)snprintf(f->dir, sizeof(f->dir), "/tmp/vmd-test-images-XXXXXX");
	if (!mkdtemp(f->dir))
		return -1;
	f->store = image_store_open(f->dir, NULL);
	*state = f;
	return f->store ? 0 : -1;
}

int fixture_teardown(void **state)
{
	struct fixture *f = *state;
	int rc;

	image_store_free(f->store);
	rc = file_remove_tree(AT_FDCWD, f->dir, NULL);
	free(f);
	return rc;
}

static void path_of(const struct fixture *f, const char *path, char buf[512])
{
	(void)snprintf(buf, 512, "%s/%s", f->dir, path);
}

void fixture_write(const struct fixture *f, const char *path,
		   const char *content)
{
	char full[512];
	FILE *out;

	path_of(f, path, full);
	(void)unlink(full);
	out = fopen(full, "w");
	assert_non_null(out);
	assert_int_equal(fwrite(content, 1, strlen(content), out),
			 strlen(content));
	assert_int_equal(fclose(out), 0);
}

bool fixture_exists(const struct fixture *f, const char *path)
{
	char full[512];

	path_of(f, path, full);
	return access(full, F_OK) == 0;
}

size_t fixture_count(const struct fixture *f, const char *path)
{
	char full[512];
	struct dirent *entry;
	size_t n = 0;
	DIR *dir;

	path_of(f, path, full);
	dir = opendir(full);
	assert_non_null(dir);
	while ((entry = readdir(dir)))
		n += entry->d_name[0] != '.';
	(void)closedir(dir);
	return n;
}

void fixture_publish(const struct fixture *f, const char *name,
		     const char *kernel, const char *root, struct image *ret)
{
	struct publish p = { .store = f->store };
	struct image img = { .recipe = "tiny",
			     .arch = "x86_64",
			     .kernel_release = "6.1.0",
			     .kernel_format = "elf" };
	struct err e = ERR_INIT;
	char dir[512];

	path_of(f, "staging/fixture", dir);
	assert_int_equal(mkdir(dir, 0700), 0);
	fixture_write(f, "staging/fixture/kernel", kernel);
	(void)strcpy(p.files[ARTIFACT_KERNEL], "kernel");
	if (root) {
		fixture_write(f, "staging/fixture/root", root);
		path_of(f, "staging/fixture/root", dir);
		assert_int_equal(truncate(dir, 1 << 20), 0);
		(void)strcpy(p.files[ARTIFACT_ROOT], "root");
	}
	p.staging_fd = openat(f->store->staging_fd, "fixture",
			      O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(p.staging_fd >= 0);
	(void)strcpy(img.name, name);
	if (image_publish(&p, &img, &e) < 0)
		fail_msg("publish: %s", e.msg);
	(void)close(p.staging_fd);
	assert_int_equal(image_store_sweep_one(f->store, "fixture", &e), 1);
	if (ret)
		*ret = img;
}
