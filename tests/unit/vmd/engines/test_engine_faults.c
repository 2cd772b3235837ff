/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Both engines when the k-th thing that a start needs of the host is refused: a
 * process (the VM's, passt's) or a place in the event loop. The start fails or
 * the VM ends, with a reason; no process and no descriptor is left.
 */
#include "engine_rig.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/process.h"
#include "vmd/priv/privops.h"

enum {
	POINTS_MAX = 20
};

/* The k-th call from now on fails; 0: none does. */
static unsigned spawn_left, add_left;
static int spawn_error;
/* Nothing that was killed ends: it waits for a disk. */
static bool undying;

/* What the linker puts in the place of the functions, and what was there.
 * NOLINTBEGIN(bugprone-reserved-identifier) */
int __real_process_spawn(const struct process_spec *spec, struct process *ret,
			 struct err *e);
int __wrap_process_spawn(const struct process_spec *spec, struct process *ret,
			 struct err *e);
int __real_loop_add_named(struct loop *loop, struct loop_source *source, int fd,
			  uint32_t events, loop_io_fn *fn, void *data,
			  const char *name);
int __wrap_loop_add_named(struct loop *loop, struct loop_source *source, int fd,
			  uint32_t events, loop_io_fn *fn, void *data,
			  const char *name);
bool __real_privops_reap(struct process *p, struct process_exit *ret);
bool __wrap_privops_reap(struct process *p, struct process_exit *ret);

int __wrap_process_spawn(const struct process_spec *spec, struct process *ret,
			 struct err *e)
{
	if (spawn_left && --spawn_left == 0)
		return err_sys(e, spawn_error, "starting %s", spec->argv[0]);
	return __real_process_spawn(spec, ret, e);
}

int __wrap_loop_add_named(struct loop *loop, struct loop_source *source, int fd,
			  uint32_t events, loop_io_fn *fn, void *data,
			  const char *name)
{
	if (add_left && --add_left == 0) {
		source->fd = -1;
		return -ENOSPC;
	}
	return __real_loop_add_named(loop, source, fd, events, fn, data, name);
}

bool __wrap_privops_reap(struct process *p, struct process_exit *ret)
{
	return !undying && __real_privops_reap(p, ret);
}
/* NOLINTEND(bugprone-reserved-identifier) */

static size_t open_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	size_t n = 0;

	assert_non_null(dir);
	while (readdir(dir))
		n++;
	(void)closedir(dir);
	return n;
}

static void assert_nothing_left(struct engine_rig *r, size_t fds)
{
	for (size_t i = 0; i < r->process_count; i++) {
		assert_int_equal(kill(r->processes[i].pid, 0), -1);
		assert_int_equal(errno, ESRCH);
	}
	assert_int_equal(open_fds(), fds);
}

/* true: the fault was met. */
static bool start_with_fault(struct engine_rig *r)
{
	struct err e = ERR_INIT;
	size_t fds = open_fds();
	bool met;

	r->process_count = 0;
	r->ended = 0;
	err_clear(&r->err);
	if (engine_rig_start_may_fail(r, &e) < 0) {
		assert_true(e.kind != ERR_NONE && e.msg[0]);
		assert_null(r->vm);
	} else {
		/* What it can do without, it goes on without. */
		for (int i = 0; i < 5 && !r->ended; i++)
			(void)loop_run_once(r->loop, 10);
		if (!r->ended)
			r->engine->kill(r->vm);
		else
			assert_true(r->err.kind != ERR_NONE);
		RUN_UNTIL(r, r->ended);
		r->engine->release(r->vm);
		r->vm = NULL;
	}
	close_fd(&r->agent_fd);
	met = spawn_left == 0 && add_left == 0;
	spawn_left = add_left = 0;
	assert_nothing_left(r, fds);
	return met;
}

/* A start that must be undone does not wait for what it killed. */
static void abort_waits_for_nobody(struct engine_rig *r)
{
	struct err e = ERR_INIT;
	size_t fds = open_fds();
	uint64_t begin;
	unsigned undone = 0;

	for (unsigned k = 1; k < POINTS_MAX; k++) {
		r->process_count = 0;
		r->ended = 0;
		add_left = k;
		undying = true;
		if (engine_rig_start_may_fail(r, &e) < 0) {
			assert_int_equal(r->process_count, 0); /* too early */
			add_left = 0;
			undying = false;
			continue;
		}
		begin = clock_mono_ms();
		while (clock_mono_ms() < begin + 30)
			(void)loop_run_once(r->loop, 5);
		assert_false(r->ended);
		undying = false;
		if (add_left) /* all are watched */
			undone = undone ? undone : k;
		add_left = 0;
		for (int i = 0; i < 5 && !r->ended; i++)
			(void)loop_run_once(r->loop, 10);
		if (!r->ended)
			r->engine->kill(r->vm);
		RUN_UNTIL(r, r->ended);
		r->engine->release(r->vm);
		r->vm = NULL;
		close_fd(&r->agent_fd);
		assert_nothing_left(r, fds);
	}
	assert_true(undone > 2);
}

static void faults_of(const struct engine_ops *engine)
{
	static const int errors[] = { EAGAIN, ENOMEM };
	struct engine_rig *r = engine_rig_new(engine);
	struct engine_status status;
	void *state = r;
	unsigned k;

	engine_rig_program(r, "vmd-monitor",
			   "[ \"$1\" = --probe-kvm ] && { echo "
			   "'{\"usable\":true,\"mips\":900,\"api\":12,"
			   "\"reason\":\"\"}'; exit; }\nexec sleep 100");
	engine_rig_program(r, "qemu-system-x86_64",
			   "[ \"$1\" = --version ] && { echo QEMU emulator "
			   "version 7.2.22; exit; }\nexec sleep 100");
	engine_rig_program(r, "passt", "exec sleep 100");
	r->launch.network = true;
	r->launch.cmdline = "";
	engine_qemu.probe(&status); /* its own processes do not count */
	engine_microvm.probe(&status);
	if (engine->can_run(&r->launch, NULL) < 0) {
		print_message("SKIP %s cannot run here\n", engine->name);
		(void)engine_rig_teardown(&state);
		return;
	}
	(void)start_with_fault(r); /* none: what is made once is made */
	for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
		spawn_error = errors[i];
		for (k = 1; spawn_left = k, start_with_fault(r); k++) {
			/* It was started in the end, or says why not. */
			assert_true(k < POINTS_MAX);
		}
		assert_int_equal(k, 3); /* the VM's process, passt's */
	}
	for (k = 1; add_left = k, start_with_fault(r); k++)
		assert_true(k < POINTS_MAX);
	assert_true(k > 2); /* the ends of both processes, at least */
	abort_waits_for_nobody(r);
	(void)engine_rig_teardown(&state);
}

static void test_microvm_faults_leave_nothing(void **state)
{
	(void)state;
	faults_of(&engine_microvm);
}

static void test_qemu_faults_leave_nothing(void **state)
{
	(void)state;
	faults_of(&engine_qemu);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_microvm_faults_leave_nothing),
		cmocka_unit_test(test_qemu_faults_leave_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
