/* SPDX-License-Identifier: Apache-2.0 */
/* exec, console and files over the real server, with back-pressure. */
#include "tests/unit/test.h"

#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "rig.h"

static struct wsc *open_exec(struct rig *r, const char *id)
{
	struct wsc *c;
	char path[96];

	(void)snprintf(path, sizeof(path), "/v1/vms/%s/exec", id);
	c = wsc_open(r, path);
	assert_int_equal(c->status, 101);
	return c;
}

static void test_exec_output_and_status(void **state)
{
	struct rig *r = *state;
	struct answer a;
	AUTO(free) char *id = rig_create(r, "", &a);
	struct wsc *c;

	answer_done(&a);
	c = open_exec(r, id);
	wsc_text(c, "{\"command\":[\"echo\",\"hello\"]}");
	wsc_until(r, c, "\"exit\"");
	assert_non_null(strstr(c->text, "{\"started\":{\"pid\":42}}"));
	assert_non_null(memmem(c->data, c->data_len, "\001hello\002err", 10));
	wsc_until_closed(r, c);
	assert_int_equal(c->close_code, 1000);
	wsc_free(c);
	c = open_exec(r, id);
	wsc_text(c, "{\"command\":[\"exit\",\"7\"]}");
	wsc_until(r, c, "\"status\":7");
	wsc_free(c);
	c = open_exec(r, id);
	wsc_text(c, "{\"command\":[\"nonsense\"]}");
	wsc_until(r, c, "command_not_found");
	wsc_free(c);
	c = open_exec(r, id);
	wsc_text(c, "{\"command\":[\"hang\"]}");
	wsc_until(r, c, "started");
	wsc_text(c, "{\"signal\":\"INT\"}");
	wsc_until(r, c, "\"signal\":2");
	wsc_free(c);
	rig_settle(r);
	assert_int_equal(r->d.vm_count, 1);
}

static void test_exec_takes_what_linux_takes(void **state)
{
	struct rig *r = *state;
	struct answer a;
	AUTO(free) char *id = rig_create(r, "", &a);
	AUTO(free) char *text = malloc(400000);
	struct wsc *c;

	answer_done(&a);
	assert_non_null(text);
	c = open_exec(r, id);
	(void)snprintf(text, 400000, "{\"command\":[\"length\",\"%0131071d\"]}",
		       0);
	wsc_text(c, text);
	wsc_until(r, c, "\"exit\"");
	assert_non_null(memmem(c->data, c->data_len, "\001131071", 7));
	/* What comes later is short again. */
	wsc_free(c);
	c = open_exec(r, id);
	(void)snprintf(text, 400000,
		       "{\"command\":[\"true\"],\"env\":{\"A\":\"%0131070d\"}}",
		       0);
	wsc_text(c, text);
	wsc_until(r, c, "argument_list_too_long");
	assert_non_null(strstr(c->text, "131072 bytes"));
	wsc_free(c);
	c = open_exec(r, id);
	wsc_text(c, "{\"command\":[\"hang\"]}");
	wsc_until(r, c, "started");
	assert_int_equal(r->d.large_bytes, 0);
	wsc_free(c);
}

static void test_exec_stdin(void **state)
{
	struct rig *r = *state;
	struct answer a;
	AUTO(free) char *id = rig_create(r, "", &a);
	struct wsc *c;

	answer_done(&a);
	c = open_exec(r, id);
	wsc_text(c, "{\"command\":[\"cat\"],\"stdin\":true}");
	wsc_send(c, 2, "\000abc", 4, true);
	wsc_send(c, 2, "\000def", 4, true);
	wsc_send(c, 2, "\000", 1, true);
	wsc_until(r, c, "\"exit\"");
	assert_int_equal(c->out_bytes, 6);
	wsc_free(c);
}

/* 64 MiB through a client that first does not read at all. */
static void test_exec_flood_is_bounded(void **state)
{
	struct rig *r = *state;
	struct answer a;
	AUTO(free) char *id = rig_create(r, "", &a);
	uint64_t end = clock_mono_ms() + 30000;
	size_t base, peak = 0;
	struct wsc *c;

	answer_done(&a);
	c = open_exec(r, id);
	base = mallinfo2().uordblks;
	wsc_text(c, "{\"command\":[\"flood\",\"67108864\"]}");
	c->stalled = true;
	rig_settle(r);
	c->stalled = false;
	while (!strstr(c->text, "exit") && clock_mono_ms() < end) {
		size_t now;

		(void)loop_run_once(r->loop, 1);
		wsc_poll(c);
		now = mallinfo2().uordblks;
		if (now > base && now - base > peak)
			peak = now - base;
	}
	assert_int_equal(c->out_bytes, 67108864);
	/* One window in the socket's queue, one in the fake guest's. */
	assert_true(peak < (4 << 20));
	wsc_free(c);
}

