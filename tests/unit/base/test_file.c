/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/tmpdir.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"

static void test_file_replace_is_whole_and_leaves_no_rest(void **state)
{
	struct tmpdir *f = *state;
	AUTO(free) char *data = NULL;
	size_t len = 0;
	struct stat st;

	assert_int_equal(file_replace(f->fd, "x", "one", 3, 0600, NULL), 0);
	assert_int_equal(file_replace(f->fd, "x", "twotwo", 6, 0640, NULL), 0);
	assert_int_equal(file_read(f->fd, "x", 100, &data, &len, NULL), 0);
	assert_int_equal(len, 6);
	assert_string_equal(data, "twotwo");
	assert_int_equal(fstatat(f->fd, "x", &st, 0), 0);
	assert_int_equal(st.st_mode & 0777, 0640);
	assert_int_equal(unlinkat(f->fd, "x", 0), 0);
	/* The directory is empty: no temporary file stayed. */
	assert_int_equal(rmdir(f->path), 0);
	assert_int_equal(mkdir(f->path, 0700), 0);
}

static void test_file_read_refuses_large_and_odd_files(void **state)
{
	struct tmpdir *f = *state;
	AUTO(free) char *data = NULL;
	size_t len = 0;
	struct err e = ERR_INIT;

	assert_int_equal(file_replace(f->fd, "x", "12345", 5, 0600, NULL), 0);
	assert_int_equal(file_read(f->fd, "x", 4, &data, &len, &e), -EFBIG);
	assert_true(file_read(f->fd, ".", 4, &data, &len, &e) < 0);
	assert_int_equal(mkfifoat(f->fd, "fifo", 0600), 0);
	assert_true(file_read(f->fd, "fifo", 4, &data, &len, &e) < 0);
	assert_int_equal(file_read(f->fd, "gone", 4, &data, &len, &e), -ENOENT);
	assert_null(data);
}

/* Neither waits for the other end of a FIFO nor takes what it cannot use. */
static void test_file_open_takes_only_the_kinds_asked_for(void **state)
{
	struct tmpdir *f = *state;
	const char *why = NULL;
	AUTO(fd) int reader = -1;
	AUTO(fd) int fifo = -1;

	assert_int_equal(mkfifoat(f->fd, "p", 0600), 0);
	assert_int_equal(file_open(f->fd, "p", O_RDONLY, 0, FILE_REGULAR, &why),
			 -EINVAL);
	assert_string_equal(why, "it is a FIFO");
	assert_int_equal(file_open(f->fd, "p", O_WRONLY, 0, FILE_FIFO, &why),
			 -ENXIO);
	assert_int_equal(file_open(f->fd, ".", O_RDONLY, 0, FILE_REGULAR, &why),
			 -EISDIR);
	assert_int_equal(file_open(f->fd, "/dev/null", O_RDONLY, 0,
				   FILE_REGULAR | FILE_BLOCK, &why),
			 -EINVAL);
	assert_string_equal(why, "it is a character device");
	assert_int_equal(file_open(f->fd, "no", O_RDONLY, 0, FILE_REGULAR,
				   &why),
			 -ENOENT);
	assert_string_equal(why, strerror(ENOENT));
	reader = file_open(f->fd, "p", O_RDONLY, 0, FILE_FIFO, &why);
	assert_true(reader >= 0);
	fifo = file_open(f->fd, "p", O_WRONLY, 0, FILE_FIFO, &why);
	assert_true(fifo >= 0 && (fcntl(fifo, F_GETFL) & O_NONBLOCK));
}

static void test_file_open_makes_files_with_their_mode(void **state)
{
	struct tmpdir *f = *state;
	const char *why = NULL;
	mode_t mask = umask(0);
	AUTO(fd)
	int fd = file_open(f->fd, "new", O_RDWR | O_CREAT, 0640, FILE_REGULAR,
			   &why);
	struct stat st;

	(void)umask(mask);
	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
	assert_false(fcntl(fd, F_GETFL) & O_NONBLOCK);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
}

static void test_file_remove_tree_does_not_follow_links(void **state)
{
	struct tmpdir *f = *state;
	char path[128];

	assert_int_equal(mkdirat(f->fd, "keep", 0700), 0);
	assert_int_equal(file_replace(f->fd, "keep/x", "1", 1, 0600, NULL), 0);
	(void)snprintf(path, sizeof(path), "%s/gone/a/b/c", f->path);
	assert_int_equal(file_make_dirs(path, 0700, NULL), 0);
	assert_int_equal(symlinkat("../../keep", f->fd, "gone/a/link"), 0);
	assert_int_equal(file_replace(f->fd, "gone/a/b/f", "1", 1, 0600, NULL),
			 0);
	assert_int_equal(file_remove_tree(f->fd, "gone", NULL), 0);
	assert_int_equal(faccessat(f->fd, "gone", F_OK, 0), -1);
	assert_int_equal(faccessat(f->fd, "keep/x", F_OK, 0), 0);
	assert_int_equal(file_remove_tree(f->fd, "never-there", NULL), 0);
}

static void test_file_copy_sparse_keeps_content_and_holes(void **state)
{
	struct tmpdir *f = *state;
	AUTO(fd) int src = openat(f->fd, "s", O_RDWR | O_CREAT, 0600);
	AUTO(fd) int dst = openat(f->fd, "d", O_RDWR | O_CREAT, 0600);
	char got[4] = "";
	struct stat st;

	assert_int_equal(ftruncate(src, 64 << 20), 0);
	assert_int_equal(file_pwrite_full(src, "aaaa", 4, 0), 0);
	assert_int_equal(file_pwrite_full(src, "bbbb", 4, 33 << 20), 0);
	assert_int_equal(file_copy_sparse(src, dst, NULL), 0);
	assert_int_equal(fstat(dst, &st), 0);
	assert_int_equal(st.st_size, 64 << 20);
	assert_true(st.st_blocks * 512 < 1 << 20);
	assert_int_equal(file_pread_full(dst, got, 4, 33 << 20), 0);
	assert_memory_equal(got, "bbbb", 4);
	assert_int_equal(file_pread_full(dst, got, 4, (64 << 20) - 2), -EPIPE);
}

static void test_file_write_reports_full_disk(void **state)
{
	AUTO(fd) int full = open("/dev/full", O_WRONLY | O_CLOEXEC);

	(void)state;
	assert_true(full >= 0);
	assert_int_equal(file_write_full(full, "x", 1), -ENOSPC);
}

static void test_file_open_standard(void **state)
{
	pid_t child = fork();
	int status;

	(void)state;
	assert_true(child >= 0);
	if (child == 0) {
		char byte;
		bool ok;

		(void)close(0);
		(void)close(1);
		ok = file_open_standard() == 0 && read(0, &byte, 1) == 0 &&
		     write(1, "x", 1) < 0 && errno == EBADF;
		_exit(ok && fcntl(2, F_GETFD) >= 0 ? 0 : 1);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TMPDIR_TEST(test_file_replace_is_whole_and_leaves_no_rest),
		TMPDIR_TEST(test_file_read_refuses_large_and_odd_files),
		TMPDIR_TEST(test_file_open_takes_only_the_kinds_asked_for),
		TMPDIR_TEST(test_file_open_makes_files_with_their_mode),
		TMPDIR_TEST(test_file_remove_tree_does_not_follow_links),
		TMPDIR_TEST(test_file_copy_sparse_keeps_content_and_holes),
		TMPDIR_TEST(test_file_write_reports_full_disk),
		cmocka_unit_test(test_file_open_standard),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
