/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmd/engines/microvm/engine_microvm.c with scripts in vmd-monitor's place, and the choice
 * between the engines by what the probe says.
 */
#include "engine_rig.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/json.h"
#include "base/process.h"
#include "base/sock.h"
#include "vmd/engines/host.h"
#include "vmd/engines/microvm/microvm_config.h"
#include "vmd/engines/passt.h"

#define GOOD "{\"usable\":true,\"mips\":900.5,\"api\":12,\"reason\":\"\"}"

/* The probe answers `probe`; a start runs `body` in the run directory. */
static void fake_monitor(const struct engine_rig *f, const char *probe,
			 const char *body)
{
	char text[768];

	(void)snprintf(text, sizeof(text),
		       "if [ \"$1\" = --probe-kvm ]; then\n"
		       "echo noise >&2\necho '%s'\nexit 0\nfi\n%s",
		       probe, body);
	engine_rig_program(f, "vmd-monitor", text);
}

static int setup(void **state)
{
	struct engine_rig *f = engine_rig_new(&engine_microvm);

	f->launch.vcpus = 2;
	*state = f;
	return 0;
}

static void start(struct engine_rig *f)
{
	engine_rig_start(f);
	assert_non_null(engine_rig_process(f, "monitor"));
}

/* A descriptor of the fake monitor, as the real one would use it. */
static int monitor_fd(const struct engine_rig *f, int number)
{
	const struct vm_process *p = engine_rig_process(f, "monitor");
	AUTO(fd) int pidfd = -1;
	int fd = -1;

	assert_non_null(p);
	pidfd = (int)syscall(SYS_pidfd_open, p->pid, 0);
	fd = (int)syscall(SYS_pidfd_getfd, pidfd, number, 0);
	assert_true(fd >= 0);
	assert_int_equal(file_set_nonblock(fd), 0);
	return fd;
}

static void test_choice_follows_the_probe(void **state)
{
	static const struct {
		const char *probe, *engine, *reason;
	} cases[] = {
		{ GOOD, "microvm", "KVM runs guests" },
		{ "{\"usable\":true,\"mips\":1.3,\"reason\":\"\"}", "qemu",
		  "interprets guests (1.3 MIPS" },
		{ "{\"usable\":false,\"mips\":0,\"reason\":\"it stopped\"}",
		  "qemu", "it stopped" },
		{ "not json", "qemu", "probe of vmd-monitor failed" },
	};
	struct engine_rig *f = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct engine_ops *engine = NULL;
		char reason[256];
		struct err e = ERR_INIT;

		fake_monitor(f, cases[i].probe, "exit 1");
		if (!host_qemu()->usable &&
		    strcmp(cases[i].engine, "qemu") == 0)
			continue; /* QEMU is not installed here */
		assert_int_equal(engine_choose("auto", &f->launch, &engine,
					       reason, &e),
				 0);
		assert_string_equal(engine->name, cases[i].engine);
		assert_non_null(strstr(reason, cases[i].reason));
	}
}

static void test_unknown_engine_is_refused(void **state)
{
	struct engine_rig *f = *state;
	const struct engine_ops *engine;
	char reason[256];
	struct err e = ERR_INIT;

	assert_true(engine_choose("bochs", &f->launch, &engine, reason, &e) <
		    0);
	assert_string_equal(e.code, "engine_unknown");
}

