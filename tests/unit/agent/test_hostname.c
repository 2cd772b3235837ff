/* SPDX-License-Identifier: Apache-2.0 */
/* agent/hostname.c: /etc/hostname and /etc/hosts, ours and a person's. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/agent.h"
#include "tests/unit/test.h"

static char dir[] = "/tmp/vmd-host-XXXXXX";
static char text[4096];

static int set_up(void **state)
{
	(void)state;
	(void)snprintf(dir, sizeof(dir), "/tmp/vmd-host-XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int tear_down(void **state)
{
	char command[80];

	(void)state;
	(void)snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command);
}

static void put(const char *name, const char *content)
{
	char path[100];
	FILE *f;

	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "w");
	assert_non_null(f);
	(void)fputs(content, f);
	(void)fclose(f);
}

static const char *get(const char *name)
{
	char path[100];
	size_t n;
	FILE *f;

	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "r");
	assert_non_null(f);
	n = fread(text, 1, sizeof(text) - 1, f);
	text[n] = 0;
	(void)fclose(f);
	return text;
}

static void boot(const char *given, const char *wanted)
{
	char name[65];

	hostname_files(dir, given, true, false, name);
	assert_string_equal(name, wanted);
}

static unsigned int count(const char *hosts, const char *what)
{
	unsigned int n = 0;

	for (; (hosts = strstr(hosts, what)); hosts++)
		n++;
	return n;
}

static void test_bare_image_gets_both_files(void **state)
{
	(void)state;
	boot("box", "box");
	assert_string_equal(get("hostname"), "box\n");
	assert_non_null(strstr(get("hosts"), "127.0.0.1\tlocalhost\n"));
	assert_non_null(strstr(text, "127.0.1.1\tbox # set by vmd\n"));
	assert_non_null(strstr(text, "::1\tbox # set by vmd\n"));
}

static void test_second_boot_changes_nothing(void **state)
{
	char first[4096], path[100];
	struct stat before, after;

	(void)state;
	boot("box", "box");
	(void)snprintf(first, sizeof(first), "%s", get("hosts"));
	(void)snprintf(path, sizeof(path), "%s/hosts", dir);
	assert_int_equal(stat(path, &before), 0);
	boot("box", "box");
	assert_string_equal(get("hosts"), first);
	assert_int_equal(stat(path, &after), 0);
	assert_int_equal(before.st_ino, after.st_ino);
}

static void test_clone_with_another_name_is_renamed(void **state)
{
	(void)state;
	boot("box", "box");
	boot("other.lan", "other.lan");
	assert_string_equal(get("hostname"), "other.lan\n");
	assert_null(strstr(get("hosts"), "box"));
	assert_non_null(strstr(text, "127.0.1.1\tother.lan other # set"));
	assert_int_equal(count(text, "127.0.1.1"), 1);
}

static void test_lines_of_a_person_stay(void **state)
{
	static const char mine[] = "# mine\n127.0.0.1 localhost\n"
				   "10.0.0.5 db db.lan # set by me\n"
				   "no newline at the end";

	(void)state;
	put("hosts", mine);
	boot("box", "box");
	boot("box2", "box2");
	assert_int_equal(strncmp(get("hosts"), mine, strlen(mine)), 0);
	assert_non_null(strstr(text, "end\n# name given by vmd: box2\n"));
}

static void test_name_a_person_has_given_an_address_is_left(void **state)
{
	(void)state;
	put("hosts", "127.0.0.1 localhost\n10.0.0.5\tBox.lan box\n");
	boot("box", "box");
	assert_null(strstr(get("hosts"), "127.0.1.1"));
	assert_null(strstr(text, "::1"));
	/* Not by a comment, nor as a part of another name. */
	put("hosts", "127.0.0.1 localhost # box\n10.0.0.5 boxer\n");
	boot("box", "box");
	assert_non_null(strstr(get("hosts"), "127.0.1.1\tbox"));
}

static void test_hostname_changed_by_hand_wins(void **state)
{
	(void)state;
	put("hostname", "from-the-image\n"); /* no record: the VM's wins */
	boot("box", "box");
	put("hostname", "# by me\nmine\n");
	boot("box", "mine");
	boot("other", "mine");
	assert_string_equal(get("hostname"), "# by me\nmine\n");
	assert_non_null(strstr(get("hosts"), "127.0.1.1\tmine # set by vmd"));
	put("hostname", "***\n");
	boot("box", "box");
}

static void test_strange_files_are_left_alone(void **state)
{
	char path[100];

	(void)state;
	(void)snprintf(path, sizeof(path), "%s/hosts", dir);
	assert_int_equal(mkfifo(path, 0600), 0);
	boot("box", "box"); /* does not wait for a writer */
	assert_int_equal(unlink(path), 0);
	put("target", "127.0.0.1 localhost\n");
	assert_int_equal(symlink("target", path), 0);
	boot("box", "box");
	assert_string_equal(get("target"), "127.0.0.1 localhost\n");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(test_bare_image_gets_both_files),
		TEST(test_second_boot_changes_nothing),
		TEST(test_clone_with_another_name_is_renamed),
		TEST(test_lines_of_a_person_stay),
		TEST(test_name_a_person_has_given_an_address_is_left),
		TEST(test_hostname_changed_by_hand_wins),
		TEST(test_strange_files_are_left_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
