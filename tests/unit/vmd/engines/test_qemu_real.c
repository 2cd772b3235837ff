/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmd/engines/qemu/engine_qemu.c with the real QEMU and a guest of 86 bytes: it says "hi" on
 * the serial port, echoes what it gets, powers off on 'p' and resets on 'r'.
 */
#include "engine_rig.h"

#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/process.h"
#include "base/sock.h"
#include "vmd/engines/host.h"

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

static int setup(void **state)
{
	static char kernel[64];
	struct engine_rig *f = engine_rig_new(&engine_qemu);

	(void)snprintf(kernel, sizeof(kernel), "%s/guest", f->dir.path);
	assert_int_equal(file_replace(f->dir.fd, "guest", guest, sizeof(guest),
				      0600, NULL),
			 0);
	f->launch.memory_bytes = 32u << 20;
	f->launch.emulate = true;
	f->launch.jailed = true; /* as the daemon starts it */
	f->launch.uid_slot = 808;
	f->launch.kernel_path = kernel;
	engine_rig_start(f);
	*state = f;
	return 0;
}

static void wait_for_guest(struct engine_rig *f)
{
	RUN_UNTIL(f, f->running && strstr(f->console, "hi"));
}

static void type(struct engine_rig *f, char key)
{
	RUN_UNTIL(f, engine_qemu.console_write(f->vm, &key, 1) == 1);
}

static void test_guest_that_powers_off(void **state)
{
	struct engine_rig *f = *state;

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
	struct engine_rig *f = *state;

	wait_for_guest(f);
	type(f, 'r');
	RUN_UNTIL(f, f->ended);
	assert_int_equal(f->end, VM_END_RESET);
}

static void test_kill(void **state)
{
	struct engine_rig *f = *state;

	wait_for_guest(f);
	engine_qemu.kill(f->vm);
	RUN_UNTIL(f, f->ended);
	assert_int_equal(f->end, VM_END_KILLED);
}

static void test_qemu_killed_by_somebody(void **state)
{
	struct engine_rig *f = *state;
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
static void test_adopted_vm_works_as_before(void **state)
{
	struct engine_rig *f = *state;
	struct err e = ERR_INIT;
	enum vm_end end;

	wait_for_guest(f);
	engine_qemu.release(f->vm);
	f->vm = NULL;
	assert_int_equal(engine_rig_adopt(f, &end, &e), 0);
	RUN_UNTIL(f, f->running && f->agents);
	type(f, 'y');
	RUN_UNTIL(f, strchr(f->console, 'y'));
	type(f, 'p');
	RUN_UNTIL(f, f->ended);
	assert_int_equal(f->end, VM_END_POWEROFF);
}

static bool log_says(const struct engine_rig *f, const char *text)
{
	AUTO(free) char *log = NULL;
	size_t len;

	assert_int_equal(
		file_read(f->dir.fd, "qmp.log", 65536, &log, &len, NULL), 0);
	return strstr(log, text) != NULL;
}

/* The guest ends while nobody is there to hear of it. */
static void test_end_without_a_daemon_is_found_at_adoption(void **state)
{
	struct engine_rig *f = *state;
	struct err e = ERR_INIT;
	AUTO(fd) int fd = -1;
	enum vm_end end;

	wait_for_guest(f);
	engine_qemu.release(f->vm);
	f->vm = NULL;
	/* The socket may still hold the old connection for a moment. */
	UNTIL(ENGINE_DEADLINE_MS,
	      sock_connect_unix(f->dir.fd, "serial.sock", &fd, NULL) == 0, 0);
	assert_int_equal(send(fd, "r", 1, MSG_NOSIGNAL), 1);
	RUN_UNTIL(f, log_says(f, "guest-reset"));
	assert_int_equal(engine_rig_adopt(f, &end, &e), 0);
	RUN_UNTIL(f, f->ended);
	assert_int_equal(f->end, VM_END_RESET);
	assert_int_equal(f->running, 0);
}

#define TEST(name) \
	cmocka_unit_test_setup_teardown(name, setup, engine_rig_teardown)

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
