/* SPDX-License-Identifier: Apache-2.0 */
/* Builds with recipes of the test's own: good, failing, lying, endless. */
#include "store_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "images/build.h"
#include "images/recipe.h"

static const char head[] = "#!/bin/sh\n"
			   "# summary: a test\n"
			   "# option: color red or blue\n";

static const char good[] = "echo 'step: working' >&3\n"
			   "echo 'progress: 1 2' >&3\n"
			   "echo kernel-$VMD_OPT_color >k\n"
			   "echo 'set: kernel_release 6.1' >&3\n"
			   "echo 'set: kernel_format elf' >&3\n"
			   "echo 'set: init system' >&3\n"
			   "echo 'set: command /bin/true' >&3\n"
			   "echo 'artifact: kernel k' >&3\n";

static struct fixture *fixture_of(void **state)
{
	return *state;
}

static int setup(void **state)
{
	struct fixture *f;
	char path[128];
	int rc = fixture_setup(state);

	if (rc < 0)
		return rc;
	f = *state;
	(void)snprintf(path, sizeof(path), "%s/recipes", f->dir);
	/* A recipe is read by a user that is nobody's. */
	if (mkdir(path, 0755) < 0 || setenv("VMD_RECIPES", path, 1) < 0)
		return -1;
	fixture_write(f, "recipes/lib.sh", "");
	return 0;
}

static int build(struct fixture *f, const char *recipe, const char *option,
		 struct image *img, struct err *e)
{
	const char *const options[] = { option };
	const struct build_request q = {
		.store_dir = f->dir,
		.staging_id = "build-1",
		.recipe = recipe,
		.name = "made",
		.options = options,
		.option_count = option ? 1 : 0,
	};

	return image_build(&q, img, e);
}

static void write_recipe(struct fixture *f, const char *body)
{
	AUTO(free) char *text = NULL;

	assert_true(asprintf(&text, "%s%s", head, body) > 0);
	fixture_write(f, "recipes/test", text);
}

static void fails(void **state, const char *body, const char *code,
		  const char *message)
{
	struct fixture *f = fixture_of(state);
	struct err e = ERR_INIT;
	struct image img;

	write_recipe(f, body);
	if (build(f, "test", NULL, &img, &e) == 0)
		fail_msg("built: %s", body);
	assert_string_equal(e.code, code);
	if (!strstr(e.msg, message))
		fail_msg("no '%s' in '%s'", message, e.msg);
	assert_int_equal(fixture_count(f, "staging"), 0);
	assert_int_equal(fixture_count(f, "manifests"), 0);
}

static void test_build_good_recipe_makes_an_image(void **state)
{
	struct fixture *f = fixture_of(state);
	struct err e = ERR_INIT;
	struct image img, got;

	write_recipe(f, good);
	if (build(f, "test", "color=red", &img, &e) < 0)
		fail_msg("%s", e.msg);
	assert_int_equal(image_store_get(f->store, "made", &got, &e), 0);
	assert_memory_equal(&img, &got, sizeof(img));
	assert_string_equal(got.recipe, "test");
	assert_string_equal(got.command, "/bin/true");
	assert_int_equal(got.init, IMAGE_INIT_SYSTEM);
	assert_int_equal(got.kernel.size_bytes, strlen("kernel-red\n"));
	assert_int_equal(fixture_count(f, "staging"), 0);
	/* The name is taken now. */
	assert_true(build(f, "test", NULL, &img, &e) < 0);
	assert_string_equal(e.code, "image_exists");
}

static void test_build_says_what_went_wrong(void **state)
{
	fails(state,
	      "echo 'error: unavailable tool_missing no such tool' >&3\n"
	      "exit 1\n",
	      "tool_missing", "no such tool");
	fails(state, "echo 'step: frobbing' >&3; echo 'it broke' >&2; exit 3\n",
	      "recipe_failed", "status 3 while frobbing");
	fails(state, "echo 'it broke' >&2; exit 3\n", "recipe_failed",
	      "it broke");
	fails(state, "echo 'x: No space left on device' >&2; exit 1\n",
	      "disk_full", "Free some");
	fails(state, "exit 0\n", "recipe_invalid", "faulty");
	fails(state, "echo 'artifact: kernel absent' >&3\n", "not_found",
	      "absent");
}

