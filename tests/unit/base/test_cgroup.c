/* SPDX-License-Identifier: Apache-2.0 */
/*
 * base/cgroup.c: on a directory with files of the kernel's names, and, for root
 * where there is a tree, on real groups (without controllers, if need be).
 */
#include "tests/unit/test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cgroup.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/process.h"
#include "tests/unit/tmpdir.h"
#include "tests/unit/until.h"

static void put(const struct tmpdir *t, const char *name, const char *text)
{
	tmpdir_put(t, name, text, 0600);
}

static void expect(const struct tmpdir *t, const char *name, const char *want)
{
	AUTO(free) char *text = NULL;
	size_t len;

	assert_int_equal(file_read(t->fd, name, 4096, &text, &len, NULL), 0);
	assert_string_equal(text, want);
}

static const struct cgroup_limits limits = { .memory_max = 300 << 20,
					     .memory_high = 200 << 20,
					     .swap_max = 0,
					     .pids_max = 49,
					     .cpu_percent = 250 };

static void all_files(const struct tmpdir *t)
{
	static const char *const names[] = { "memory.oom.group", "memory.high",
					     "memory.swap.max",	 "memory.max",
					     "pids.max",	 "cpu.max" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		put(t, names[i], "");
}

static void test_limit_writes_every_file(void **state)
{
	struct tmpdir *t = *state;

	all_files(t);
	assert_int_equal(cgroup_limit(t->fd, CGROUP_LIMITING, &limits, NULL),
			 0);
	expect(t, "memory.oom.group", "1");
	expect(t, "memory.high", "209715200");
	expect(t, "memory.max", "314572800");
	expect(t, "memory.swap.max", "0");
	expect(t, "pids.max", "49");
	expect(t, "cpu.max", "250000 100000");
}

static void test_limit_without_a_controller_leaves_its_files(void **state)
{
	struct tmpdir *t = *state;

	all_files(t);
	assert_int_equal(cgroup_limit(t->fd, CGROUP_PIDS, &limits, NULL), 0);
	expect(t, "memory.max", "");
	expect(t, "cpu.max", "");
	expect(t, "pids.max", "49");
}

static void test_limit_of_a_kernel_without_swap_is_no_error(void **state)
{
	struct tmpdir *t = *state;

	all_files(t);
	assert_int_equal(unlinkat(t->fd, "memory.swap.max", 0), 0);
	assert_int_equal(cgroup_limit(t->fd, CGROUP_LIMITING, &limits, NULL),
			 0);
}

static void test_limit_that_cannot_be_set_is_named(void **state)
{
	static const char *const names[] = { "memory.oom.group", "memory.high",
					     "memory.max", "pids.max",
					     "cpu.max" };
	struct tmpdir *t = *state;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct err e = ERR_INIT;

		all_files(t);
		assert_int_equal(unlinkat(t->fd, names[i], 0), 0);
		assert_int_equal(cgroup_limit(t->fd, CGROUP_LIMITING, &limits,
					      &e),
				 -ENOENT);
		assert_non_null(strstr(e.msg, names[i]));
	}
}

static void test_available_takes_whole_words(void **state)
{
	struct tmpdir *t = *state;
	char text[32];

	put(t, "cgroup.controllers", "cpuset cpu io memory hugetlb pids\n");
	assert_int_equal(cgroup_available(t->fd), CGROUP_LIMITING | CGROUP_IO);
	put(t, "cgroup.controllers", "cpuset hugetlb\n");
	assert_int_equal(cgroup_available(t->fd), 0);
	put(t, "cgroup.controllers", "");
	assert_int_equal(cgroup_available(t->fd), 0);
	assert_int_equal(unlinkat(t->fd, "cgroup.controllers", 0), 0);
	assert_int_equal(cgroup_available(t->fd), 0);
	assert_string_equal(cgroup_names(CGROUP_PIDS | CGROUP_MEMORY, text),
			    "memory, pids");
	assert_string_equal(cgroup_names(0, text), "");
}

static void test_oom_counts_are_read_by_name(void **state)
{
	struct tmpdir *t = *state;
	struct cgroup_oom oom;

	put(t, "memory.events",
	    "low 0\nhigh 5\nmax 9\noom 3\noom_kill 4\noom_group_kill 1\n");
	cgroup_oom(t->fd, &oom);
	assert_int_equal(oom.limit, 3);
	assert_int_equal(oom.killed, 4);
	put(t, "memory.events", "oom_kill");
	cgroup_oom(t->fd, &oom);
	assert_int_equal(oom.limit, 0);
	assert_int_equal(oom.killed, 0);
	assert_int_equal(unlinkat(t->fd, "memory.events", 0), 0);
	cgroup_oom(t->fd, &oom);
	assert_int_equal(oom.killed, 0);
}

