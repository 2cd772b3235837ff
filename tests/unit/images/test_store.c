/* SPDX-License-Identifier: Apache-2.0 */
#include "store_fixture.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "images/verify.h"

#define KERNEL "hello kernel"

static void expect_get_fails(struct fixture *f, const char *ref,
			     enum err_kind kind, const char *code)
{
	struct err e = ERR_INIT;
	struct image img;

	assert_true(image_store_get(f->store, ref, &img, &e) < 0);
	assert_int_equal(e.kind, kind);
	assert_string_equal(e.code, code);
	assert_true(e.msg[0]);
}

static void blob_name(const struct image_blob *blob, char buf[128])
{
	(void)snprintf(buf, 128, "blobs/sha256/%s", blob->digest);
}

static void test_digest_known_answer(void **state)
{
	char hex[IMAGE_DIGEST_LEN + 1];

	(void)state;
	digest_text("abc", 3, hex); /* FIPS 180-2, appendix B.1 */
	assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223"
				 "b00361a396177a9cb410ff61f20015ad");
	assert_true(digest_hex_ok(hex));
	hex[5] = 'G';
	assert_false(digest_hex_ok(hex));
}

static void test_store_get_by_name_and_id_prefix(void **state)
{
	struct fixture *f = *state;
	struct err e = ERR_INIT;
	struct image made, img;
	char prefix[16] = "";

	fixture_publish(f, "one", KERNEL, NULL, &made);
	assert_int_equal(image_store_get(f->store, "one", &img, &e), 0);
	assert_memory_equal(&img, &made, sizeof(img));
	memcpy(prefix, made.id, 8);
	assert_int_equal(image_store_get(f->store, prefix, &img, &e), 0);
	assert_string_equal(img.name, "one");
	prefix[3] = '\0'; /* too short for the beginning of an id */
	expect_get_fails(f, prefix, ERR_NOT_FOUND, "image_not_found");
	expect_get_fails(f, "two", ERR_NOT_FOUND, "image_not_found");
	expect_get_fails(f, "../manifests/one", ERR_NOT_FOUND,
			 "image_not_found");
	expect_get_fails(f, "", ERR_NOT_FOUND, "image_not_found");
}

static void test_store_blob_missing_or_short_is_corrupt(void **state)
{
	struct fixture *f = *state;
	struct image img;
	char path[128];

	fixture_publish(f, "one", KERNEL, NULL, &img);
	blob_name(&img.kernel, path);
	fixture_write(f, path, "short");
	expect_get_fails(f, "one", ERR_CORRUPT, "image_corrupt");
	assert_int_equal(unlinkat(f->store->blobs_fd, img.kernel.digest, 0), 0);
	expect_get_fails(f, "one", ERR_CORRUPT, "image_corrupt");
	assert_int_equal(symlinkat("/etc/passwd", f->store->blobs_fd,
				   img.kernel.digest),
			 0);
	expect_get_fails(f, "one", ERR_CORRUPT, "image_corrupt");
}

static void test_store_manifest_damaged_is_corrupt_and_removable(void **state)
{
	struct fixture *f = *state;
	AUTO(free) struct image *list = NULL;
	struct err e = ERR_INIT;
	size_t count = 0;

	fixture_publish(f, "good", KERNEL, NULL, NULL);
	fixture_write(f, "manifests/bad.json", "{\"format\":1,");
	fixture_write(f, "manifests/not a name.json", "{}");
	fixture_write(f, "manifests/stray", "{}");
	expect_get_fails(f, "bad", ERR_CORRUPT, "image_corrupt");
	assert_int_equal(image_store_list(f->store, &list, &count, &e), 0);
	assert_int_equal(count, 2);
	assert_string_equal(list[0].name, "bad");
	assert_true(list[0].damaged);
	assert_string_equal(list[1].name, "good");
	assert_false(list[1].damaged);
	/* What "bad" needs is unknown: nothing may be thrown away. */
	fixture_write(f,
		      "blobs/sha256/"
		      "0000000000000000000000000000000000000000"
		      "000000000000000000000000",
		      "x");
	assert_int_equal(image_store_sweep(f->store, &e), 0);
	assert_int_equal(fixture_count(f, "blobs/sha256"), 2);
	assert_int_equal(image_store_remove(f->store, "bad", &e), 0);
	assert_int_equal(image_store_sweep(f->store, &e), 1);
	assert_int_equal(fixture_count(f, "blobs/sha256"), 1);
	assert_int_equal(image_store_remove(f->store, "bad", &e), -2);
	assert_string_equal(e.code, "image_not_found");
}