static void test_build_survives_a_babbling_recipe(void **state)
{
	fails(state,
	      "head -c 3000000 /dev/zero >&3\n"
	      "head -c 300000 /dev/zero | tr '\\0' 'a' >&3\n"
	      "echo >&3; echo 'nonsense' >&3; echo ': ' >&3\n"
	      "echo 'progress: 99999999999999999999 -1' >&3\n"
	      "echo 'artifact: kernel ../../../etc/passwd' >&3\n"
	      "echo 'artifact: kernel' >&3; echo 'set: ' >&3\n"
	      "echo 'error: ' >&3; echo 'error: a' >&3\n"
	      "printf 'step: \\377\\001\\n' >&3\n"
	      "head -c 9000 /dev/urandom >&2; exit 9\n",
	      "recipe_failed", "status 9");
}

static void test_build_does_not_wait_for_forgotten_children(void **state)
{
	/* A child that keeps our pipes open outlives the script. */
	fails(state, "sleep 60 & exit 5\n", "recipe_failed", "status 5");
}

static void test_build_refuses_bad_requests(void **state)
{
	struct fixture *f = fixture_of(state);
	struct err e = ERR_INIT;
	struct image img;
	char long_option[400];

	write_recipe(f, good);
	assert_true(build(f, "absent", NULL, &img, &e) < 0);
	assert_int_equal(e.kind, ERR_NOT_FOUND);
	assert_string_equal(e.code, "recipe_not_found");
	assert_non_null(strstr(e.msg, "there are: test"));
	assert_true(build(f, "../recipes/test", NULL, &img, &e) < 0);
	assert_string_equal(e.code, "recipe_not_found");
	assert_true(build(f, "lib.sh", NULL, &img, &e) < 0);
	assert_string_equal(e.code, "recipe_not_found");
	assert_true(build(f, "test", "size=1", &img, &e) < 0);
	assert_string_equal(e.code, "option_unknown");
	assert_non_null(strstr(e.msg, "color"));
	assert_true(build(f, "test", "color", &img, &e) < 0);
	assert_string_equal(e.code, "option_invalid");
	assert_true(build(f, "test", "color=a\nb", &img, &e) < 0);
	assert_string_equal(e.code, "option_invalid");
	memset(long_option, 'x', sizeof(long_option) - 1);
	memcpy(long_option, "color=", 6);
	long_option[sizeof(long_option) - 1] = '\0';
	assert_true(build(f, "test", long_option, &img, &e) < 0);
	assert_string_equal(e.code, "option_invalid");
	assert_int_equal(mkdirat(f->store->staging_fd, "build-1", 0700), 0);
	assert_true(build(f, "test", NULL, &img, &e) < 0);
	assert_string_equal(e.code, "staging_exists");
	assert_int_equal(setenv("VMD_RECIPES", "/nowhere", 1), 0);
	assert_true(build(f, "test", NULL, &img, &e) < 0);
	assert_string_equal(e.code, "recipes_missing");
}

static void test_build_refuses_bad_names(void **state)
{
	static const char *const names[] = {
		"", "..", "a/b", "A", "-a", "a b"
	};
	struct fixture *f = fixture_of(state);
	struct image img;

	write_recipe(f, good);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct build_request q = { .store_dir = f->dir,
					   .staging_id = "b",
					   .recipe = "test",
					   .name = names[i] };
		struct err e = ERR_INIT;

		assert_true(image_build(&q, &img, &e) < 0);
		assert_string_equal(e.code, "name_invalid");
		q.name = "ok";
		q.staging_id = names[i];
		assert_true(image_build(&q, &img, &e) < 0);
		assert_string_equal(e.code, "staging_invalid");
	}
	assert_int_equal(fixture_count(f, "staging"), 0);
}

#define RECIPE_TEST(fn) \
	cmocka_unit_test_setup_teardown(fn, setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		RECIPE_TEST(test_build_good_recipe_makes_an_image),
		RECIPE_TEST(test_build_says_what_went_wrong),
		RECIPE_TEST(test_build_survives_a_babbling_recipe),
		RECIPE_TEST(test_build_does_not_wait_for_forgotten_children),
		RECIPE_TEST(test_build_refuses_bad_requests),
		RECIPE_TEST(test_build_refuses_bad_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
