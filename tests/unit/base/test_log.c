/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/test.h"

#include <fcntl.h>
#include <jansson.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"

static char captured[4096];

/* Runs fn with stderr in a pipe; what it wrote is in captured. */
static void capture(void (*fn)(void))
{
	int pipe_fds[2], saved = dup(STDERR_FILENO);
	ssize_t n;

	assert_int_equal(pipe2(pipe_fds, O_CLOEXEC | O_NONBLOCK), 0);
	(void)dup2(pipe_fds[1], STDERR_FILENO);
	fn();
	(void)dup2(saved, STDERR_FILENO);
	(void)close(saved);
	(void)close(pipe_fds[1]);
	n = read(pipe_fds[0], captured, sizeof(captured) - 1);
	captured[n > 0 ? n : 0] = '\0';
	(void)close(pipe_fds[0]);
}

static void say(void)
{
	log_vm(LOG_LEVEL_WARN, "vm1", "line\n\"quoted\" %d", 5);
}

static void say_binary(void)
{
	log_error("bytes \xff\xfe end");
}

static void say_debug(void)
{
	log_debug("hidden");
}

static void test_log_json_is_one_parseable_line(void **state)
{
	json_t *j;

	(void)state;
	log_init("prog", LOG_LEVEL_INFO, LOG_FORMAT_JSON);
	capture(say);
	j = json_loads(captured, 0, NULL);
	assert_non_null(j);
	assert_string_equal(json_string_value(json_object_get(j, "message")),
			    "line \"quoted\" 5");
	assert_string_equal(json_string_value(json_object_get(j, "vm")), "vm1");
	assert_string_equal(json_string_value(json_object_get(j, "level")),
			    "warn");
	json_decref(j);
	assert_ptr_equal(strchr(captured, '\n') + 1, strchr(captured, '\0'));
}

static void test_log_survives_bytes_that_are_not_text(void **state)
{
	(void)state;
	log_init("prog", LOG_LEVEL_INFO, LOG_FORMAT_JSON);
	capture(say_binary);
	assert_non_null(strstr(captured, "bytes "));
}

static void test_log_level_filters(void **state)
{
	(void)state;
	log_init("prog", LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
	capture(say_debug);
	assert_string_equal(captured, "");
}

static void test_log_rate_drops_and_counts(void **state)
{
	struct log_rate rate = LOG_RATE_INIT(3);
	int passed = 0;

	(void)state;
	for (int i = 0; i < 10; i++)
		passed += log_rate_ok(&rate);
	/* A second may begin in the middle of the loop. */
	assert_true(passed >= 3 && passed <= 6);
	assert_int_equal(rate.dropped, 10 - passed);
}

/* Last: from here on records may be lost. */
static void test_log_nobody_reads_never_waits(void **state)
{
	int pipe_fds[2], saved = dup(STDERR_FILENO);
	char text[65536];
	ssize_t n;

	(void)state;
	log_init("test", LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
	log_never_wait();
	assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
	(void)dup2(pipe_fds[1], STDERR_FILENO);
	/* More than a pipe holds: without an end if one of them waited. */
	for (int i = 0; i < 5000; i++)
		log_info("a record that nobody reads, number %d", i);
	assert_true(read(pipe_fds[0], text, sizeof(text)) > 0);
	log_info("somebody reads again");
	(void)dup2(saved, STDERR_FILENO);
	(void)close(saved);
	(void)close(pipe_fds[1]);
	n = read(pipe_fds[0], text, sizeof(text) - 1);
	text[n > 0 ? n : 0] = '\0';
	assert_non_null(strstr(text, "records were lost"));
	assert_non_null(strstr(text, "somebody reads again"));
	(void)close(pipe_fds[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_log_json_is_one_parseable_line),
		cmocka_unit_test(test_log_survives_bytes_that_are_not_text),
		cmocka_unit_test(test_log_level_filters),
		cmocka_unit_test(test_log_rate_drops_and_counts),
		cmocka_unit_test(test_log_nobody_reads_never_waits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
