/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the host or an image makes impossible: another processor, a full disk,
 * no processes. It is refused in its own words and leaves nothing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/json.h"
#include "base/process.h"
#include "rig.h"
#include "vmd/store/store_sql.h"

static void put_file(const char *path, const void *data, size_t len)
{
	AUTO(fd)
	int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(file_write_full(fd, data, len), 0);
}

/* Makes the image "other": tiny with another arch or (head) another kernel. */
static void make_other(struct rig *r, const char *arch, const uint8_t *head)
{
	AUTO(json) json_t *manifest = NULL;
	AUTO(free) char *text = NULL;
	struct image image;
	struct err e = ERR_INIT;
	char path[256];

	assert_int_equal(image_store_get(r->d.images, "tiny", &image, &e), 0);
	(void)strcpy(image.name, "other");
	(void)strcpy(image.arch, arch);
	if (head) {
		memset(image.kernel.digest, 'a', IMAGE_DIGEST_LEN);
		image.kernel.size_bytes = 64;
		(void)snprintf(path, sizeof(path), "%s/images/blobs/sha256/%s",
			       r->state, image.kernel.digest);
		put_file(path, head, 64);
	}
	manifest = image_to_json(&image);
	text = json_to_text(manifest);
	(void)snprintf(path, sizeof(path), "%s/images/manifests/other.json",
		       r->state);
	put_file(path, text, strlen(text));
}

static void assert_other_refused(struct rig *r, const char *arch)
{
	static const char *const engines_asked[] = { "auto", "microvm",
						     "qemu" };

	for (size_t i = 0; i < ARRAY_LEN(engines_asked); i++) {
		char body[96];
		struct answer a;

		(void)snprintf(body, sizeof(body),
			       "{\"image\":\"other\",\"engine\":\"%s\"}",
			       engines_asked[i]);
		rig_call(r, "POST", "/v1/vms?wait=5", "", body, &a);
		assert_int_equal(a.status, 422);
		assert_string_equal(answer_code(&a), "kernel_wrong_arch");
		assert_non_null(strstr(answer_text(&a, "detail"), arch));
		answer_done(&a);
	}
	assert_int_equal(fake_starts, 0);
	rig_assert_nothing_left(r);
}

static void test_other_processor_is_refused(void **state)
{
	static const uint8_t elf[64] = "\177ELF\2\1\1\0\0\0\0\0\0\0\0\0"
				       "\2\0\xb7\0";
	static const uint8_t big[64] = "\177ELF\2\2\1\0\0\0\0\0\0\0\0\0"
				       "\0\2\0\x16";
	static const uint8_t good[64] = "\177ELF\2\1\1\0\0\0\0\0\0\0\0\0"
					"\2\0\x3e\0";
	uint8_t image[64] = "MZ";
	struct rig *r = *state;
	struct answer a;
	char path[256];

	memcpy(image + 56, "ARM\x64", 4);
	make_other(r, "aarch64", NULL);
	assert_other_refused(r, "aarch64");
	make_other(r, "x86_64", elf);
	assert_other_refused(r, "aarch64");
	make_other(r, "x86_64", big);
	assert_other_refused(r, "big-endian");
	make_other(r, "x86_64", image);
	assert_other_refused(r, "aarch64");
	make_other(r, "x86_64", good);
	rig_call(r, "POST", "/v1/vms?wait=5", "",
		 "{\"image\":\"other\",\"name\":\"a\",\"start\":false}", &a);
	assert_string_equal(answer_text(&a, "operation.state"), "succeeded");
	/* Its own kernel is looked at again before each start. */
	(void)snprintf(path, sizeof(path), "%s/vms/%s/kernel", r->state,
		       answer_text(&a, "vm.id"));
	answer_done(&a);
	assert_int_equal(unlink(path), 0);
	put_file(path, elf, sizeof(elf));
	rig_call(r, "POST", "/v1/vms/a/start?wait=5", "", NULL, &a);
	assert_string_equal(answer_text(&a, "error.code"), "kernel_wrong_arch");
	answer_done(&a);
	assert_int_equal(fake_starts, 0);
}

/* The k-th process from now on cannot be started. */
static unsigned spawn_left;
static int spawn_error;

/* What the linker puts in the place of process_spawn(), and what was there.
 * NOLINTBEGIN(bugprone-reserved-identifier) */
