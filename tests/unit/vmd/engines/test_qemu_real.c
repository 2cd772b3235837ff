/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmd/engine_qemu.c with the real QEMU and a guest of 86 bytes: it says "hi" on
 * the serial port, echoes what it gets, powers off on 'p' and resets on 'r'.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/process.h"
#include "base/sock.h"
#include "vmd/engine.h"
#include "vmd/host.h"

enum {
	DEADLINE_MS = 60000,
	SKIPPED = 77
};

/* A multiboot image (Multiboot 0.6.96, section 3.1, address fields), 32-bit. */
static const uint8_t guest[] = {
	/* magic, flags: address fields, checksum, header, load, ends, entry */
	0x02, 0xb0, 0xad, 0x1b, 0x00, 0x00, 0x01, 0x00, /* */
	0xfe, 0x4f, 0x51, 0xe4, 0x00, 0x00, 0x10, 0x00, /* */
	0x00, 0x00, 0x10, 0x00, 0x00, 0x00, 0x00, 0x00, /* */
	0x00, 0x00, 0x00, 0x00, 0x20, 0x00, 0x10, 0x00, /* */
	0x66, 0xba, 0xf8, 0x03, /* mov dx, 0x3f8 */
	0xb0, 0x68, 0xee, 0xb0, 0x69, 0xee, /* out "h", out "i" */
	0x66, 0xba, 0xfd, 0x03, /* again: mov dx, 0x3fd */
	0xec, 0xa8, 0x01, 0x74, 0xf7, /* until a byte is there */
	0x66, 0xba, 0xf8, 0x03, 0xec, 0xee, /* in al, out al */
	0x3c, 0x70, 0x74, 0x0d, /* 'p': power off */
	0x3c, 0x72, 0x75, 0xe9, /* not 'r': again */
	0x66, 0xba, 0xf9, 0x0c, 0xb0, 0x06, 0xee, 0xeb, 0xe0, /* out cf9, 6 */
	0x66, 0xba, 0x04, 0x06, /* mov dx, 0x604 (ICH9 PM1_CNT) */
	0x66, 0xb8, 0x00, 0x20, 0x66, 0xef, 0xeb, 0xd4, /* SLP_EN, again */
};

struct fixture {
	char dir[40], kernel[64];
	int dirfd;
	struct loop *loop;
	struct engine_vm *vm;
	struct vm_process processes[VM_PROCESSES_MAX];
	size_t process_count;
	unsigned int running, agents, ended;
	enum vm_end end;
	struct err err;
	char console[256];
	size_t console_len;
};

static void on_process(void *ctx, const struct vm_process *p)
{
	struct fixture *f = ctx;

	f->processes[f->process_count++] = *p;
}

static void on_running(void *ctx)
{
	((struct fixture *)ctx)->running++;
}

static void on_agent(void *ctx, int fd)
{
	((struct fixture *)ctx)->agents++;
	(void)close(fd);
}

static void on_console(void *ctx, const void *data, size_t len)
{
	struct fixture *f = ctx;
	size_t room = sizeof(f->console) - 1 - f->console_len;

	memcpy(f->console + f->console_len, data, len < room ? len : room);
	f->console_len += len < room ? len : room;
}

static void on_ended(void *ctx, enum vm_end end, const struct err *e)
{
	struct fixture *f = ctx;

	f->ended++;
	f->end = end;
	f->err = *e;
}

static const struct engine_events events = { on_process, on_running, on_agent,
					     on_console, on_ended,   NULL };

