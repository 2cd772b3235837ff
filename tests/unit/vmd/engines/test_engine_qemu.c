/* SPDX-License-Identifier: Apache-2.0 */
/* vmd/engine_qemu.c with programs in QEMU's place that fail in every way. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "vmd/engine_qemu.h"
#include "vmd/host.h"

enum {
	DEADLINE_MS = 20000
};

struct fixture {
	char dir[40];
	char *path; /* PATH as it was */
	struct loop *loop;
	struct engine_vm *vm;
	struct vm_launch launch;
	struct vm_process process;
	unsigned int processes, running, ended;
	enum vm_end end;
	struct err err;
};

static void on_process(void *ctx, const struct vm_process *p)
{
	struct fixture *f = ctx;

	f->processes++;
	f->process = *p;
}

static void on_running(void *ctx)
{
	((struct fixture *)ctx)->running++;
}

static void on_agent(void *ctx, int fd)
{
	(void)ctx;
	(void)close(fd);
}

static void on_console(void *ctx, const void *data, size_t len)
{
	(void)ctx;
	(void)data;
	(void)len;
}

static void on_ended(void *ctx, enum vm_end end, const struct err *e)
{
	struct fixture *f = ctx;

	f->ended++;
	f->end = end;
	f->err = *e;
	engine_qemu.release(f->vm);
	f->vm = NULL;
}

static const struct engine_events events = { on_process, on_running, on_agent,
					     on_console, on_ended,   NULL };

static void put_file(const struct fixture *f, const char *name,
		     const char *text, mode_t mode)
{
	char path[80];
	FILE *out;

	(void)snprintf(path, sizeof(path), "%s/%s", f->dir, name);
	out = fopen(path, "we");
	assert_non_null(out);
	assert_true(fputs(text, out) >= 0);
	assert_int_equal(fclose(out), 0);
	assert_int_equal(chmod(path, mode), 0);
}

