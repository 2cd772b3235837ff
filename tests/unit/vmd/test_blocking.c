/* SPDX-License-Identifier: Apache-2.0 */
/*
 * No turn of the loop keeps the others waiting, under a load of all verbs: what
 * counts is what the loop's thread computes and what it sleeps for, not what the
 * machine's other load takes from it.
 */
#include "tests/unit/test.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "rig.h"

enum {
	ROUNDS = 6,
	TRIES = 5,
	TURN_US = 50000,
	EXTENTS = 60000,
	LOAD = 8
};

static void cancel(struct rig *r, const char *path)
{
	struct answer a;

	rig_call(r, "DELETE", path, "", NULL, &a);
	answer_done(&a);
}

/* Many pieces of some GiB: unlinking it takes its time. */
static void fragment(struct rig *r, const char *id)
{
	char path[200], block[512];
	int fd;

	memset(block, 'x', sizeof(block));
	(void)snprintf(path, sizeof(path), "%s/vms/%s/root.raw", r->state, id);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	for (off_t i = 0; i < EXTENTS; i++)
		assert_int_equal(pwrite(fd, block, sizeof(block), i << 17),
				 sizeof(block));
	close(fd);
}

static void build_and_cancel(struct rig *r)
{
	char path[128];
	struct answer a;

	rig_file(r, "mode", "hang");
	rig_call(r, "POST", "/v1/images", "",
		 "{\"name\":\"new\",\"recipe\":\"tiny\"}", &a);
	assert_int_equal(a.status, 202);
	(void)snprintf(path, sizeof(path), "/v1/operations/%s",
		       answer_text(&a, "id"));
	answer_done(&a);
	cancel(r, path);
	/* So is a clone. */
	rig_call(r, "POST", "/v1/vms", "", "{\"image\":\"disk\"}", &a);
	(void)snprintf(path, sizeof(path), "/v1/operations/%s",
		       answer_text(&a, "operation.id"));
	answer_done(&a);
	cancel(r, path);
	rig_file(r, "mode", "ok");
}

static void one_life(struct rig *r, unsigned round)
{
	AUTO(free) char *id = NULL;
	struct answer a;
	struct wsc *c;

	rig_call(r, "POST", "/v1/vms?wait=30", "",
		 "{\"image\":\"disk\",\"name\":\"a\"}", &a);
	assert_string_equal(answer_text(&a, "vm.state"), "ready");
	id = strdup(answer_text(&a, "vm.id"));
	answer_done(&a);
	c = wsc_open(r, "/v1/vms/a/exec");
	wsc_text(c, "{\"command\":[\"echo\",\"x\"]}");
	wsc_until(r, c, "exit");
	wsc_free(c);
	rig_expect(r, "POST", "/v1/vms/a/restart?wait=30", NULL, "state",
		   "succeeded");
	rig_expect(r, "GET", "/v1/vms", NULL, "next_cursor", "null");
	rig_expect(r, "GET", "/v1/images/disk", NULL, "name", "disk");
	rig_expect(r, "POST", "/v1/vms/a/stop?wait=30", NULL, "state",
		   "succeeded");
	if (round == 0)
		fragment(r, id);
	build_and_cancel(r);
	rig_expect(r, "DELETE", "/v1/vms/a?wait=30", NULL, "state",
		   "succeeded");
	RIG_UNTIL(r, rig_swept(r));
}

static void remove_image(struct rig *r)
{
	struct answer a;

	rig_call(r, "DELETE", "/v1/images/disk", "", NULL, &a);
	assert_int_equal(a.status, 204);
	answer_done(&a);
	RIG_UNTIL(r, rig_swept(r));
}

static uint64_t own_us(const struct loop_slow *s)
{
	return s->cpu_us + s->blocked_us;
}

/* An emulated or stolen processor may compute slowly once; not each time. */
static void test_no_turn_takes_long(void **state)
{
	struct rig *r = *state;
	struct loop_slow worst = { .source = NULL };

	loop_measure(r->loop, true);
	for (unsigned i = 0; i < TRIES; i++) {
		loop_measure_reset(r->loop);
		for (unsigned round = 0; round < ROUNDS; round++)
			one_life(r, round);
		worst = loop_worst_turn(r->loop);
		printf("slowest turn: %llu us in %s (computed %llu, waited "
		       "%llu) of %llu turns\n",
		       (unsigned long long)worst.wall_us,
		       worst.source ? worst.source : "(none was slow)",
		       (unsigned long long)worst.cpu_us,
		       (unsigned long long)worst.blocked_us,
		       (unsigned long long)loop_turns(r->loop));
		if (own_us(&worst) < TURN_US)
			break;
	}
	assert_true(own_us(&worst) < TURN_US);
	loop_measure_reset(r->loop);
	remove_image(r);
	worst = loop_worst_turn(r->loop);
	assert_true(own_us(&worst) < TURN_US);
}

static void sleep_in_turn(struct loop_timer *timer)
{
	(void)timer;
	assert_int_equal(usleep(TURN_US + 10000), 0);
}

static uint64_t cpu_us(void)
{
	struct timespec t;

	assert_int_equal(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t), 0);
	return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000;
}

