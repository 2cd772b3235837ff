/* SPDX-License-Identifier: Apache-2.0 */
/* vmd/engines/qemu/engine_qemu.c with programs in QEMU's place that fail in every way. */
#include "engine_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "vmd/engines/host.h"
#include "vmd/engines/qemu/engine_qemu.h"

/* What stands in QEMU's place does `body`, in the run directory. */
static void fake_qemu(const struct engine_rig *f, const char *body)
{
	char text[768];

	(void)snprintf(text, sizeof(text),
		       "[ \"$1\" = --version ] && "
		       "{ echo QEMU emulator version 7.2.22; exit; }\n%s",
		       body);
	engine_rig_program(f, "qemu-system-x86_64", text);
}

static int setup(void **state)
{
	struct engine_rig *f = engine_rig_new(&engine_qemu);

	f->launch.cmdline = "own.argument=1";
	f->launch.emulate = true;
	f->release_at_end = true;
	*state = f;
	return 0;
}

static void start_and_end(struct engine_rig *f, bool kill)
{
	engine_rig_start(f);
	assert_int_equal(f->process_count, 1);
	assert_string_equal(f->processes[0].role, "qemu");
	if (kill)
		engine_qemu.kill(f->vm);
	RUN_UNTIL(f, f->ended);
	assert_int_equal(f->ended, 1);
}

static void test_missing_qemu_is_said(void **state)
{
	struct engine_rig *f = *state;
	struct err e = ERR_INIT;

	assert_int_equal(setenv("PATH", "/nowhere", 1), 0);
	host_forget();
	assert_true(engine_rig_start_may_fail(f, &e) < 0);
	assert_string_equal(e.code, "engine_unavailable");
	assert_non_null(strstr(e.msg, "apt install"));
	assert_int_equal(f->process_count, 0);
}

static void test_old_qemu_is_refused(void **state)
{
	struct engine_rig *f = *state;
	struct err e = ERR_INIT;

	engine_rig_program(f, "qemu-system-x86_64",
			   "echo QEMU emulator version 6.1.0");
	assert_true(engine_qemu.can_run(&f->launch, &e) < 0);
	assert_non_null(strstr(e.msg, "6.1.0"));
}

static void test_missing_kernel_is_said(void **state)
{
	struct engine_rig *f = *state;
	struct err e = ERR_INIT;

	fake_qemu(f, "exit 0");
	f->launch.kernel_path = "/nowhere/vmlinuz";
	assert_true(engine_rig_start_may_fail(f, &e) < 0);
	assert_string_equal(e.code, "kernel_missing");
}

static void test_failing_qemu_gives_its_last_words(void **state)
{
	struct engine_rig *f = *state;

	fake_qemu(f, "echo 'qemu: cannot \033[1m allocate' >&2; exit 1");
	start_and_end(f, false);
	assert_int_equal(f->end, VM_END_FAILED);
	assert_string_equal(f->err.code, "qemu_died");
	assert_non_null(strstr(f->err.msg, "status 1"));
	assert_non_null(strstr(f->err.msg, "cannot ?[1m allocate"));
}

static void test_killed_qemu_is_told_from_a_power_off(void **state)
{
	struct engine_rig *f = *state;

	fake_qemu(f, "kill -9 $$");
	start_and_end(f, false);
	assert_int_equal(f->end, VM_END_FAILED);
	assert_non_null(strstr(f->err.msg, "signal 9 (SIGKILL: "));
}

static void test_silent_exit_is_not_a_power_off(void **state)
{
	struct engine_rig *f = *state;

	fake_qemu(f, "exit 0");
	start_and_end(f, false);
	assert_int_equal(f->end, VM_END_FAILED);
	assert_non_null(strstr(f->err.msg, "(no output)"));
}

static void test_hung_qemu_times_out(void **state)
{
	struct engine_rig *f = *state;
	uint64_t normal = qemu_timeout_ms;

	qemu_timeout_ms = 50;
	fake_qemu(f, "exec sleep 100");
	start_and_end(f, false);
	qemu_timeout_ms = normal;
	assert_int_equal(f->end, VM_END_FAILED);
	assert_string_equal(f->err.code, "qemu_hung");
}

static void test_kill_ends_as_killed(void **state)
{
	struct engine_rig *f = *state;

	fake_qemu(f, "exec sleep 100");
	start_and_end(f, true);
	assert_int_equal(f->end, VM_END_KILLED);
}