/* --- real groups --- */

/* A directory of the real tree for this test: its descriptor, or -1. */
static int real_base(char path[static PATH_MAX])
{
	char mount[PATH_MAX], root[PATH_MAX];

	if (cgroup_mount(mount, root) < 0) {
		print_message("SKIP: no cgroup v2 on this host\n");
		return -1;
	}
	(void)snprintf(path, PATH_MAX, "%.4000s/vmd-unit-%d", mount, getpid());
	if (mkdir(path, 0755) < 0) {
		print_message("SKIP: %s: %s\n", path, strerror(errno));
		return -1;
	}
	return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static void test_spawn_into_a_group_kill_and_removal(void **state)
{
	const char *argv[] = { "sh", "-c", "cat /proc/self/cgroup; sleep 100",
			       NULL };
	char path[PATH_MAX], want[PATH_MAX + 16], text[1024] = "";
	AUTO(fd) int base = real_base(path);
	struct process p = PROCESS_INIT;
	AUTO(fd) int fd = -1;
	struct process_exit x;
	int out[2], rc;

	(void)state;
	if (base < 0)
		skip();
	assert_int_equal(cgroup_make(base, "one", 0, &limits, &fd, NULL), 0);
	assert_int_equal(cgroup_make(base, "one", 0, &limits, &rc, NULL),
			 -EEXIST);
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	const struct process_fd fds[] = { { out[1], 1 } };
	const struct process_spec spec = {
		.argv = argv, .fds = fds, .fd_count = 1, .cgroup_fd = fd
	};

	assert_int_equal(process_spawn(&spec, &p, NULL), 0);
	(void)close(out[1]);
	for (size_t n = 0; !strstr(text, "0::/"); n = strlen(text))
		assert_true(read(out[0], text + n, sizeof(text) - 1 - n) > 0);
	(void)close(out[0]);
	(void)snprintf(want, sizeof(want), "/%s/one\n", strrchr(path, '/') + 1);
	assert_non_null(strstr(text, want));
	/* It is killed, and gone as soon as that is over. */
	UNTIL(20000, (rc = cgroup_remove(base, "one")) != -EBUSY,
	      (void)usleep(1000));
	assert_int_equal(rc, 0);
	assert_int_equal(process_wait(&p, 20000, &x), 0);
	assert_int_equal(x.signal, SIGKILL);
	process_close(&p);
	assert_int_equal(faccessat(base, "one", F_OK, 0), -1);
	assert_int_equal(cgroup_remove(base, "one"), 0);
	assert_int_equal(rmdir(path), 0);
}

static void test_remove_takes_groups_that_were_made_in_it(void **state)
{
	char path[PATH_MAX];
	AUTO(fd) int base = real_base(path);
	AUTO(fd) int fd = -1;

	(void)state;
	if (base < 0)
		skip();
	assert_int_equal(cgroup_make(base, "one", 0, &limits, &fd, NULL), 0);
	assert_int_equal(mkdirat(fd, "a", 0755), 0);
	assert_int_equal(mkdirat(fd, "a/b", 0755), 0);
	assert_int_equal(mkdirat(fd, "c", 0755), 0);
	assert_int_equal(cgroup_remove(base, "one"), 0);
	assert_int_equal(rmdir(path), 0);
}

static void test_make_whose_limits_cannot_be_set_leaves_nothing(void **state)
{
	char path[PATH_MAX];
	AUTO(fd) int base = real_base(path);
	struct err e = ERR_INIT;
	int fd = -1;

	(void)state;
	if (base < 0)
		skip();
	/* No controller was handed down to this one. */
	assert_int_equal(cgroup_make(base, "one", CGROUP_MEMORY, &limits, &fd,
				     &e),
			 -ENOENT);
	assert_non_null(strstr(e.msg, "memory.oom.group"));
	assert_int_equal(fd, -1);
	assert_int_equal(rmdir(path), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TMPDIR_TEST(test_limit_writes_every_file),
		TMPDIR_TEST(test_limit_without_a_controller_leaves_its_files),
		TMPDIR_TEST(test_limit_of_a_kernel_without_swap_is_no_error),
		TMPDIR_TEST(test_limit_that_cannot_be_set_is_named),
		TMPDIR_TEST(test_available_takes_whole_words),
		TMPDIR_TEST(test_oom_counts_are_read_by_name),
		cmocka_unit_test(test_spawn_into_a_group_kill_and_removal),
		cmocka_unit_test(test_remove_takes_groups_that_were_made_in_it),
		cmocka_unit_test(
			test_make_whose_limits_cannot_be_set_leaves_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