/* What stands in QEMU's place does `body`, in the run directory. */
static void fake_qemu(const struct fixture *f, const char *body)
{
	char text[1024];

	(void)snprintf(text, sizeof(text),
		       "#!/bin/sh\n[ \"$1\" = --version ] && "
		       "{ echo QEMU emulator version 7.2.22; exit; }\n%s\n",
		       body);
	put_file(f, "qemu-system-x86_64", text, 0755);
	host_forget();
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	char path[128];

	assert_non_null(f);
	(void)strcpy(f->dir, "/tmp/vmd-test-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	f->path = strdup(getenv("PATH"));
	(void)snprintf(path, sizeof(path), "%s:/usr/bin:/bin", f->dir);
	assert_int_equal(setenv("PATH", path, 1), 0);
	put_file(f, "kernel", "not much of a kernel", 0644);
	f->loop = loop_new(NULL);
	f->launch = (struct vm_launch){
		.id = "test",
		.name = "test",
		.vcpus = 1,
		.memory_bytes = 256u << 20,
		.kernel_path = "/proc/self/exe",
		.cmdline = "own.argument=1",
		.emulate = true,
		.run_path = f->dir,
		.run_dirfd = open(f->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC),
	};
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	if (f->vm) {
		engine_qemu.kill(f->vm);
		engine_qemu.release(f->vm);
	}
	(void)setenv("PATH", f->path, 1);
	host_forget();
	loop_free(f->loop);
	(void)close(f->launch.run_dirfd);
	(void)file_remove_tree(AT_FDCWD, f->dir, NULL);
	free(f->path);
	free(f);
	return 0;
}

static void start_and_end(struct fixture *f, bool kill)
{
	uint64_t end = clock_mono_ms() + DEADLINE_MS;
	struct err e = ERR_INIT;

	assert_int_equal(engine_qemu.start(f->loop, &f->launch, &events, f,
					   &f->vm, &e),
			 0);
	assert_int_equal(f->processes, 1);
	assert_string_equal(f->process.role, "qemu");
	if (kill)
		engine_qemu.kill(f->vm);
	while (!f->ended) {
		assert_true(clock_mono_ms() < end);
		(void)loop_run_once(f->loop, 10);
	}
	assert_int_equal(f->ended, 1);
}

static void test_missing_qemu_is_said(void **state)
{
	struct fixture *f = *state;
	struct err e = ERR_INIT;

	assert_int_equal(setenv("PATH", "/nowhere", 1), 0);
	host_forget();
	assert_true(engine_qemu.start(f->loop, &f->launch, &events, f, &f->vm,
				      &e) < 0);
	assert_string_equal(e.code, "engine_unavailable");
	assert_non_null(strstr(e.msg, "apt install"));
	assert_int_equal(f->processes, 0);
}

static void test_old_qemu_is_refused(void **state)
{
	struct fixture *f = *state;
	struct err e = ERR_INIT;

	put_file(f, "qemu-system-x86_64",
		 "#!/bin/sh\necho QEMU emulator version 6.1.0\n", 0755);
	host_forget();
	assert_true(engine_qemu.can_run(&f->launch, &e) < 0);
	assert_non_null(strstr(e.msg, "6.1.0"));
}

static void test_missing_kernel_is_said(void **state)
{
	struct fixture *f = *state;
	struct err e = ERR_INIT;

	fake_qemu(f, "exit 0");
	f->launch.kernel_path = "/nowhere/vmlinuz";
	assert_true(engine_qemu.start(f->loop, &f->launch, &events, f, &f->vm,
				      &e) < 0);
	assert_string_equal(e.code, "kernel_missing");
}

static void test_failing_qemu_gives_its_last_words(void **state)
{
	struct fixture *f = *state;

	fake_qemu(f, "echo 'qemu: cannot \033[1m allocate' >&2; exit 1");
	start_and_end(f, false);
	assert_int_equal(f->end, VM_END_FAILED);
	assert_string_equal(f->err.code, "qemu_died");
	assert_non_null(strstr(f->err.msg, "status 1"));
	assert_non_null(strstr(f->err.msg, "cannot ?[1m allocate"));
}

static void test_killed_qemu_is_told_from_a_power_off(void **state)
{
	struct fixture *f = *state;

	fake_qemu(f, "kill -9 $$");
	start_and_end(f, false);
	assert_int_equal(f->end, VM_END_FAILED);
	assert_non_null(strstr(f->err.msg, "signal 9"));
}

static void test_silent_exit_is_not_a_power_off(void **state)
{
	struct fixture *f = *state;

	fake_qemu(f, "exit 0");
	start_and_end(f, false);
	assert_int_equal(f->end, VM_END_FAILED);
	assert_non_null(strstr(f->err.msg, "(no output)"));
}

static void test_hung_qemu_times_out(void **state)
{
	struct fixture *f = *state;
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
	struct fixture *f = *state;

	fake_qemu(f, "exec sleep 100");
	start_and_end(f, true);
	assert_int_equal(f->end, VM_END_KILLED);
}

static void test_reason_is_found_in_the_log(void **state)
{
	struct fixture *f = *state;

	fake_qemu(f, "echo '{\"event\":\"SHUTDOWN\",\"data\":{\"guest\":true,"
		     "\"reason\":\"guest-reset\"}}' >>qmp.log; exit 0");
	start_and_end(f, false);
	assert_string_equal(f->err.msg, "");
	assert_int_equal(f->end, VM_END_RESET);
	assert_int_equal(f->err.kind, ERR_NONE);
}

static void test_command_line_says_what_it_must(void **state)
{
	struct fixture *f = *state;
	AUTO(free) char *text = NULL;
	size_t len;

	f->launch.root_path = "/tmp/a,b \"c\".img";
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
	assert_non_null(strstr(text, "/tmp/a,b \\\\\\\"c\\\\\\\".img"));
	assert_null(strstr(text, "virtio-net"));
}

static void test_port_in_use_names_the_port(void **state)
{
	struct fixture *f = *state;
	struct sockaddr_in a = { .sin_family = AF_INET,
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(a);
	AUTO(fd) int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct vm_port port = { .host_address = "127.0.0.1", .guest_port = 80 };
	struct err e = ERR_INIT;
	char text[32];

	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(fd, 1), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
	port.host_port = ntohs(a.sin_port);
	f->launch.network = true;
	f->launch.ports = &port;
	f->launch.port_count = 1;
	fake_qemu(f, "exit 0");
	assert_true(engine_qemu.start(f->loop, &f->launch, &events, f, &f->vm,
				      &e) < 0);
	assert_string_equal(e.code, "port_in_use");
	(void)snprintf(text, sizeof(text), "127.0.0.1:%u", port.host_port);
	assert_non_null(strstr(e.msg, text));
	assert_int_equal(f->processes, 0);
}

static void test_adopting_what_is_gone_tells_the_end(void **state)
{
	struct fixture *f = *state;
	struct vm_process gone = { .role = "qemu",
				   .pid = 999999,
				   .start_time = 1 };
	enum vm_end end = VM_END_KILLED;
	struct err e = ERR_INIT;

	put_file(f, "qmp.log",
		 "{\"return\":{}}\n{\"event\":\"SHUTDOWN\",\"data\":"
		 "{\"reason\":\"guest-shutdown\"}}\n",
		 0600);
	assert_int_equal(engine_qemu.adopt(f->loop, "test", f->launch.run_dirfd,
					   f->dir, &gone, 1, &events, f, &f->vm,
					   &end, &e),
			 -ESRCH);
	assert_int_equal(end, VM_END_POWEROFF);
	put_file(f, "qmp.log", "", 0600);
	put_file(f, "qemu.log", "out of memory\n", 0600);
	assert_int_equal(engine_qemu.adopt(f->loop, "test", f->launch.run_dirfd,
					   f->dir, &gone, 1, &events, f, &f->vm,
					   &end, &e),
			 -ESRCH);
	assert_int_equal(end, VM_END_FAILED);
	assert_non_null(strstr(e.msg, "out of memory"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

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
		TEST(test_port_in_use_names_the_port),
		TEST(test_adopting_what_is_gone_tells_the_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