static void compute(uint64_t us)
{
	uint64_t end = cpu_us() + us;

	while (cpu_us() < end)
		continue;
}

static void compute_in_turn(struct loop_timer *timer)
{
	(void)timer;
	compute(TURN_US + 10000);
}

/* As process_spawn() does: sleeps until the child gets on. */
static pid_t waited_for;

static void wait_for_child(void (*child)(void))
{
	int fds[2];
	char byte;
	struct loop_child_wait wait;
	pid_t pid;

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		child();
		(void)!write(fds[1], "x", 1);
		(void)pause(); /* its account is read while it lives */
	}
	assert_true(pid > 0);
	wait = loop_child_wait_begin();
	assert_int_equal(read(fds[0], &byte, 1), 1);
	loop_child_wait_end(wait, pid);
	(void)close(fds[0]);
	(void)close(fds[1]);
	waited_for = pid;
}

static void end_child(pid_t pid)
{
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void child_sleeps(void)
{
	(void)usleep(TURN_US + 10000);
}

static void sleeping_child_in_turn(struct loop_timer *timer)
{
	(void)timer;
	wait_for_child(child_sleeps);
}

static uint64_t queued_us(void)
{
	unsigned long long ran, queued;
	FILE *f = fopen("/proc/thread-self/schedstat", "re");

	if (!f || fscanf(f, "%llu %llu", &ran, &queued) != 2) /* NOLINT */
		queued = 0;
	if (f)
		(void)fclose(f);
	return queued / 1000;
}

/* What it has to compute is little, but the processor is another's. */
static void stay_on_one_processor(void)
{
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(0, &one);
	(void)sched_setaffinity(0, sizeof(one), &one);
}

static void child_queues(void)
{
	uint64_t end = clock_mono_ms() + 5000;

	stay_on_one_processor();
	while (queued_us() < TURN_US + 10000 && clock_mono_ms() < end)
		continue;
}

static uint64_t starved_ms;

static void queued_child_in_turn(struct loop_timer *timer)
{
	uint64_t begin = clock_mono_ms();

	(void)timer;
	wait_for_child(child_queues);
	starved_ms = clock_mono_ms() - begin;
}

static void turn_with(struct rig *r, void (*fn)(struct loop_timer *),
		      struct loop_slow *ret)
{
	struct loop_timer timer = { .deadline_ms = 0 };

	loop_measure(r->loop, true);
	loop_measure_reset(r->loop);
	loop_timer_init(r->loop, &timer, fn, NULL);
	loop_timer_arm_soon(&timer);
	rig_settle(r);
	*ret = loop_worst_turn(r->loop);
}

/*
 * The measure would see it: by name, and as waiting. On a loaded machine it may
 * take the sleep for a wait for a thread of ours that queues: not each time.
 */
static void test_a_turn_that_blocks_is_seen(void **state)
{
	struct loop_slow sleeps = { .blocked_us = 0 }, child = sleeps;
	struct rig *r = *state;

	RIG_UNTIL(r, rig_swept(r));
	for (int i = 0; sleeps.blocked_us < TURN_US && i < 2 * TRIES; i++)
		turn_with(r, sleep_in_turn, &sleeps);
	assert_true(sleeps.blocked_us >= TURN_US);
	assert_non_null(strstr(sleeps.source, "test_blocking.c:fn"));
	for (int i = 0; child.blocked_us < TURN_US && i < 2 * TRIES; i++) {
		turn_with(r, sleeping_child_in_turn, &child);
		end_child(waited_for);
	}
	assert_true(child.blocked_us >= TURN_US);
}

static void test_a_turn_that_computes_is_seen(void **state)
{
	struct loop_slow worst;

	turn_with(*state, compute_in_turn, &worst);
	assert_true(worst.cpu_us >= TURN_US);
}

/* Others have the processor that a child of ours waits for. */
static void test_a_loaded_machine_is_not_blocking(void **state)
{
	struct loop_slow worst;
	pid_t load[LOAD];

	for (int i = 0; i < LOAD; i++) {
		load[i] = fork();
		assert_true(load[i] >= 0);
		if (load[i])
			continue;
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		stay_on_one_processor();
		for (;;)
			continue;
	}
	turn_with(*state, queued_child_in_turn, &worst);
	for (int i = 0; i < LOAD; i++)
		end_child(load[i]);
	end_child(waited_for);
	printf("a child that was not let on: %llu ms; of a turn of %llu ms "
	       "count %llu\n",
	       (unsigned long long)starved_ms,
	       (unsigned long long)worst.wall_us / 1000,
	       (unsigned long long)own_us(&worst) / 1000);
	assert_true(starved_ms * 1000 >= TURN_US);
	assert_true(own_us(&worst) < TURN_US);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(test_no_turn_takes_long),
		RIG_TEST(test_a_turn_that_blocks_is_seen),
		RIG_TEST(test_a_turn_that_computes_is_seen),
		RIG_TEST(test_a_loaded_machine_is_not_blocking),
	};

	if (access("/proc/thread-self/schedstat", R_OK) < 0) {
		printf("SKIP this kernel keeps no account of its scheduler\n");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