static void test_exec_waits_for_ready_and_drop_destroys(void **state)
{
	struct rig *r = *state;
	AUTO(free) char *id = NULL;
	struct answer a;
	struct wsc *c;

	rig_call(r, "POST", "/v1/vms", "",
		 "{\"image\":\"tiny\",\"ephemeral\":true}", &a);
	id = strdup(answer_text(&a, "vm.id"));
	answer_done(&a);
	c = open_exec(r, id);
	wsc_text(c, "{\"command\":[\"hang\"],\"attach\":true}");
	wsc_until(r, c, "started");
	assert_int_equal(fake_running(), 1);
	wsc_free(c); /* the client is killed */
	RIG_UNTIL(r, r->d.vm_count == 0);
	assert_int_equal(fake_running(), 0);
	assert_int_equal(rig_entries(r, "state/vms"), 0);
}

static void test_drop_while_creating_destroys(void **state)
{
	struct rig *r = *state;
	AUTO(free) char *id = NULL;
	struct answer a;
	struct wsc *c;

	fake_fault = FAKE_NEVER_READY;
	rig_call(r, "POST", "/v1/vms", "",
		 "{\"image\":\"tiny\",\"ephemeral\":true}", &a);
	id = strdup(answer_text(&a, "vm.id"));
	answer_done(&a);
	c = open_exec(r, id);
	wsc_text(c, "{\"command\":[\"hang\"],\"attach\":true}");
	wsc_until(r, c, "\"running\"");
	wsc_free(c);
	RIG_UNTIL(r, r->d.vm_count == 0);
	assert_int_equal(fake_running(), 0);
	rig_call(r, "GET", "/v1/operations?state=cancelled", "", NULL, &a);
	assert_non_null(strstr(a.body, "vm_create"));
	answer_done(&a);
}

static void test_exec_gets_the_reason_of_a_failed_start(void **state)
{
	struct rig *r = *state;
	AUTO(free) char *id = NULL;
	struct answer a;
	struct wsc *c;

	fake_fault = FAKE_NEVER_READY;
	rig_call(r, "POST", "/v1/vms", "",
		 "{\"image\":\"tiny\",\"ephemeral\":true,"
		 "\"ready_timeout_seconds\":1}",
		 &a);
	id = strdup(answer_text(&a, "vm.id"));
	answer_done(&a);
	c = open_exec(r, id);
	wsc_text(c, "{\"command\":[\"hang\"],\"attach\":true}");
	wsc_until(r, c, "guest_not_ready");
	assert_non_null(strstr(c->text, "booting fake"));
	wsc_until_closed(r, c);
	wsc_free(c);
	assert_int_equal(r->d.vm_count, 0);
}

static void test_vm_end_ends_exec(void **state)
{
	struct rig *r = *state;
	struct answer a;
	AUTO(free) char *id = rig_create(r, "", &a);
	struct wsc *c;

	answer_done(&a);
	c = open_exec(r, id);
	wsc_text(c, "{\"command\":[\"hang\"]}");
	wsc_until(r, c, "started");
	fake_end(id, VM_END_CRASH);
	wsc_until(r, c, "\"error\"");
	wsc_until_closed(r, c);
	wsc_free(c);
}