int __real_process_spawn(const struct process_spec *spec, struct process *ret,
			 struct err *e);
int __wrap_process_spawn(const struct process_spec *spec, struct process *ret,
			 struct err *e);

int __wrap_process_spawn(const struct process_spec *spec, struct process *ret,
			 struct err *e)
{
	if (spawn_left && --spawn_left == 0)
		return err_sys(e, spawn_error, "starting %s", spec->argv[0]);
	return __real_process_spawn(spec, ret, e);
}
/* NOLINTEND(bugprone-reserved-identifier) */

static void assert_no_child(struct rig *r)
{
	siginfo_t info = { 0 };

	RIG_UNTIL(r, rig_swept(r));
	assert_int_equal(waitid(P_ALL, 0, &info, WEXITED | WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
}

static void create_without_process(struct rig *r, unsigned k, const char *extra)
{
	char body[128];
	struct answer a;

	(void)snprintf(body, sizeof(body),
		       "{\"image\":\"disk\",\"name\":\"a\"%s}", extra);
	RIG_UNTIL(r, rig_swept(r));
	spawn_left = k;
	rig_call(r, "POST", "/v1/vms?wait=10", "", body, &a);
	assert_int_equal(spawn_left, 0);
	assert_string_equal(answer_text(&a, "operation.state"), "failed");
	assert_non_null(strstr(answer_text(&a, "operation.error.detail"),
			       strerror(spawn_error)));
	answer_done(&a);
	assert_int_equal(memory_promised(&r->d, NULL), 0);
	assert_int_equal(fake_running(), 0);
}

static void test_no_process_can_be_started(void **state)
{
	static const int errors[] = { EAGAIN, ENOMEM, ENOENT };
	struct rig *r = *state;

	RIG_UNTIL(r, rig_swept(r));
	for (size_t i = 0; i < ARRAY_LEN(errors); i++) {
		spawn_error = errors[i];
		/* First the clone, then the engine's. */
		for (unsigned k = 1; k <= 2; k++) {
			create_without_process(r, k, ",\"ephemeral\":true");
			rig_assert_nothing_left(r);
			create_without_process(r, k, "");
			rig_expect(r, "GET", "/v1/vms/a", NULL, "state",
				   "failed");
			RIG_UNTIL(r, rig_swept(r));
			spawn_left = 1; /* one that is there cannot start */
			rig_expect(r, "POST", "/v1/vms/a/start?wait=5", NULL,
				   "state", "failed");
			assert_int_equal(memory_promised(&r->d, NULL), 0);
			rig_expect(r, "DELETE", "/v1/vms/a?wait=5", NULL,
				   "state", "succeeded");
			rig_assert_nothing_left(r);
		}
	}
	assert_no_child(r);
}

/* The process runs, its journal row cannot be written: it ends and is reaped. */
static void refuse_task_rows(struct rig *r, bool refuse)
{
	char sql[160];

	(void)snprintf(sql, sizeof(sql),
		       refuse ? "CREATE TEMP TRIGGER refuse BEFORE INSERT ON "
				"journal WHEN new.kind=%d BEGIN "
				"SELECT RAISE(ABORT,'refused'); END"
			      : "DROP TRIGGER refuse -- %d",
		       JOURNAL_TASK);
	assert_int_equal(sqlite3_exec(r->d.store->db, sql, NULL, NULL, NULL),
			 SQLITE_OK);
}

static void test_child_that_is_not_journalled_is_reaped(void **state)
{
	struct rig *r = *state;
	struct answer a;

	RIG_UNTIL(r, rig_swept(r));
	refuse_task_rows(r, true);
	rig_call(r, "POST", "/v1/vms?wait=10", "",
		 "{\"image\":\"disk\",\"ephemeral\":true}", &a);
	assert_string_equal(answer_text(&a, "operation.state"), "failed");
	answer_done(&a);
	refuse_task_rows(r, false);
	RIG_UNTIL(r, LIST_EMPTY(&r->d.retired_tasks));
	assert_no_child(r);
	rig_assert_nothing_left(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(test_other_processor_is_refused),
		RIG_TEST(test_no_process_can_be_started),
		RIG_TEST(test_child_that_is_not_journalled_is_reaped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
