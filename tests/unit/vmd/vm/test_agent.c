/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions with the agent: what a guest may do to them, and what not. */
#include "tests/unit/test.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "rig.h"

/* One more connection, as an engine reports it; the guest's end. */
static int offer(struct vm *vm)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX,
				    SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
				    0, fds),
			 0);
	vm_engine_events.agent(vm, fds[1]);
	return fds[0];
}

/* A process of the guest that gets a connection to the daemon meanwhile must
 * neither end what runs nor receive what comes next. */
static void test_live_session_is_not_replaced(void **state)
{
	struct rig *r = *state;
	struct answer a;
	AUTO(free) char *id = rig_create(r, "\"name\":\"web\"", &a);
	struct vm *vm = vm_find_id(&r->d, id);
	AUTO(fd) int intruder = -1;
	struct wsc *c;
	char seen[64];

	answer_done(&a);
	c = wsc_open(r, "/v1/vms/web/exec");
	wsc_text(c, "{\"command\":[\"hang\"]}");
	wsc_until(r, c, "started");
	intruder = offer(vm);
	/* Refused: closed without a byte. */
	RIG_UNTIL(r, recv(intruder, seen, sizeof(seen), 0) == 0);
	rig_spin(r, 50);
	assert_false(c->eof);
	assert_int_equal(c->close_code, 0);
	assert_true(agent_session_ready(vm->session));
	assert_int_equal(vm->row.state, API_VM_READY);
	wsc_free(c);
}

/* Lost twice within the second that the daemon waits before it calls again. */
static void test_sessions_lost_in_a_row_are_survived(void **state)
{
	struct rig *r = *state;
	struct answer a;
	AUTO(free) char *id = rig_create(r, "\"name\":\"web\"", &a);
	struct vm *vm = vm_find_id(&r->d, id);

	answer_done(&a);
	fake_lose_agent(id);
	RIG_UNTIL(r, !vm->session);
	for (int i = 0; i < 3; i++) {
		AUTO(fd) int fd = offer(vm);

		assert_non_null(vm->session);
		close_fd(&fd);
		RIG_UNTIL(r, !vm->session);
		assert_true(loop_timer_armed(&vm->reconnect));
	}
	rig_expect(r, "GET", "/v1/vms/web", NULL, "state", "running");
	RIG_UNTIL(r, agent_session_ready(vm->session));
	rig_expect(r, "GET", "/v1/vms/web", NULL, "state", "ready");
}

/* A command of a VM that is lost before the agent answered is not run again. */
static void test_session_lost_under_the_main_command(void **state)
{
	struct rig *r = *state;
	struct answer a;
	AUTO(free)
	char *id = rig_create(r, "\"name\":\"web\",\"command\":[\"work\"]", &a);
	struct vm *vm = vm_find_id(&r->d, id);

	answer_done(&a);
	assert_true(vm->row.command_started);
	fake_lose_agent(id);
	RIG_UNTIL(r, !vm->session);
	RIG_UNTIL(r, agent_session_ready(vm->session));
	rig_spin(r, 50);
	assert_int_equal(fake_detached, 1);
	assert_false(vm->row.has_exit);
}

/* Its start has failed, although the agent has answered. */
static void test_end_before_the_main_command_runs(void **state)
{
	struct rig *r = *state;
	struct answer a;
	AUTO(free) char *id = NULL;
	char op[ID_LEN + 1], path[96];
	struct vm *vm;

	rig_call(r, "POST", "/v1/vms", "",
		 "{\"image\":\"tiny\",\"command\":[\"mute\"]}", &a);
	id = strdup(answer_text(&a, "vm.id"));
	answer_done(&a);
	vm = vm_find_id(&r->d, id);
	RIG_UNTIL(r, vm->state == VM_COMMAND);
	memcpy(op, vm->op->row.id, sizeof(op));
	fake_end(id, VM_END_POWEROFF);
	assert_int_equal(vm->state, VM_FAILED);
	(void)snprintf(path, sizeof(path), "/v1/operations/%s", op);
	rig_expect(r, "GET", path, NULL, "error.code", "guest_ended");
}

/* It was lost while nobody needed it: the guest had been asked to power off. */
static void test_lost_agent_is_looked_for_after_a_cancelled_stop(void **state)
{
	struct rig *r = *state;
	struct answer a;
	AUTO(free) char *id = NULL;
	struct err e = ERR_INIT;
	struct vm *vm;

	fake_fault = FAKE_IGNORES_SHUTDOWN;
	id = rig_create(r, "\"name\":\"web\"", &a);
	answer_done(&a);
	vm = vm_find_id(&r->d, id);
	rig_expect(r, "POST", "/v1/vms/web/stop", NULL, "state", "running");
	fake_lose_agent(id);
	RIG_UNTIL(r, !vm->session);
	assert_int_equal(vm->state, VM_STOPPING);
	assert_int_equal(operation_cancel(&r->d, vm->op->row.id, &e), 0);
	rig_expect(r, "GET", "/v1/vms/web", NULL, "state", "running");
	rig_expect(r, "GET", "/v1/vms/web", NULL, "reason",
		   "the stop was cancelled");
	RIG_UNTIL(r, vm->state == VM_READY);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(test_live_session_is_not_replaced),
		RIG_TEST(test_sessions_lost_in_a_row_are_survived),
		RIG_TEST(test_session_lost_under_the_main_command),
		RIG_TEST(test_end_before_the_main_command_runs),
		RIG_TEST(test_lost_agent_is_looked_for_after_a_cancelled_stop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
