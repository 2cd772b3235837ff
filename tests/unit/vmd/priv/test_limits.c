/* SPDX-License-Identifier: Apache-2.0 */
/* vmd/priv/limits.c: what follows from the size of a VM; and what is told where
 * there are no cgroups. */
#include "tests/unit/test.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "tests/unit/tmpdir.h"
#include "vmd/priv/limits.h"
#include "vmd/priv/privops.h"

#define MIB (UINT64_C(1) << 20)

static void test_limits_follow_from_the_vm(void **state)
{
	struct vm_launch small = { .vcpus = 1, .memory_bytes = 256 * MIB };
	struct vm_launch large = { .vcpus = 8,
				   .memory_bytes = 8192 * MIB,
				   .network = true };
	struct cgroup_limits l;

	(void)state;
	limits_of(&small, PRIV_ROLE_MONITOR, true, &l);
	assert_int_equal(l.memory_max, (256 + 4 + 32 + 2 + 64) * MIB);
	assert_int_equal(l.memory_high, l.memory_max - 16 * MIB);
	assert_int_equal(l.swap_max, 256 * MIB);
	assert_int_equal(l.pids_max, 49);
	assert_int_equal(l.cpu_percent, 200);
	limits_of(&large, PRIV_ROLE_QEMU, true, &l);
	assert_int_equal(l.memory_max,
			 (8192 + 128 + 128 + 8 * 4 + 96 + 64) * MIB);
	assert_int_equal(l.pids_max, 136);
	assert_int_equal(l.cpu_percent, 900);
	limits_of(&large, PRIV_ROLE_QEMU, false, &l);
	assert_int_equal(l.memory_max,
			 (8192 + 128 + 448 + 8 * 64 + 96 + 64) * MIB);
}

/* Its pages cannot be taken back: they are not beside what is allowed. */
static void test_a_disk_in_memory_counts_whole(void **state)
{
	struct tmpdir *t = *state;
	struct vm_launch launch = { .vcpus = 1, .memory_bytes = 128 * MIB };
	struct cgroup_limits without, with;
	char disk[64];
	struct statfs fs;
	int fd;

	limits_of(&launch, PRIV_ROLE_MONITOR, true, &without);
	(void)snprintf(disk, sizeof(disk), "/dev/shm/vmd-test-%d", getpid());
	fd = open(disk, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0 || fstatfs(fd, &fs) < 0 || fs.f_type != TMPFS_MAGIC) {
		print_message("SKIP: /dev/shm is no tmpfs\n");
	} else {
		assert_int_equal(ftruncate(fd, 500 * (off_t)MIB), 0);
		launch.root_path = disk;
		limits_of(&launch, PRIV_ROLE_MONITOR, true, &with);
		assert_int_equal(with.memory_max,
				 without.memory_max + 500 * MIB);
	}
	(void)close(fd);
	(void)unlink(disk);
	if (fstatfs(t->fd, &fs) < 0 || fs.f_type == TMPFS_MAGIC) {
		print_message("SKIP: /tmp is in memory\n");
		return;
	}
	tmpdir_put(t, "disk", "a disk", 0600);
	(void)snprintf(disk, sizeof(disk), "%s/disk", t->path);
	launch.root_path = disk;
	limits_of(&launch, PRIV_ROLE_MONITOR, true, &with);
	assert_int_equal(with.memory_max, without.memory_max);
	launch.root_path = "/nowhere/at/all";
	limits_of(&launch, PRIV_ROLE_MONITOR, true, &with);
	assert_int_equal(with.memory_max, without.memory_max);
}

/* What vmd says of its own cgroups: always something, and a remedy with it where
 * limits are missing for want of a tree. */
static void test_status_always_says_something(void **state)
{
	struct tmpdir *t = *state;
	const char *text = NULL, *fix = NULL;
	bool limited;

	privops_within(t->fd, NULL, 1 << 20);
	privops_cgroups_open();
	limited = privops_cgroups(&text, &fix);
	print_message("%d: %s (%s)\n", limited, text, fix);
	assert_true(text[0] != '\0');
	if (limited)
		assert_memory_equal(text, "limits of memory, pids, cpu by ",
				    strlen("limits of memory, pids, cpu by "));
	privops_cgroups_close();
	privops_within(-1, NULL, 1 << 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_limits_follow_from_the_vm),
		TMPDIR_TEST(test_a_disk_in_memory_counts_whole),
		TMPDIR_TEST(test_status_always_says_something),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