static void test_store_manifest_of_other_name_or_huge_is_corrupt(void **state)
{
	struct fixture *f = *state;
	char *big = malloc(100001);

	assert_non_null(big);
	memset(big, ' ', 100000);
	big[100000] = '\0';
	fixture_publish(f, "one", KERNEL, NULL, NULL);
	assert_int_equal(linkat(f->store->manifests_fd, "one.json",
				f->store->manifests_fd, "two.json", 0),
			 0);
	expect_get_fails(f, "two", ERR_CORRUPT, "image_corrupt");
	fixture_write(f, "manifests/three.json", big);
	free(big);
	expect_get_fails(f, "three", ERR_CORRUPT, "image_corrupt");
	assert_int_equal(mkdirat(f->store->manifests_fd, "four.json", 0700), 0);
	expect_get_fails(f, "four", ERR_CORRUPT, "image_corrupt");
}

static void test_store_remove_keeps_shared_blobs(void **state)
{
	struct fixture *f = *state;
	struct err e = ERR_INIT;
	struct image one, two;
	char path[128];

	fixture_publish(f, "one", KERNEL, "root one", &one);
	fixture_publish(f, "two", KERNEL, "root two", &two);
	assert_string_equal(one.kernel.digest, two.kernel.digest);
	assert_int_equal(fixture_count(f, "blobs/sha256"), 3);
	assert_int_equal(image_store_remove(f->store, "one", &e), 0);
	assert_int_equal(image_store_sweep(f->store, &e), 1);
	blob_name(&one.kernel, path);
	assert_true(fixture_exists(f, path));
	blob_name(&one.root, path);
	assert_false(fixture_exists(f, path));
	assert_int_equal(image_store_get(f->store, "two", &one, &e), 0);
	assert_int_equal(image_store_remove(f->store, "two", &e), 0);
	assert_int_equal(image_store_sweep(f->store, &e), 2);
	assert_int_equal(fixture_count(f, "blobs/sha256"), 0);
}

