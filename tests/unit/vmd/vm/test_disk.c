/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk that fills up in the middle of a build or of the making of a VM, with
 * the real vmd-image on a small file system: it is said, nothing is left, the
 * daemon goes on serving, and works again when there is space.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "rig.h"
#include "tests/unit/namespaces.h"

#define RECIPE "#!/bin/sh\n# summary: a test\n"

enum {
	SKIPPED = 77
};

static void run(const char *command)
{
	if (system(command) != 0) /* NOLINT(cert-env33-c) */
		fail_msg("%s", command);
}

static void make_programs(struct rig *r)
{
	char text[512];

	(void)snprintf(text, sizeof(text), "mkdir -m 755 %s/recipes", r->dir);
	run(text);
	rig_file(r, "recipes/lib.sh", "");
	rig_file(r, "recipes/debian",
		 RECIPE "exec head -c 100000000 /dev/zero >big\n");
	rig_file(r, "recipes/tiny",
		 RECIPE "echo kernel >k\n"
			"head -c 2000000 /dev/urandom >r\ntruncate -s 4M r\n"
			"echo 'artifact: kernel k' >&3\n"
			"echo 'artifact: root r' >&3\n"
			"echo 'set: kernel_release 6.1' >&3\n"
			"echo 'set: kernel_format elf' >&3\n");
	/* Somebody else fills the disk just when the clone begins. */
	(void)snprintf(text, sizeof(text),
		       "#!/bin/sh\nexport VMD_RECIPES=%s/recipes\n"
		       "[ \"$1\" = clone ] && [ -e %s/fill ] && "
		       "head -c 100000000 /dev/zero >%s/filler 2>/dev/null\n"
		       "exec %s \"$@\"\n",
		       r->dir, r->dir, r->state, getenv("VMD_IMAGE_PROGRAM"));
	rig_file(r, "vmd-image", text);
	(void)snprintf(text, sizeof(text),
		       "chmod 755 %s/vmd-image %s/recipes/*", r->dir, r->dir);
	run(text);
}

static int setup(void **state)
{
	char command[512];
	struct rig *r;

	(void)rig_setup(state);
	r = *state;
	rig_drop(r);
	assert_int_equal(mount("none", r->state, "tmpfs", 0, "size=8m"), 0);
	(void)snprintf(command, sizeof(command), "mkdir -p %s/images",
		       r->state);
	run(command);
	make_programs(r);
	rig_start(r);
	return 0;
}

static int teardown(void **state)
{
	struct rig *r = *state;

	rig_drop(r);
	/* With what a test has mounted in it. */
	assert_int_equal(umount2(r->state, MNT_DETACH), 0);
	return rig_teardown(state);
}

static uint64_t free_bytes(const struct rig *r)
{
	struct statvfs v;

	assert_int_equal(statvfs(r->state, &v), 0);
	return (uint64_t)v.f_bfree * v.f_frsize;
}

static void build_good(struct rig *r)
{
	rig_expect(r, "POST", "/v1/images?wait=20",
		   "{\"name\":\"good\",\"recipe\":\"tiny\"}", "state",
		   "succeeded");
}

static void make_space(struct rig *r)
{
	char path[160];

	(void)snprintf(path, sizeof(path), "%s/filler", r->state);
	assert_int_equal(unlink(path), 0);
	(void)snprintf(path, sizeof(path), "%s/fill", r->dir);
	assert_int_equal(unlink(path), 0);
}

static void test_full_disk_during_a_build(void **state)
{
	struct rig *r = *state;
	uint64_t before;
	struct answer a;

	RIG_UNTIL(r, rig_swept(r));
	before = free_bytes(r);
	rig_call(r, "POST", "/v1/images?wait=20", "",
		 "{\"name\":\"big\",\"recipe\":\"debian\"}", &a);
	assert_string_equal(answer_text(&a, "state"), "failed");
	assert_string_equal(answer_text(&a, "error.code"), "disk_full");
	answer_done(&a);
	RIG_UNTIL(r, rig_swept(r));
	assert_int_equal(rig_entries(r, "state/images/staging"), 0);
	assert_int_equal(rig_entries(r, "state/images/blobs/sha256"), 0);
	assert_int_equal(rig_rows(r, "SELECT count(*) FROM journal"), 0);
	assert_true(free_bytes(r) + (1 << 20) > before);
	build_good(r);
}

