/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/test.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "images/store.h"

#define HEX "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static const char good[] =
	"{\"format\":1,\"name\":\"debian\",\"recipe\":\"debian\","
	"\"arch\":\"x86_64\",\"created\":\"2026-01-01T00:00:00.000Z\","
	"\"kernel_release\":\"6.1\",\"kernel_format\":\"elf\","
	"\"init\":\"system\",\"cmdline\":\"a=b\",\"command\":\"/bin/sh\","
	"\"min_memory_bytes\":7,\"disk_bytes\":8192,"
	"\"kernel\":{\"digest\":\"" HEX "\",\"size_bytes\":1},"
	"\"initrd\":{\"digest\":\"" HEX "\",\"size_bytes\":2},"
	"\"root\":{\"digest\":\"" HEX "\",\"size_bytes\":4096}}";

static int parse(const char *text, struct image *img, struct err *e)
{
	AUTO(json) json_t *j = NULL;
	int rc = json_parse_strict(text, strlen(text), "manifest", &j, e);

	return rc < 0 ? rc : image_from_json(j, img, e);
}

/* The good manifest with the first `from` replaced by `to`. */
static void refuses(const char *from, const char *to, const char *code)
{
	struct err e = ERR_INIT;
	struct image img;
	char text[4096];
	const char *at = strstr(good, from);

	assert_non_null(at);
	(void)snprintf(text, sizeof(text), "%.*s%s%s", (int)(at - good), good,
		       to, at + strlen(from));
	if (parse(text, &img, &e) == 0)
		fail_msg("accepted: %s", text);
	assert_string_equal(e.code, code);
	assert_true(e.msg[0]);
}

static void test_manifest_good_round_trip(void **state)
{
	struct err e = ERR_INIT;
	struct image img, again;
	AUTO(json) json_t *j = NULL;

	(void)state;
	assert_int_equal(parse(good, &img, &e), 0);
	assert_string_equal(img.name, "debian");
	assert_int_equal(img.init, IMAGE_INIT_SYSTEM);
	assert_int_equal(img.root.size_bytes, 4096);
	assert_int_equal(img.disk_bytes, 8192);
	assert_string_equal(img.initrd.digest, HEX);
	assert_int_equal(strlen(img.id), IMAGE_DIGEST_LEN);
	j = image_to_json(&img);
	assert_int_equal(image_from_json(j, &again, &e), 0);
	assert_memory_equal(&img, &again, sizeof(img));
}

static void test_manifest_hostile_is_refused(void **state)
{
	(void)state;
	refuses("\"format\":1", "\"format\":2", "manifest_too_new");
	refuses("\"format\":1", "\"format\":\"1\"", "wrong_type");
	refuses("\"format\":1,", "", "missing_field");
	refuses("\"init\":", "\"extra\":1,\"init\":", "unknown_field");
	refuses("\"init\":", "\"name\":\"x\",\"init\":", "json_invalid");
	refuses("\"debian\"", "\"../etc\"", "manifest_invalid");
	refuses("\"debian\"", "\"\"", "manifest_invalid");
	refuses("\"debian\"", "7", "wrong_type");
	refuses("\"elf\"", "\"pe\"", "manifest_invalid");
	refuses("\"system\"", "\"systemd\"", "manifest_invalid");
	refuses("\"a=b\"", "\"a\\nb\"", "manifest_invalid");
	refuses("\"a=b\"", "\"\\u00e9\"", "manifest_invalid");
	refuses(HEX, "../../../../../../../../etc/passwd", "manifest_invalid");
	refuses("0123456789abcdef", "0123456789ABCDEF", "manifest_invalid");
	refuses("\"size_bytes\":1", "\"size_bytes\":0", "out_of_range");
	refuses("\"size_bytes\":1", "\"size_bytes\":-1", "out_of_range");
	refuses("\"size_bytes\":1", "\"size_bytes\":1,\"x\":1",
		"unknown_field");
	refuses("\"disk_bytes\":8192", "\"disk_bytes\":4095", "out_of_range");
	refuses("\"disk_bytes\":8192,", "", "missing_field");
	refuses(",\"root\":{\"digest\":\"" HEX "\",\"size_bytes\":4096}", "",
		"manifest_invalid");
}

static void test_manifest_without_root_has_no_disk(void **state)
{
	static const char root[] =
		",\"root\":{\"digest\":\"" HEX "\",\"size_bytes\":4096}";
	static const char disk[] = "\"disk_bytes\":8192,";
	struct err e = ERR_INIT;
	struct image img;
	char text[4096];
	char *at;

	(void)state;
	(void)strcpy(text, good);
	at = strstr(text, root);
	memmove(at, at + strlen(root), strlen(at + strlen(root)) + 1);
	at = strstr(text, disk);
	memmove(at, at + strlen(disk), strlen(at + strlen(disk)) + 1);
	assert_int_equal(parse(text, &img, &e), 0);
	assert_string_equal(img.root.digest, "");
	assert_int_equal(img.disk_bytes, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_manifest_good_round_trip),
		cmocka_unit_test(test_manifest_hostile_is_refused),
		cmocka_unit_test(test_manifest_without_root_has_no_disk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
