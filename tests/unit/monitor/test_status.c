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

static void test_write_replaces_the_record_whole(void **state)
{
	char dir[] = "/tmp/vmd-status-XXXXXX", path[64];
	AUTO(free) char *text = NULL;
	struct status_file f = STATUS_FILE_INIT;
	struct err e = ERR_INIT;
	size_t len;

	(void)state;
	assert_non_null(mkdtemp(dir));
	(void)snprintf(path, sizeof(path), "%s/status.json", dir);
	assert_int_equal(status_open(&f, path, &e), 0);
	assert_int_equal(access(path, F_OK), -1);
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

	(void)state;
	assert_non_null(mkdtemp(dir));
	(void)snprintf(path, sizeof(path), "%s/status.json", dir);
	for (int run = 0; run < 2; run++) {
		assert_int_equal(status_open(&f, path, &e), 0);
		assert_int_equal(access(path, F_OK), -1);
		status_write(&f, "poweroff", 0, NULL);
		status_close(&f);
		assert_int_equal(access(path, F_OK), 0);
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
		cmocka_unit_test(test_write_replaces_the_record_whole),
		cmocka_unit_test(
			test_open_removes_the_record_of_an_earlier_run),
		cmocka_unit_test(test_open_without_directory_fails),
		cmocka_unit_test(test_exit_status_of_codes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
