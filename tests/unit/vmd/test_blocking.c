/* SPDX-License-Identifier: Apache-2.0 */
/*
 * No turn of the loop keeps the others waiting, under a load of all verbs: what
 * counts is what the loop's thread computes and what it sleeps for, not what the
 * machine's other load takes from it.
 */
#include "tests/unit/test.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "rig.h"

enum {
	ROUNDS = 6,
	TRIES = 5,
	TURN_US = 50000,
	EXTENTS = 60000
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

/* The measure would see it: by name, and as waiting. */
static void test_a_turn_that_blocks_is_seen(void **state)
{
	struct rig *r = *state;
	struct loop_timer timer = { .deadline_ms = 0 };
	struct loop_slow worst;

	loop_measure(r->loop, true);
	loop_timer_init(r->loop, &timer, sleep_in_turn, NULL);
	loop_timer_arm_soon(&timer);
	rig_settle(r);
	worst = loop_worst_turn(r->loop);
	assert_true(worst.blocked_us >= TURN_US);
	assert_non_null(strstr(worst.source, "test_blocking.c:sleep_in_turn"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(test_no_turn_takes_long),
		RIG_TEST(test_a_turn_that_blocks_is_seen),
	};

	if (access("/proc/thread-self/schedstat", R_OK) < 0) {
		printf("SKIP this kernel keeps no account of its scheduler\n");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