/* "extra" of the VM whose disk does not fit. */
static void create_fails(struct rig *r, const char *extra)
{
	char body[128];
	struct answer a;

	(void)snprintf(body, sizeof(body),
		       "{\"image\":\"good\",\"name\":\"a\"%s}", extra);
	rig_file(r, "fill", "");
	rig_call(r, "POST", "/v1/vms?wait=20", "", body, &a);
	assert_string_equal(answer_text(&a, "operation.state"), "failed");
	assert_string_equal(answer_text(&a, "operation.error.code"),
			    "disk_full");
	answer_done(&a);
	assert_true(free_bytes(r) < 65536); /* but for small files of the VM */
	/* It serves, and says the same to the next one. */
	rig_call(r, "POST", "/v1/vms?wait=20", "",
		 "{\"image\":\"good\",\"name\":\"b\"}", &a);
	assert_int_equal(a.status, 507);
	assert_string_equal(answer_code(&a), "disk_full");
	answer_done(&a);
	rig_expect(r, "GET", "/v1/images/good", NULL, "name", "good");
}

static void create_works(struct rig *r)
{
	struct answer a;

	rig_call(r, "POST", "/v1/vms?wait=20", "",
		 "{\"image\":\"good\",\"name\":\"a\"}", &a);
	assert_string_equal(answer_text(&a, "vm.state"), "ready");
	answer_done(&a);
	rig_expect(r, "DELETE", "/v1/vms/a?force=true&wait=5", NULL, "state",
		   "succeeded");
	rig_assert_nothing_left(r);
}

static void test_full_disk_during_a_create(void **state)
{
	struct rig *r = *state;

	build_good(r);
	create_fails(r, "");
	rig_expect(r, "GET", "/v1/vms/a", NULL, "state", "failed");
	rig_expect(r, "GET", "/v1/vms/a", NULL, "error.code", "disk_full");
	make_space(r);
	rig_expect(r, "DELETE", "/v1/vms/a?wait=5", NULL, "state", "succeeded");
	/* What could not be written was to be tried again. */
	RIG_UNTIL(r, rig_rows(r, "SELECT count(*) FROM journal") == 0);
	rig_assert_nothing_left(r);
	create_works(r);
}

/* Nobody would remove it: it goes by itself. */
static void test_full_disk_leaves_no_ephemeral_vm(void **state)
{
	struct rig *r = *state;

	build_good(r);
	create_fails(r, ",\"ephemeral\":true");
	make_space(r);
	RIG_UNTIL(r, r->d.vm_count == 0 &&
			     rig_rows(r, "SELECT count(*) FROM journal") == 0);
	rig_assert_nothing_left(r);
	create_works(r);
}

/* Images on another file system: kernel and initrd cannot be linked. */
static void test_images_on_another_file_system(void **state)
{
	struct rig *r = *state;
	char path[160], kernel[160];
	struct stat st, blob;
	struct answer a;

	rig_drop(r);
	(void)snprintf(path, sizeof(path), "%s/images", r->state);
	assert_int_equal(mount("none", path, "tmpfs", 0, "size=8m"), 0);
	rig_start(r);
	build_good(r);
	rig_call(r, "POST", "/v1/vms?wait=20", "",
		 "{\"image\":\"good\",\"name\":\"a\"}", &a);
	assert_string_equal(answer_text(&a, "vm.state"), "ready");
	(void)snprintf(kernel, sizeof(kernel), "%s/vms/%s/kernel", r->state,
		       answer_text(&a, "vm.id"));
	answer_done(&a);
	assert_int_equal(stat(kernel, &st), 0);
	assert_int_equal(stat(path, &blob), 0);
	assert_true(st.st_dev != blob.st_dev);
	assert_int_equal(st.st_size, 7); /* "kernel\n" */
	assert_int_equal(st.st_mode & 0777, 0444);
	rig_expect(r, "DELETE", "/v1/vms/a?force=true&wait=5", NULL, "state",
		   "succeeded");
	rig_assert_nothing_left(r);
}

#define DISK_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		DISK_TEST(test_full_disk_during_a_build),
		DISK_TEST(test_full_disk_during_a_create),
		DISK_TEST(test_full_disk_leaves_no_ephemeral_vm),
		DISK_TEST(test_images_on_another_file_system),
	};

	if (!namespaces_enter_mounts()) {
		printf("SKIP a small file system needs a mount namespace\n");
		return SKIPPED;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