static void test_hostile_frames(void **state)
{
	static uint8_t big[300000];
	struct rig *r = *state;
	struct answer a;
	AUTO(free) char *id = rig_create(r, "", &a);
	struct wsc *c;

	answer_done(&a);
	c = open_exec(r, id); /* not masked */
	wsc_send(c, 1, "{}", 2, false);
	wsc_until_closed(r, c);
	assert_int_equal(c->close_code, 1002);
	wsc_free(c);
	c = open_exec(r, id); /* not UTF-8 */
	wsc_text(c, "{\"command\":[\"\xff\xfe\"]}");
	wsc_until_closed(r, c);
	assert_int_equal(c->close_code, 1007);
	wsc_free(c);
	c = open_exec(r, id); /* too large, behind the request */
	wsc_text(c, "{\"command\":[\"hang\"]}");
	wsc_until(r, c, "started");
	wsc_send(c, 2, big, sizeof(big), true);
	wsc_until_closed(r, c);
	assert_int_equal(c->close_code, 1009);
	wsc_free(c);
	c = open_exec(r, id); /* binary first */
	wsc_send(c, 2, "\000x", 2, true);
	wsc_until(r, c, "exec_request_expected");
	wsc_free(c);
	c = open_exec(r, id); /* unknown field */
	wsc_text(c, "{\"comand\":[\"true\"]}");
	wsc_until(r, c, "unknown_field");
	wsc_free(c);
	c = open_exec(r, id);
	wsc_text(c, "{\"command\":[\"hang\"]}");
	wsc_until(r, c, "started");
	wsc_send(c, 2, "\005x", 2, true);
	wsc_until(r, c, "bad_channel");
	wsc_free(c);
	c = open_exec(r, id); /* reserved opcode */
	wsc_send(c, 5, "x", 1, true);
	wsc_until_closed(r, c);
	assert_int_equal(c->close_code, 1002);
	wsc_free(c);
	rig_settle(r);
	assert_int_equal(fake_running(), 1);
}

static void test_console_many_and_slow(void **state)
{
	static char block[8192];
	struct rig *r = *state;
	struct answer a;
	AUTO(free) char *id = rig_create(r, "\"name\":\"con\"", &a);
	struct wsc *fast, *slow;

	answer_done(&a);
	memset(block, 'x', sizeof(block) - 1);
	fast = wsc_open(r, "/v1/vms/con/console");
	slow = wsc_open(r, "/v1/vms/con/console?replay=false");
	slow->stalled = true;
	for (int i = 0; i < 20 && fast->data_len < 22; i++) {
		(void)loop_run_once(r->loop, 10);
		wsc_poll(fast);
	}
	assert_non_null(memmem(fast->data, fast->data_len, "booting", 7));
	wsc_send(fast, 2, "typed", 5, true);
	for (int i = 0; i < 400; i++) {
		fake_print(id, block);
		(void)loop_run_once(r->loop, 1);
		wsc_poll(fast);
	}
	assert_non_null(memmem(fast->data, fast->data_len, "typed", 5));
	assert_false(fast->eof);
	slow->stalled = false;
	wsc_until_closed(r, slow);
	assert_int_equal(slow->close_code, 1013);
	wsc_free(fast);
	wsc_free(slow);
}

static void test_files(void **state)
{
	struct rig *r = *state;
	struct answer a;
	char *body = malloc(2000001);

	free(rig_create(r, "\"name\":\"box\"", &a));
	answer_done(&a);
	assert_non_null(body);
	memset(body, 'x', 2000000);
	body[2000000] = '\0';
	fake_stdin_bytes = 0;
	rig_call(r, "PUT", "/v1/vms/box/files?path=/tmp",
		 "Content-Type: application/x-tar\r\n", body, &a);
	assert_int_equal(a.status, 204);
	assert_int_equal(fake_stdin_bytes, 2000000);
	answer_done(&a);
	free(body);
	rig_call(r, "GET", "/v1/vms/box/files?path=/etc", "", NULL, &a);
	assert_int_equal(a.status, 200);
	assert_true(a.body_len >= 3000000);
	answer_done(&a);
	rig_call(r, "GET", "/v1/vms/box/files?path=/missing", "", NULL, &a);
	assert_int_equal(a.status, 404);
	answer_done(&a);
	rig_call(r, "GET", "/v1/vms/box/files?path=relative", "", NULL, &a);
	assert_int_equal(a.status, 400);
	answer_done(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(test_exec_output_and_status),
		RIG_TEST(test_exec_stdin),
		RIG_TEST(test_exec_takes_what_linux_takes),
		RIG_TEST(test_exec_flood_is_bounded),
		RIG_TEST(test_exec_waits_for_ready_and_drop_destroys),
		RIG_TEST(test_drop_while_creating_destroys),
		RIG_TEST(test_exec_gets_the_reason_of_a_failed_start),
		RIG_TEST(test_vm_end_ends_exec),
		RIG_TEST(test_hostile_frames),
		RIG_TEST(test_console_many_and_slow),
		RIG_TEST(test_files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
