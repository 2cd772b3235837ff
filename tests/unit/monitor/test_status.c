/* SPDX-License-Identifier: Apache-2.0 */
#include "../test.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "monitor/status.h"

static void test_write_fills_the_record(void **state)
{
	char dir[] = "/tmp/vmd-status-XXXXXX", path[64];
	AUTO(free) char *text = NULL;
	struct stat st;
	struct status_file f = STATUS_FILE_INIT;
	struct err e = ERR_INIT;
	size_t len;

	(void)state;
	assert_non_null(mkdtemp(dir));
	(void)snprintf(path, sizeof(path), "%s/status.json", dir);
	assert_int_equal(status_open(&f, path, &e), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, 0);
	(void)err_set(&e, ERR_INVALID, "kernel_missing", 0, "say \"why\"");
	status_write(&f, "error", 1, &e);
	status_close(&f);
	assert_int_equal(file_read(AT_FDCWD, path, 4096, &text, &len, &e), 0);
	assert_string_equal(text,
			    "{\"reason\":\"error\",\"status\":1,\"error\":{"
			    "\"code\":\"kernel_missing\",\"message\":"
			    "\"say \\\"why\\\"\"}}");
	assert_int_equal(unlink(path), 0);
	assert_int_equal(rmdir(dir), 0); /* nothing else is left there */
}

static void test_open_removes_the_record_of_an_earlier_run(void **state)
{
	char dir[] = "/tmp/vmd-status-XXXXXX", path[64];
	struct status_file f = STATUS_FILE_INIT;
	struct err e = ERR_INIT;
	struct stat st;

	(void)state;
	assert_non_null(mkdtemp(dir));
	(void)snprintf(path, sizeof(path), "%s/status.json", dir);
	for (int run = 0; run < 2; run++) {
		assert_int_equal(status_open(&f, path, &e), 0);
		assert_int_equal(stat(path, &st), 0);
		assert_int_equal(st.st_size, 0);
		status_write(&f, "poweroff", 0, NULL);
		status_close(&f);
		assert_int_equal(stat(path, &st), 0);
		assert_true(st.st_size > 0);
	}
	assert_int_equal(unlink(path), 0);
	/* What is no file of ours stays. */
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_true(status_open(&f, path, &e) < 0);
	assert_string_equal(e.code, "config_invalid");
	status_close(&f);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(rmdir(dir), 0);
}

/* After lock-down a path is of no use: the daemon hands the file over. */
static void test_open_takes_an_inherited_descriptor(void **state)
{
	struct status_file f = STATUS_FILE_INIT;
	struct err e = ERR_INIT;
	char name[16], text[128] = "";
	int fds[2];

	(void)state;
	assert_int_equal(pipe(fds), 0);
	(void)snprintf(name, sizeof(name), "fd:%d", fds[1]);
	assert_int_equal(status_open(&f, name, &e), 0);
	assert_int_equal(f.fd, fds[1]);
	status_write(&f, "killed", 5, NULL);
	status_close(&f);
	assert_true(read(fds[0], text, sizeof(text) - 1) > 0);
	assert_string_equal(text, "{\"reason\":\"killed\",\"status\":5,"
				  "\"error\":null}");
	assert_int_equal(close(fds[0]), 0);
	assert_true(status_open(&f, name, &e) < 0); /* closed by now */
	assert_string_equal(e.code, "config_invalid");
}

static void test_open_without_directory_fails(void **state)
{
	struct status_file f = STATUS_FILE_INIT;
	struct err e = ERR_INIT;

	(void)state;
	assert_true(status_open(&f, "/no/such/dir/x", &e) < 0);
	assert_string_equal(e.code, "config_invalid");
	status_close(&f);
}

static void test_exit_status_of_codes(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	(void)err_set(&e, ERR_INVALID, "config_invalid", 0, "x");
	assert_int_equal(status_of_error(&e), EXIT_USAGE);
	(void)err_set(&e, ERR_PERMISSION, "kvm_permission", 0, "x");
	assert_int_equal(status_of_error(&e), EXIT_NO_KVM);
	(void)err_set(&e, ERR_NOT_FOUND, "kernel_missing", 0, "x");
	assert_int_equal(status_of_error(&e), EXIT_HOST_ERROR);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_write_fills_the_record),
		cmocka_unit_test(
			test_open_removes_the_record_of_an_earlier_run),
		cmocka_unit_test(test_open_takes_an_inherited_descriptor),
		cmocka_unit_test(test_open_without_directory_fails),
		cmocka_unit_test(test_exit_status_of_codes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