static void test_reason_is_found_in_the_log(void **state)
{
	struct engine_rig *f = *state;

	fake_qemu(f, "echo '{\"event\":\"SHUTDOWN\",\"data\":{\"guest\":true,"
		     "\"reason\":\"guest-reset\"}}' >>qmp.log; exit 0");
	start_and_end(f, false);
	assert_string_equal(f->err.msg, "");
	assert_int_equal(f->end, VM_END_RESET);
	assert_int_equal(f->err.kind, ERR_NONE);
}

static void test_command_line_says_what_it_must(void **state)
{
	struct engine_rig *f = *state;
	AUTO(free) char *text = NULL;
	size_t len;

	char path[160];

	(void)snprintf(path, sizeof(path), "%s/a,b \"c\".img", f->dir.path);
	tmpdir_put(&f->dir, "a,b \"c\".img", "", 0600);
	f->launch.root_path = path;
	fake_qemu(f, "exit 0");
	start_and_end(f, false);
	assert_int_equal(file_read(f->launch.run_dirfd, "qemu.argv", 65536,
				   &text, &len, NULL),
			 0);
	assert_non_null(strstr(text, "elevateprivileges=deny,spawn=deny"));
	assert_non_null(strstr(text, "\"-accel\",\"tcg,"));
	assert_null(strstr(text, "kvm"));
	assert_non_null(strstr(text, "\"-S\""));
	assert_non_null(strstr(text, "vmd.root=/dev/vda own.argument=1"));
	/* By descriptor: whoever QEMU becomes could not open it. */
	assert_null(strstr(text, ".img"));
	assert_non_null(strstr(text, "fd=9,set=3"));
	assert_non_null(strstr(text, "/dev/fdset/3"));
	assert_null(strstr(text, "virtio-net"));
}

static void test_adopting_what_is_gone_tells_the_end(void **state)
{
	struct engine_rig *f = *state;
	enum vm_end end = VM_END_KILLED;
	struct err e = ERR_INIT;

	f->processes[0] = (struct vm_process){ .role = "qemu",
					       .pid = 999999,
					       .start_time = 1 };
	f->process_count = 1;
	tmpdir_put(&f->dir, "qmp.log",
		   "{\"return\":{}}\n{\"event\":\"SHUTDOWN\",\"data\":"
		   "{\"reason\":\"guest-shutdown\"}}\n",
		   0600);
	assert_int_equal(engine_rig_adopt(f, &end, &e), -ESRCH);
	assert_int_equal(end, VM_END_POWEROFF);
	tmpdir_put(&f->dir, "qmp.log", "", 0600);
	tmpdir_put(&f->dir, "qemu.log", "out of memory\n", 0600);
	assert_int_equal(engine_rig_adopt(f, &end, &e), -ESRCH);
	assert_int_equal(end, VM_END_FAILED);
	assert_non_null(strstr(e.msg, "out of memory"));
}

/* A guest can bring about events for ever: the log takes no more than so much of
 * the disk, and its end stays, where the reason of an end is looked for. */
static void test_log_takes_so_much_of_the_disk(void **state)
{
	static const char end[] = "{\"event\":\"SHUTDOWN\"}\n";
	struct engine_rig *f = *state;
	char block[4096], tail[sizeof(end)] = "";
	struct stat st;
	int fd = openat(f->dir.fd, "qmp.log",
			O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	memset(block, '\n', sizeof(block));
	for (int i = 0; i < 1024; i++) {
		assert_int_equal(write(fd, block, sizeof(block)),
				 sizeof(block));
		if (i % 64 == 0)
			engine_log_bound(f->dir.fd, "qmp.log");
	}
	assert_int_equal(write(fd, end, sizeof(end) - 1), sizeof(end) - 1);
	engine_log_bound(f->dir.fd, "qmp.log");
	assert_int_equal(fstat(fd, &st), 0);
	assert_true(st.st_blocks * 512 <= 1 << 20);
	assert_int_equal(pread(fd, tail, sizeof(end) - 1,
			       st.st_size - (off_t)(sizeof(end) - 1)),
			 sizeof(end) - 1);
	assert_string_equal(tail, end);
	(void)close(fd);
}

#define TEST(name) \
	cmocka_unit_test_setup_teardown(name, setup, engine_rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_missing_qemu_is_said),
		TEST(test_old_qemu_is_refused),
		TEST(test_missing_kernel_is_said),
		TEST(test_failing_qemu_gives_its_last_words),
		TEST(test_killed_qemu_is_told_from_a_power_off),
		TEST(test_silent_exit_is_not_a_power_off),
		TEST(test_hung_qemu_times_out),
		TEST(test_kill_ends_as_killed),
		TEST(test_reason_is_found_in_the_log),
		TEST(test_command_line_says_what_it_must),
		TEST(test_adopting_what_is_gone_tells_the_end),
		TEST(test_log_takes_so_much_of_the_disk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
