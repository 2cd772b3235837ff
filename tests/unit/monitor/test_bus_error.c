/* SPDX-License-Identifier: Apache-2.0 */
#include "../test.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "monitor/bus_error.h"
#include "monitor/status.h"

enum {
	PAGES = 4,
	PAGE = 4096
};

/* What the child says when it touches page `page` of a file that was cut. */
static void last_words(size_t page, bool watched, char said[512],
		       char record[512])
{
	int log[2], file = memfd_create("m", MFD_CLOEXEC);
	AUTO(fd) int status_fd = memfd_create("s", MFD_CLOEXEC);
	int status;
	ssize_t n;
	pid_t pid;

	assert_int_equal(pipe(log), 0);
	assert_int_equal(ftruncate(file, (off_t)PAGES * PAGE), 0);
	pid = fork();
	if (pid == 0) {
		char *at = mmap(NULL, (size_t)PAGES * PAGE,
				PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);

		if (dup2(log[1], STDERR_FILENO) < 0 || at == MAP_FAILED ||
		    bus_error_init(status_fd, NULL) < 0 ||
		    bus_error_enter() < 0 || ftruncate(file, PAGE) < 0)
			_exit(99);
		if (watched)
			bus_error_watch("guest memory", at,
					(size_t)PAGES * PAGE, 0x100000000);
		((volatile char *)at)[page * PAGE + 8] = 1;
		_exit(98);
	}
	(void)close(log[1]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), EXIT_HOST_ERROR);
	n = read(log[0], said, 511);
	assert_true(n > 0);
	said[n] = '\0';
	n = pread(status_fd, record, 511, 0);
	assert_true(n > 0);
	record[n] = '\0';
	(void)close(log[0]);
	(void)close(file);
}

static void test_lost_guest_memory_is_named(void **state)
{
	char said[512], record[512];

	(void)state;
	last_words(2, true, said, record);
	assert_string_equal(said,
			    "vmd-monitor: error: lost guest memory at "
			    "0x100002008: the file behind it was cut, or the "
			    "host has no page left for it (memory_lost)\n");
	assert_string_equal(
		record, "{\"reason\":\"error\",\"status\":1,\"error\":{"
			"\"code\":\"memory_lost\",\"message\":\"lost guest "
			"memory at 0x100002008: the file behind it was cut, "
			"or the host has no page left for it\"}}");
}

static void test_other_memory_is_told_by_address(void **state)
{
	char said[512], record[512];

	(void)state;
	last_words(1, false, said, record);
	assert_non_null(strstr(said, "lost the monitor's own memory at 0x"));
	assert_non_null(strstr(record, "\"code\":\"memory_lost\""));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lost_guest_memory_is_named),
		cmocka_unit_test(test_other_memory_is_told_by_address),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