static void test_end_comes_from_the_status_file(void **state)
{
	static const struct {
		const char *json;
		enum vm_end end;
		const char *code;
	} cases[] = {
		{ "{\"reason\":\"poweroff\",\"error\":null}", VM_END_POWEROFF,
		  "" },
		{ "{\"reason\":\"reset\"}", VM_END_RESET, "" },
		{ "{\"reason\":\"crash\"}", VM_END_CRASH, "guest_crashed" },
		{ "{\"reason\":\"error\",\"error\":{\"code\":"
		  "\"kernel_bad_format\",\"message\":\"no\"}}",
		  VM_END_FAILED, "kernel_bad_format" },
		{ "{\"reason\":5}", VM_END_FAILED, "monitor_died" },
		{ "[[[[", VM_END_FAILED, "monitor_died" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char body[256];
		struct engine_rig *f;
		void *inner;

		(void)setup(&inner);
		f = inner;
		(void)snprintf(body, sizeof(body),
			       "echo '%s' >status.json; exit 0", cases[i].json);
		fake_monitor(f, GOOD, body);
		start(f);
		RUN_UNTIL(f, f->ended);
		assert_int_equal(f->end, cases[i].end);
		assert_string_equal(f->err.code, cases[i].code);
		(void)engine_rig_teardown(&inner);
	}
	(void)state;
}

static void test_monitor_without_a_record_gives_its_last_words(void **state)
{
	struct engine_rig *f = *state;

	fake_monitor(f, GOOD, "echo 'no such ioctl' >&2; exit 6");
	start(f);
	RUN_UNTIL(f, f->ended);
	assert_string_equal(f->err.code, "monitor_died");
	assert_non_null(strstr(f->err.msg, "status 6"));
	assert_non_null(strstr(f->err.msg, "no such ioctl"));
}

/* What ends it from outside leaves no record: the signal is the reason. */
static void test_killed_monitor_names_the_signal(void **state)
{
	static const struct {
		const char *signal, *text;
	} cases[] = {
		{ "SYS", "was killed by signal 31 (SIGSYS: a system call that "
			 "its filter forbids)" },
		{ "SEGV", "was killed by signal 11 (SIGSEGV: " },
		{ "KILL", "was killed by signal 9 (SIGKILL: by somebody on "
			  "this host, or by its kernel for want of memory)" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char body[64];
		struct engine_rig *f;
		void *inner;

		(void)setup(&inner);
		f = inner;
		(void)snprintf(body, sizeof(body),
			       "echo last words >&2; kill -%s $$; sleep 100",
			       cases[i].signal);
		fake_monitor(f, GOOD, body);
		start(f);
		RUN_UNTIL(f, f->ended);
		assert_int_equal(f->end, VM_END_FAILED);
		assert_string_equal(f->err.code, "monitor_died");
		assert_non_null(strstr(f->err.msg, cases[i].text));
		assert_non_null(strstr(f->err.msg, "last words"));
		(void)engine_rig_teardown(&inner);
	}
	(void)state;
}

/* A monitor that an earlier daemon started: nobody tells us how it ended. */
static void test_killed_adopted_monitor_is_not_guessed(void **state)
{
	struct engine_rig *f = *state;
	struct vm_process *p = &f->processes[f->process_count++];
	enum vm_end end = VM_END_POWEROFF;
	AUTO(free) char *text = NULL;
	struct err e = ERR_INIT;
	char command[128];
	size_t len;

	(void)snprintf(command, sizeof(command),
		       "sleep 100 >/dev/null 2>&1 & echo $! >%s/pid",
		       f->dir.path);
	assert_int_equal(system(command), 0); /* not our child */
	assert_int_equal(file_read(f->launch.run_dirfd, "pid", 32, &text, &len,
				   NULL),
			 0);
	(void)strcpy(p->role, "monitor");
	p->pid = (pid_t)strtol(text, NULL, 10);
	assert_int_equal(process_start_time(p->pid, &p->start_time), 0);
	assert_int_equal(engine_rig_adopt(f, &end, &e), 0);
	assert_int_equal(kill(p->pid, SIGSYS), 0);
	RUN_UNTIL(f, f->ended);
	assert_int_equal(f->end, VM_END_FAILED);
	assert_string_equal(f->err.code, "monitor_died");
	assert_non_null(strstr(f->err.msg, "how is unknown"));
	/* The same when it had ended before a daemon looked. */
	engine_microvm.release(f->vm);
	f->vm = NULL;
	assert_int_equal(engine_rig_adopt(f, &end, &e), -ESRCH);
	assert_int_equal(end, VM_END_FAILED);
	assert_non_null(strstr(e.msg, "how is unknown"));
}

static void test_kill_ends_as_killed(void **state)
{
	struct engine_rig *f = *state;

	fake_monitor(f, GOOD, "exec sleep 100");
	start(f);
	engine_microvm.kill(f->vm);
	RUN_UNTIL(f, f->ended);
	assert_int_equal(f->end, VM_END_KILLED);
}

static void test_config_says_what_it_must(void **state)
{
	struct engine_rig *f = *state;
	AUTO(json) json_t *j = NULL;
	AUTO(free) char *text = NULL;
	const json_t *o;
	size_t len;

	f->launch.initrd_path = f->launch.kernel_path;
	f->launch.cmdline = "own=1";
	fake_monitor(f, GOOD, "test -e /proc/self/fd/3 || exit 9; exit 0");
	start(f);
	RUN_UNTIL(f, f->ended);
	assert_null(strstr(f->err.msg, "status 9"));
	assert_int_equal(file_read(f->launch.run_dirfd, "vm.json", 65536, &text,
				   &len, NULL),
			 0);
	assert_int_equal(json_parse_strict(text, len, "vm.json", &j, NULL), 0);
	o = json_object_get(j, "boot-source");
	assert_string_equal(
		json_string_value(json_object_get(o, "kernel_image_path")),
		"fd:3");
	assert_string_equal(
		json_string_value(json_object_get(o, "initrd_path")), "fd:4");
	assert_non_null(
		strstr(json_string_value(json_object_get(o, "boot_args")),
		       "vmd.hostname=test own=1"));
	/* A third of all exits of a boot. */
	assert_null(strstr(json_string_value(json_object_get(o, "boot_args")),
			   "i8042"));
	o = json_object_get(j, "machine-config");
	assert_int_equal(json_integer_value(json_object_get(o, "vcpu_count")),
			 2);
	assert_int_equal(json_integer_value(json_object_get(o, "mem_size_mib")),
			 256);
	assert_null(json_object_get(j, "drives"));
	assert_null(json_object_get(j, "network-interfaces"));
}

/* A call of the daemon as the monitor gets it, -1: none came. */
static int take_call(struct engine_rig *f, int listen_fd)
{
	AUTO(fd) int called = -1;
	char text[32] = "";

	RUN_UNTIL(f, sock_accept(listen_fd, &called) == 0);
	RUN_UNTIL(f, recv(called, text, sizeof(text) - 1, MSG_DONTWAIT) > 0);
	assert_string_equal(text, "CONNECT 1000\n");
	return take_fd(&called);
}

/* We call until the guest answers; there is nothing that the guest could call. */
static void test_agent_is_called_and_never_calls(void **state)
{
	struct engine_rig *f = *state;
	AUTO(fd) int listen_fd = -1;
	AUTO(fd) int refused = -1;
	AUTO(fd) int called = -1;
	char text[32] = "";
	struct dirent *entry;
	DIR *dir;

	fake_monitor(f, GOOD, "exec sleep 100");
	start(f);
	listen_fd = monitor_fd(f, MICROVM_FD_VSOCK);
	dir = opendir(f->dir.path);
	assert_non_null(dir);
	while ((entry = readdir(dir)))
		assert_int_not_equal(strncmp(entry->d_name, "vsock.sock_", 11),
				     0);
	(void)closedir(dir);
	/* The guest is not there yet: the monitor closes. */
	refused = take_call(f, listen_fd);
	close_fd(&refused);
	called = take_call(f, listen_fd);
	assert_int_equal(f->agents, 0);
	assert_int_equal(send(called, "OK 5000\nrest", 12, 0), 12);
	RUN_UNTIL(f, f->agents == 1);
	/* What follows the line is the agent's and was left in the socket. */
	assert_int_equal(recv(f->agent_fd, text, sizeof(text), 0), 4);
	assert_memory_equal(text, "rest", 4);
	/* After a lost session it is asked for again. */
	close_fd(&called);
	engine_microvm.agent_connect(f->vm);
	called = take_call(f, listen_fd);
	assert_int_equal(send(called, "OK 5001\n", 8, 0), 8);
	RUN_UNTIL(f, f->agents == 2);
}

/* The monitor's answer on the control socket is what makes it "running". */
static void test_running_comes_from_the_control_socket(void **state)
{
	static const char answer[] = "{\"state\":\"running\",\"vcpus\":2}\n";
	static const char full[] =
		"{\"state\":\"paused\",\"reason\":\"disk_full\"}\n";
	struct engine_rig *f = *state;
	AUTO(fd) int listen_fd = -1;
	AUTO(fd) int control = -1;
	char text[64] = "";

	fake_monitor(f, GOOD, "exec sleep 100");
	start(f);
	listen_fd = monitor_fd(f, MICROVM_FD_CONTROL);
	RUN_UNTIL(f, sock_accept(listen_fd, &control) == 0);
	RUN_UNTIL(f, recv(control, text, sizeof(text) - 1, MSG_DONTWAIT) > 0);
	assert_string_equal(text, "{\"action\":\"watch\"}\n");
	assert_int_equal(f->running, 0);
	assert_int_equal(send(control, answer, sizeof(answer) - 1, 0),
			 sizeof(answer) - 1);
	RUN_UNTIL(f, f->running);
	memset(text, 0, sizeof(text));
	assert_int_equal(engine_microvm.shutdown(f->vm, NULL), 0);
	RUN_UNTIL(f, recv(control, text, sizeof(text) - 1, MSG_DONTWAIT) > 0);
	assert_string_equal(text, "{\"action\":\"shutdown\"}\n");
	/* The monitor pauses by itself, and goes on when it is asked to. */
	assert_int_equal(f->pauses, 0);
	assert_int_equal(send(control, full, sizeof(full) - 1, 0),
			 sizeof(full) - 1);
	RUN_UNTIL(f, f->pauses == 1);
	assert_string_equal(f->pause, "disk full");
	memset(text, 0, sizeof(text));
	engine_microvm.resume(f->vm);
	RUN_UNTIL(f, recv(control, text, sizeof(text) - 1, MSG_DONTWAIT) > 0);
	assert_string_equal(text, "{\"action\":\"resume\"}\n"
				  "{\"action\":\"status\"}\n");
	assert_int_equal(send(control, answer, sizeof(answer) - 1, 0),
			 sizeof(answer) - 1);
	RUN_UNTIL(f, !f->pause[0]);
}

/* The network of a VM that runs is lost: it is told, and the VM goes on. */
/*
 * passt drops what its end has no room for. Small frames, which the kernel counts
 * double, of a whole window fit for everybody; of eight with privilege.
 */
static void test_passt_has_room_for_the_windows_of_the_guest(void **state)
{
	static const uint8_t frame[1518];
	const char *word = strstr(PASST_CMDLINE, "vmd.window=");
	size_t windows = geteuid() == 0 ? 8 : 1, window, sent = 0;
	struct engine_rig *f = *state;
	AUTO(fd) int listen_fd = -1;
	AUTO(fd) int fd = -1;

	assert_non_null(word);
	window = strtoul(word + strlen("vmd.window="), NULL, 10);
	assert_int_equal(sock_listen_unix(f->dir.fd, PASST_SOCKET, 0600,
					  &listen_fd, NULL),
			 0);
	assert_int_equal(passt_connect(f->dir.fd, &fd, NULL), 0);
	while (sent < windows * window &&
	       send(fd, frame, sizeof(frame), MSG_DONTWAIT) > 0)
		sent += sizeof(frame);
	assert_true(sent >= windows * window);
}

/* Whether passt's log has these words. */
static bool said(const struct engine_rig *f, const char *words)
{
	AUTO(free) char *text = NULL;
	size_t len;

	return file_read(f->dir.fd, "passt.log", 65536, &text, &len, NULL) ==
		       0 &&
	       strstr(text, words);
}

/* Ends, is told, comes again by itself, and again. */
static void test_lost_passt_comes_again(void **state)
{
	static const char answer[] = "{\"state\":\"running\",\"vcpus\":2}\n";
	struct engine_rig *f = *state;
	AUTO(fd) int listen_fd = -1;
	AUTO(fd) int control = -1;
	pid_t last = 0;

	engine_rig_program(f, "passt", "echo last words\nexec sleep 100");
	fake_monitor(f, GOOD, "exec sleep 100");
	f->launch.network = true;
	start(f);
	listen_fd = monitor_fd(f, MICROVM_FD_CONTROL);
	RUN_UNTIL(f, sock_accept(listen_fd, &control) == 0);
	assert_int_equal(send(control, answer, sizeof(answer) - 1, 0),
			 sizeof(answer) - 1);
	RUN_UNTIL(f, f->running);
	for (unsigned i = 1; i <= 2; i++) {
		const struct vm_process *passt = engine_rig_process(f, "passt");

		assert_int_not_equal(passt->pid, last);
		last = passt->pid;
		RUN_UNTIL(f, said(f, "last words"));
		assert_int_equal(kill(last, SIGKILL), 0);
		RUN_UNTIL(f, f->warnings == i);
		assert_string_equal(f->err.code, "network_lost");
		assert_non_null(strstr(f->err.msg, "last words"));
		RUN_UNTIL(f, f->recovered == i);
		assert_int_equal(f->ended, 0);
	}
	/* With the VM it ends as usual, and nothing is said. */
	engine_microvm.kill(f->vm);
	RUN_UNTIL(f, f->ended);
	assert_int_equal(f->warnings, 2);
}

#define TEST(name) \
	cmocka_unit_test_setup_teardown(name, setup, engine_rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_choice_follows_the_probe),
		TEST(test_unknown_engine_is_refused),
		cmocka_unit_test(test_end_comes_from_the_status_file),
		TEST(test_monitor_without_a_record_gives_its_last_words),
		cmocka_unit_test(test_killed_monitor_names_the_signal),
		TEST(test_killed_adopted_monitor_is_not_guessed),
		TEST(test_kill_ends_as_killed),
		TEST(test_config_says_what_it_must),
		TEST(test_agent_is_called_and_never_calls),
		TEST(test_running_comes_from_the_control_socket),
		TEST(test_passt_has_room_for_the_windows_of_the_guest),
		TEST(test_lost_passt_comes_again),
	};

	if (access("/dev/kvm", R_OK | W_OK) < 0) {
		printf("SKIP /dev/kvm cannot be opened\n");
		return SKIPPED;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