#define RUN_UNTIL(f, cond)                                           \
	do {                                                         \
		uint64_t end_ = clock_mono_ms() + DEADLINE_MS;       \
		while (!(cond)) {                                    \
			if ((f)->ended && (f)->err.msg[0])           \
				print_message("%s\n", (f)->err.msg); \
			assert_true(clock_mono_ms() < end_);         \
			(void)loop_run_once((f)->loop, 100);         \
		}                                                    \
	} while (0)

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct vm_launch launch = { .id = "real",
				    .name = "real",
				    .vcpus = 1,
				    .memory_bytes = 32u << 20,
				    .emulate = true };
	struct err e = ERR_INIT;
	AUTO(fd) int fd = -1;

	assert_non_null(f);
	(void)strcpy(f->dir, "/tmp/vmd-test-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	f->dirfd = open(f->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	(void)snprintf(f->kernel, sizeof(f->kernel), "%s/guest", f->dir);
	fd = open(f->kernel, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(file_write_full(fd, guest, sizeof(guest)), 0);
	f->loop = loop_new(NULL);
	launch.kernel_path = f->kernel;
	launch.run_path = f->dir;
	launch.run_dirfd = f->dirfd;
	assert_int_equal(
		engine_qemu.start(f->loop, &launch, &events, f, &f->vm, &e), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	for (size_t i = 0; !f->ended && i < f->process_count; i++) {
		struct process p = PROCESS_INIT;

		if (process_adopt(f->processes[i].pid,
				  f->processes[i].start_time, &p, NULL) == 0)
			(void)process_signal(&p, SIGKILL);
		process_close(&p);
	}
	if (f->vm)
		engine_qemu.release(f->vm);
	loop_free(f->loop);
	(void)close(f->dirfd);
	(void)file_remove_tree(AT_FDCWD, f->dir, NULL);
	free(f);
	return 0;
}

static void wait_for_guest(struct fixture *f)
{
	RUN_UNTIL(f, f->running && strstr(f->console, "hi"));
}

static void type(struct fixture *f, char key)
{
	RUN_UNTIL(f, engine_qemu.console_write(f->vm, &key, 1) == 1);
}

static void test_guest_that_powers_off(void **state)
{
	struct fixture *f = *state;

	wait_for_guest(f);
	assert_int_equal(f->agents, 1);
	type(f, 'x');
	RUN_UNTIL(f, strchr(f->console, 'x'));
	type(f, 'p');
	RUN_UNTIL(f, f->ended);
	assert_int_equal(f->end, VM_END_POWEROFF);
	assert_int_equal(f->err.kind, ERR_NONE);
	assert_int_equal(f->running, 1);
}

static void test_guest_that_resets(void **state)
{
	struct fixture *f = *state;

	wait_for_guest(f);
	type(f, 'r');
	RUN_UNTIL(f, f->ended);
	assert_int_equal(f->end, VM_END_RESET);
}

static void test_kill(void **state)
{
	struct fixture *f = *state;

	wait_for_guest(f);
	engine_qemu.kill(f->vm);
	RUN_UNTIL(f, f->ended);
	assert_int_equal(f->end, VM_END_KILLED);
}

static void test_qemu_killed_by_somebody(void **state)
{
	struct fixture *f = *state;
	struct process p = PROCESS_INIT;

	wait_for_guest(f);
	assert_int_equal(process_adopt(f->processes[0].pid,
				       f->processes[0].start_time, &p, NULL),
			 0);
	assert_int_equal(process_signal(&p, SIGKILL), 0);
	process_close(&p);
	RUN_UNTIL(f, f->ended);
	assert_int_equal(f->end, VM_END_FAILED);
	assert_string_equal(f->err.code, "qemu_died");
}

/* The daemon goes and another comes. */
static int adopt(struct fixture *f, enum vm_end *end, struct err *e)
{
	f->running = f->agents = 0;
	f->console_len = 0;
	memset(f->console, 0, sizeof(f->console));
	return engine_qemu.adopt(f->loop, "real", f->dirfd, f->dir,
				 f->processes, f->process_count, &events, f,
				 &f->vm, end, e);
}

static void test_adopted_vm_works_as_before(void **state)
{
	struct fixture *f = *state;
	struct err e = ERR_INIT;
	enum vm_end end;

	wait_for_guest(f);
	engine_qemu.release(f->vm);
	f->vm = NULL;
	assert_int_equal(adopt(f, &end, &e), 0);
	RUN_UNTIL(f, f->running && f->agents);
	type(f, 'y');
	RUN_UNTIL(f, strchr(f->console, 'y'));
	type(f, 'p');
	RUN_UNTIL(f, f->ended);
	assert_int_equal(f->end, VM_END_POWEROFF);
}

/* The guest ends while nobody is there to hear of it. */
static void test_end_without_a_daemon_is_found_at_adoption(void **state)
{
	struct fixture *f = *state;
	struct err e = ERR_INIT;
	uint64_t end_ms = clock_mono_ms() + DEADLINE_MS;
	AUTO(fd) int fd = -1;
	AUTO(free) char *log = NULL;
	enum vm_end end;
	size_t len;

	wait_for_guest(f);
	engine_qemu.release(f->vm);
	f->vm = NULL;
	/* The socket may still hold the old connection for a moment. */
	while (sock_connect_unix(f->dirfd, "serial.sock", &fd, NULL) < 0)
		assert_true(clock_mono_ms() < end_ms);
	assert_int_equal(send(fd, "r", 1, MSG_NOSIGNAL), 1);
	while (!log || !strstr(log, "guest-reset")) {
		free(log);
		log = NULL;
		assert_true(clock_mono_ms() < end_ms);
		assert_int_equal(file_read(f->dirfd, "qmp.log", 65536, &log,
					   &len, NULL),
				 0);
		(void)loop_run_once(f->loop, 20);
	}
	assert_int_equal(adopt(f, &end, &e), 0);
	RUN_UNTIL(f, f->ended);
	assert_int_equal(f->end, VM_END_RESET);
	assert_int_equal(f->running, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_guest_that_powers_off),
		TEST(test_guest_that_resets),
		TEST(test_kill),
		TEST(test_qemu_killed_by_somebody),
		TEST(test_adopted_vm_works_as_before),
		TEST(test_end_without_a_daemon_is_found_at_adoption),
	};

	if (!host_qemu()->usable) {
		printf("SKIP %s\n", host_qemu()->reason);
		return SKIPPED;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