/* A disk that lost some bits: building again mends it. */
static void test_store_rebuild_replaces_a_damaged_blob(void **state)
{
	struct fixture *f = *state;
	struct err e = ERR_INIT;
	struct image one, again;
	char path[128], aside[128], text[8] = "";
	int fd;

	fixture_publish(f, "one", KERNEL, "root one", &one);
	blob_name(&one.root, path);
	(void)snprintf(aside, sizeof(aside), "quarantine/%s", one.root.digest);
	fd = openat(f->store->blobs_fd, one.root.digest, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(fchmod(fd, 0600), 0);
	close(fd);
	fd = openat(f->store->blobs_fd, one.root.digest, O_RDWR | O_CLOEXEC);
	assert_int_equal(pwrite(fd, "ROOT", 4, 0), 4); /* the same size */
	close(fd);
	assert_int_equal(image_store_remove(f->store, "one", &e), 0);
	fixture_publish(f, "one", KERNEL, "root one", &again);
	assert_string_equal(again.root.digest, one.root.digest);
	assert_true(fixture_exists(f, aside));
	fd = openat(f->store->blobs_fd, again.root.digest,
		    O_RDONLY | O_CLOEXEC);
	assert_int_equal(pread(fd, text, 4, 0), 4);
	assert_string_equal(text, "root");
	close(fd);
	/* A good one is used again. */
	fixture_publish(f, "two", KERNEL, "root one", &again);
	assert_int_equal(fixture_count(f, "blobs/sha256"), 2);
	assert_int_equal(fixture_count(f, "quarantine"), 1);
}

static void test_store_sweep_during_publish_leaves_blobs_alone(void **state)
{
	struct fixture *f = *state;
	struct err e = ERR_INIT;
	int lock;

	fixture_publish(f, "one", KERNEL, NULL, NULL);
	lock = image_store_lock(f->store, false, &e);
	assert_true(lock >= 0);
	assert_int_equal(image_store_remove(f->store, "one", &e), 0);
	assert_int_equal(image_store_sweep(f->store, &e), 0);
	assert_int_equal(fixture_count(f, "blobs/sha256"), 1);
	(void)close(lock);
	assert_int_equal(image_store_sweep(f->store, &e), 1);
	assert_int_equal(fixture_count(f, "blobs/sha256"), 0);
}

static void test_store_sweep_spares_the_living(void **state)
{
	struct fixture *f = *state;
	struct err e = ERR_INIT;
	int living;

	assert_int_equal(mkdirat(f->store->staging_fd, "living", 0700), 0);
	assert_int_equal(mkdirat(f->store->staging_fd, "dead", 0700), 0);
	fixture_write(f, "staging/dead/file", "x");
	assert_int_equal(symlinkat("/", f->store->staging_fd, "dead/link"), 0);
	fixture_write(f, "staging/stray", "x");
	living = openat(f->store->staging_fd, "living",
			O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(flock(living, LOCK_EX), 0);
	assert_int_equal(image_store_sweep(f->store, &e), 2);
	assert_true(fixture_exists(f, "staging/living"));
	assert_int_equal(fixture_count(f, "staging"), 1);
	(void)close(living);
	assert_int_equal(image_store_sweep(f->store, &e), 1);
	assert_int_equal(fixture_count(f, "staging"), 0);
}

/* A build that has made its directory and not yet locked it. */
static void begin_slowly(struct fixture *f, int told)
{
	int dir = openat(f->store->staging_fd, ".", O_RDONLY | O_DIRECTORY);
	int fd;

	if (dir < 0 || flock(dir, LOCK_SH) < 0 ||
	    mkdirat(dir, "new", 0700) < 0 || write(told, "x", 1) != 1)
		_exit(1);
	(void)usleep(100000); /* a sweep that does not wait is done by then */
	fd = openat(dir, "new", O_RDONLY | O_DIRECTORY);
	if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0 ||
	    flock(dir, LOCK_UN) < 0)
		_exit(2);
	(void)pause();
	_exit(3);
}

static void test_store_sweep_spares_a_build_that_begins(void **state)
{
	struct fixture *f = *state;
	struct err e = ERR_INIT;
	int told[2], status;
	pid_t pid;
	char c;

	assert_int_equal(pipe(told), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		begin_slowly(f, told[1]);
	(void)close(told[1]);
	assert_int_equal(read(told[0], &c, 1), 1);
	assert_int_equal(image_store_sweep(f->store, &e), 0);
	assert_true(fixture_exists(f, "staging/new"));
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(image_store_sweep(f->store, &e), 1);
	(void)close(told[0]);
}

static void test_publish_trims_the_disk_and_refuses_a_taken_name(void **state)
{
	struct fixture *f = *state;
	struct publish p = { .store = f->store };
	struct err e = ERR_INIT;
	struct image img;

	fixture_publish(f, "one", KERNEL, "root", &img);
	assert_int_equal(img.disk_bytes, 1 << 20);
	assert_int_equal(img.root.size_bytes, 4096);

	assert_int_equal(mkdirat(f->store->staging_fd, "b", 0700), 0);
	fixture_write(f, "staging/b/k", "another");
	p.staging_fd = openat(f->store->staging_fd, "b",
			      O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	(void)strcpy(p.files[ARTIFACT_KERNEL], "k");
	assert_true(image_publish(&p, &img, &e) < 0);
	assert_int_equal(e.kind, ERR_CONFLICT);
	assert_string_equal(e.code, "image_exists");
	/* The other image is as it was; the new blob is nobody's. */
	assert_int_equal(image_store_get(f->store, "one", &img, &e), 0);
	assert_int_equal(img.kernel.size_bytes, strlen(KERNEL));
	(void)close(p.staging_fd);
}

static void test_publish_refuses_odd_artifacts(void **state)
{
	static const char *const names[] = { "absent", "empty", "link", "dir",
					     "fifo" };
	struct fixture *f = *state;
	struct publish p = { .store = f->store };

	assert_int_equal(mkdirat(f->store->staging_fd, "b", 0700), 0);
	p.staging_fd = openat(f->store->staging_fd, "b",
			      O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	fixture_write(f, "staging/b/empty", "");
	assert_int_equal(symlinkat("/etc/passwd", p.staging_fd, "link"), 0);
	assert_int_equal(mkdirat(p.staging_fd, "dir", 0700), 0);
	assert_int_equal(mkfifoat(p.staging_fd, "fifo", 0600), 0);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct image img = { .name = "one", .recipe = "tiny" };
		struct err e = ERR_INIT;

		(void)strcpy(p.files[ARTIFACT_KERNEL], names[i]);
		if (image_publish(&p, &img, &e) == 0)
			fail_msg("took %s", names[i]);
		assert_true(e.msg[0]);
	}
	assert_int_equal(fixture_count(f, "manifests"), 0);
	(void)close(p.staging_fd);
}

static void test_verify_finds_changed_content(void **state)
{
	struct fixture *f = *state;
	struct verify_result result;
	struct err e = ERR_INIT;
	struct image img;
	char path[128];

	fixture_publish(f, "one", KERNEL, "root", &img);
	assert_int_equal(image_verify(f->dir, NULL, &result, &e), 0);
	assert_int_equal(result.images, 1);
	assert_int_equal(result.blobs, 2);
	assert_int_equal(result.bytes, strlen(KERNEL) + 4096);
	blob_name(&img.kernel, path);
	fixture_write(f, path, "hello kernek"); /* the size stays */
	assert_true(image_verify(f->dir, "one", &result, &e) < 0);
	assert_int_equal(e.kind, ERR_CORRUPT);
	assert_string_equal(e.code, "image_corrupt");
	assert_non_null(strstr(e.msg, "kernel"));
}

static void test_store_open_on_a_file_says_so(void **state)
{
	struct fixture *f = *state;
	struct err e = ERR_INIT;
	char path[128];

	fixture_write(f, "plain", "x");
	(void)snprintf(path, sizeof(path), "%s/plain", f->dir);
	assert_null(image_store_open(path, &e));
	assert_true(e.kind != ERR_NONE);
	assert_non_null(strstr(e.msg, "plain"));
}

#define STORE_TEST(fn) \
	cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_digest_known_answer),
		STORE_TEST(test_store_get_by_name_and_id_prefix),
		STORE_TEST(test_store_blob_missing_or_short_is_corrupt),
		STORE_TEST(
			test_store_manifest_damaged_is_corrupt_and_removable),
		STORE_TEST(
			test_store_manifest_of_other_name_or_huge_is_corrupt),
		STORE_TEST(test_store_remove_keeps_shared_blobs),
		STORE_TEST(test_store_rebuild_replaces_a_damaged_blob),
		STORE_TEST(test_store_sweep_during_publish_leaves_blobs_alone),
		STORE_TEST(test_store_sweep_spares_the_living),
		STORE_TEST(test_store_sweep_spares_a_build_that_begins),
		STORE_TEST(
			test_publish_trims_the_disk_and_refuses_a_taken_name),
		STORE_TEST(test_publish_refuses_odd_artifacts),
		STORE_TEST(test_verify_finds_changed_content),
		STORE_TEST(test_store_open_on_a_file_says_so),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
