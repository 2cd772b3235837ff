/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/test.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/process.h"
#include "images/clone.h"

enum {
	MIB = 1 << 20
};

struct fixture {
	char dir[64];
	char from[80];
	char to[80];
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	if (!f)
		return -1;
	(void)snprintf(f->dir, sizeof(f->dir), "/tmp/vmd-test-clone-XXXXXX");
	if (!mkdtemp(f->dir))
		return -1;
	(void)snprintf(f->from, sizeof(f->from), "%s/blob", f->dir);
	(void)snprintf(f->to, sizeof(f->to), "%s/disk", f->dir);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	int rc = file_remove_tree(AT_FDCWD, f->dir, NULL);

	free(f);
	return rc;
}

static void write_at(const char *path, uint64_t size, uint64_t offset,
		     const char *data)
{
	AUTO(fd) int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	assert_int_equal(file_pwrite_full(fd, data, strlen(data), offset), 0);
}

static int run(const char *const argv[])
{
	const struct process_spec spec = { .argv = argv };
	struct process p = PROCESS_INIT;
	struct process_exit end = { .known = false };
	int rc = process_spawn(&spec, &p, NULL);

	if (rc < 0)
		return rc;
	rc = process_wait(&p, 30000, &end);
	process_close(&p);
	return rc < 0 ? rc : end.status + end.signal;
}

static void test_clone_keeps_content_and_holes(void **state)
{
	struct fixture *f = *state;
	struct clone_result r;
	struct err e = ERR_INIT;
	struct stat st;
	char data[8] = "";
	AUTO(fd) int fd = -1;

	write_at(f->from, 64 * MIB, 32 * MIB, "payload");
	assert_int_equal(image_clone(f->from, f->to, 0, true, &r, &e), 0);
	assert_int_equal(r.size_bytes, 64 * MIB);
	assert_int_equal(stat(f->to, &st), 0);
	assert_int_equal(st.st_size, 64 * MIB);
	assert_true(st.st_blocks * 512 < MIB);
	assert_int_equal(st.st_mode & 0777, 0600);
	fd = open(f->to, O_RDONLY | O_CLOEXEC);
	assert_int_equal(file_pread_full(fd, data, 7, 32 * MIB), 0);
	assert_string_equal(data, "payload");
}

static void test_clone_sizes(void **state)
{
	struct fixture *f = *state;
	struct clone_result r;
	struct err e = ERR_INIT;

	write_at(f->from, MIB, 0, "x");
	assert_true(image_clone(f->from, f->to, MIB - 512, true, &r, &e) < 0);
	assert_string_equal(e.code, "disk_too_small");
	assert_true(image_clone(f->from, f->to, MIB + 1, true, &r, &e) < 0);
	assert_string_equal(e.code, "disk_size_invalid");
	assert_true(access(f->to, F_OK) < 0);
	assert_int_equal(image_clone(f->from, f->to, 2 * MIB, true, &r, &e), 0);
	assert_int_equal(r.size_bytes, 2 * MIB);
	assert_false(r.grown); /* no file system that could grow */
}

static void test_clone_refuses_existing_target_and_odd_source(void **state)
{
	struct fixture *f = *state;
	struct clone_result r;
	struct err e = ERR_INIT;

	write_at(f->from, MIB, 0, "x");
	write_at(f->to, 1, 0, "y");
	assert_true(image_clone(f->from, f->to, 0, true, &r, &e) < 0);
	assert_int_equal(e.kind, ERR_CONFLICT);
	assert_string_equal(e.code, "disk_exists");
	assert_true(image_clone("/nowhere", f->to, 0, true, &r, &e) < 0);
	assert_int_equal(e.kind, ERR_NOT_FOUND);
	assert_true(image_clone("/dev/null", f->to, 0, true, &r, &e) < 0);
	assert_string_equal(e.code, "not_a_file");
	assert_true(image_clone(f->dir, f->to, 0, true, &r, &e) < 0);
}

static void test_clone_brings_the_cut_disk_back_and_grows_it(void **state)
{
	struct fixture *f = *state;
	const char *const mke2fs[] = { "mke2fs",
				       "-q",
				       "-F",
				       "-t",
				       "ext4",
				       "-O",
				       "sparse_super2,^resize_inode",
				       "-E",
				       "packed_meta_blocks=1,num_backup_sb=0",
				       f->from,
				       "128M",
				       NULL };
	const char *const check[] = { "e2fsck", "-fn", f->to, NULL };
	struct clone_result r;
	struct err e = ERR_INIT;

	if (run(mke2fs) != 0) {
		print_message("SKIP mke2fs does not work here\n");
		skip();
	}
	/* As publishing does: the hole at the end is not stored. */
	assert_int_equal(truncate(f->from, 32 * MIB), 0);
	assert_int_equal(image_clone(f->from, f->to, 0, true, &r, &e), 0);
	assert_int_equal(r.size_bytes, 128 * MIB);
	assert_false(r.grown);
	assert_int_equal(run(check), 0);
	assert_int_equal(unlink(f->to), 0);

	assert_true(image_clone(f->from, f->to, 64 * MIB, true, &r, &e) < 0);
	assert_string_equal(e.code, "disk_too_small");

	assert_int_equal(image_clone(f->from, f->to, 400 * MIB, true, &r, &e),
			 0);
	assert_int_equal(r.size_bytes, 400 * MIB);
	assert_true(r.grown);
	assert_int_equal(run(check), 0);
}

static void test_clone_disk_full_leaves_nothing(void **state)
{
	struct fixture *f = *state;
	char small[80], to[96];
	struct clone_result r;
	struct err e = ERR_INIT;
	char *block = malloc(8 * MIB + 1);
	int rc;

	assert_non_null(block);
	memset(block, 'x', 8 * MIB);
	block[8 * MIB] = '\0';
	write_at(f->from, 8 * MIB, 0, block);
	free(block);
	(void)snprintf(small, sizeof(small), "%s/small", f->dir);
	(void)snprintf(to, sizeof(to), "%s/disk", small);
	assert_int_equal(mkdir(small, 0700), 0);
	if (mount("tmpfs", small, "tmpfs", MS_NODEV, "size=4m") < 0) {
		print_message("SKIP a small tmpfs needs root\n");
		skip();
	}
	rc = image_clone(f->from, to, 0, true, &r, &e);
	if (rc >= 0 || access(to, F_OK) == 0 || e.kind != ERR_NO_SPACE) {
		(void)umount(small);
		fail_msg("rc %d, kind %d: %s", rc, (int)e.kind, e.msg);
	}
	assert_int_equal(umount(small), 0);
	assert_string_equal(e.code, "disk_full");
	assert_non_null(strstr(e.msg, "8 MiB"));
	assert_non_null(strstr(e.msg, "4 MiB are free"));
}

#define CLONE_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CLONE_TEST(test_clone_keeps_content_and_holes),
		CLONE_TEST(test_clone_sizes),
		CLONE_TEST(test_clone_refuses_existing_target_and_odd_source),
		CLONE_TEST(test_clone_brings_the_cut_disk_back_and_grows_it),
		CLONE_TEST(test_clone_disk_full_leaves_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
