/* SPDX-License-Identifier: Apache-2.0 */
/* How many VMs come up at once, and what becomes of those that wait. */
#include "tests/unit/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "rig.h"

enum {
	MANY = 12
};

static void create(struct rig *r, unsigned n)
{
	struct answer a;
	char body[64];

	(void)snprintf(body, sizeof(body),
		       "{\"image\":\"tiny\",\"name\":\"n%u\"}", n);
	rig_call(r, "POST", "/v1/vms", "", body, &a);
	assert_int_equal(a.status, 202);
	answer_done(&a);
}

static int ask_to_create(struct rig *r, unsigned n)
{
	static const char body[] = "{\"image\":\"tiny\",\"name\":\"n%u\"}";
	char text[256];
	int fd = rig_connect(r);
	int len = snprintf(text, sizeof(text),
			   "POST /v1/vms HTTP/1.1\r\nHost: vmd\r\n"
			   "Content-Type: application/json\r\n"
			   "Content-Length: %d\r\n\r\n",
			   snprintf(NULL, 0, body, n));

	len += snprintf(text + len, sizeof(text) - (size_t)len, body, n);
	assert_int_equal(send(fd, text, (size_t)len, MSG_NOSIGNAL), len);
	return fd;
}

static struct vm *named(struct rig *r, unsigned n)
{
	char name[8];
	struct err e = ERR_INIT;

	(void)snprintf(name, sizeof(name), "n%u", n);
	return vm_find(&r->d, name, &e);
}

static unsigned coming_up(struct rig *r)
{
	struct vm *vm;
	unsigned n = 0;

	LIST_FOREACH(vm, &r->d.vms, link)
		n += vm->clone || (vm->handle && vm->row.state != API_VM_READY);
	return n;
}

static unsigned ready(struct rig *r)
{
	struct vm *vm;
	unsigned n = 0;

	LIST_FOREACH(vm, &r->d.vms, link)
		n += vm->row.state == API_VM_READY;
	return n;
}

static void test_only_so_many_come_up_at_once(void **state)
{
	struct rig *r = *state;
	unsigned most = 0;
	int fds[MANY];

	r->config.starts_max = 1;
	/* The loop does not run meanwhile: they are all there at once. */
	for (unsigned i = 0; i < MANY; i++)
		fds[i] = ask_to_create(r, i);
	for (unsigned turns = 0; ready(r) < MANY && turns < 100000; turns++) {
		(void)loop_run_once(r->loop, 5);
		if (coming_up(r) > most)
			most = coming_up(r);
	}
	assert_int_equal(ready(r), MANY);
	assert_int_equal(most, 1);
	assert_int_equal(r->d.turns.taken, 0);
	for (unsigned i = 0; i < MANY; i++)
		close(fds[i]);
}

static void test_those_that_wait_say_so_and_can_go(void **state)
{
	struct rig *r = *state;
	struct answer a;
	char path[96];

	fake_fault = FAKE_NEVER_READY;
	for (unsigned i = 0; i < 8; i++)
		create(r, i);
	RIG_UNTIL(r, fake_starts == 4 && coming_up(r) == 4);
	assert_int_equal(named(r, 6)->turn, TURN_AWAITED);
	assert_string_equal(named(r, 6)->op->row.step,
			    "waiting for its turn: 4 starts are under way, 2 "
			    "more come first");
	/* Cancelled while it waits: gone, and the others move up. */
	(void)snprintf(path, sizeof(path), "/v1/operations/%s",
		       named(r, 4)->op->row.id);
	rig_call(r, "DELETE", path, "", NULL, &a);
	answer_done(&a);
	RIG_UNTIL(r, !named(r, 4));
	assert_non_null(strstr(named(r, 6)->op->row.step, "1 more"));
	/* Removed while it waits. */
	rig_call(r, "DELETE", "/v1/vms/n5?force=true&wait=5", "", NULL, &a);
	assert_string_equal(answer_text(&a, "state"), "succeeded");
	answer_done(&a);
	/* One that comes up is removed: the first that waits comes up. */
	rig_call(r, "DELETE", "/v1/vms/n0?force=true&wait=5", "", NULL, &a);
	assert_string_equal(answer_text(&a, "state"), "succeeded");
	answer_done(&a);
	RIG_UNTIL(r, fake_starts == 5);
	assert_int_equal(named(r, 6)->turn, TURN_TAKEN);
	assert_int_equal(named(r, 7)->turn, TURN_AWAITED);
	assert_int_equal(r->d.turns.taken, 4);
}

/* The limit holds for starts and restarts as well. */
static void test_start_waits_for_its_turn(void **state)
{
	struct rig *r = *state;
	struct answer a;
	AUTO(free) char *id = rig_create(r, "\"name\":\"web\"", &a);
	char path[96];

	answer_done(&a);
	(void)snprintf(path, sizeof(path), "/v1/vms/%s/stop?wait=5", id);
	rig_expect(r, "POST", path, NULL, "state", "succeeded");
	fake_fault = FAKE_NEVER_READY;
	for (unsigned i = 0; i < 4; i++)
		create(r, i);
	RIG_UNTIL(r, fake_starts == 5);
	rig_expect(r, "POST", "/v1/vms/web/start", NULL, "state", "running");
	rig_spin(r, 50);
	assert_int_equal(fake_starts, 5);
	rig_expect(r, "GET", "/v1/vms/web", NULL, "state", "starting");
	fake_fault = FAKE_OK;
	rig_call(r, "DELETE", "/v1/vms/n0?force=true&wait=5", "", NULL, &a);
	answer_done(&a);
	RIG_UNTIL(r, vm_find_id(&r->d, id)->row.state == API_VM_READY);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(test_only_so_many_come_up_at_once),
		RIG_TEST(test_those_that_wait_say_so_and_can_go),
		RIG_TEST(test_start_waits_for_its_turn),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
