/* SPDX-License-Identifier: Apache-2.0 */
/* GET dial: connections to ports of a guest over a WebSocket. */
#include "tests/unit/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "fake_agent.h"
#include "rig.h"

static void make(struct rig *r, const char *extra)
{
	struct answer a;

	free(rig_create(r, extra, &a));
	answer_done(&a);
}

static struct wsc *dial(struct rig *r, int service, const char *more)
{
	char path[80];

	(void)snprintf(path, sizeof(path), "/v1/vms/web/dial?port=%d%s",
		       service, more);
	return wsc_open(r, path);
}

#define WSC_UNTIL(r, c, cond) \
	UNTIL(10000, cond, (loop_run_once((r)->loop, 1), wsc_poll(c)))

static void test_service_speaks_first(void **state)
{
	struct rig *r = *state;
	struct wsc *c;

	make(r, "\"name\":\"web\",\"network\":{\"mode\":\"none\"}");
	c = dial(r, FAKE_GREETS, "");
	assert_int_equal(c->status, 101);
	WSC_UNTIL(r, c, c->data_len == 11);
	assert_memory_equal(c->data, "220 ready\r\n", 11);
	assert_non_null(strstr(c->text, "\"connected\""));
	wsc_send(c, 2, "QUIT", 4, true);
	WSC_UNTIL(r, c, c->data_len == 15);
	/* Our end; what is on the way still comes, then theirs, then the close. */
	wsc_send(c, 2, "last", 4, true);
	wsc_send(c, 2, "", 0, true);
	wsc_until_closed(r, c);
	assert_memory_equal(c->data + 11, "QUITlast", 8);
	assert_int_equal(c->empty_messages, 1);
	assert_int_equal(c->close_code, 1000);
	assert_null(strstr(c->text, "error"));
	wsc_free(c);
	RIG_UNTIL(r, fake_dials == 0);
}

static void test_refusal_and_reset_are_told(void **state)
{
	struct rig *r = *state;
	struct wsc *c;

	make(r, "\"name\":\"web\"");
	c = dial(r, FAKE_REFUSES, "");
	wsc_until_closed(r, c);
	assert_non_null(strstr(c->text, "connection_refused"));
	wsc_free(c);
	c = dial(r, FAKE_RESETS, "");
	wsc_send(c, 2, "x", 1, true);
	wsc_until_closed(r, c);
	assert_non_null(strstr(c->text, "connection_reset"));
	wsc_free(c);
}

static void test_closing_early_ends_it_in_the_guest(void **state)
{
	struct rig *r = *state;
	struct wsc *c;

	make(r, "\"name\":\"web\"");
	c = dial(r, FAKE_ECHO, "");
	wsc_until(r, c, "connected");
	assert_int_equal(fake_dials, 1);
	wsc_free(c);
	RIG_UNTIL(r, fake_dials == 0);
}

static void test_udp_messages_are_datagrams(void **state)
{
	static const size_t sizes[] = { 1, 0, 1400, 60000 };
	static uint8_t bytes[65536];
	struct rig *r = *state;
	struct wsc *c;
	size_t total = 0;

	make(r, "\"name\":\"web\"");
	c = dial(r, FAKE_ECHO, "&protocol=udp");
	wsc_until(r, c, "connected");
	for (unsigned i = 0; i < 4; i++) {
		memset(bytes, (int)(i + 1), sizes[i]);
		wsc_send(c, 2, bytes, sizes[i], true);
		total += sizes[i];
		WSC_UNTIL(r, c, c->messages == i + 1);
		assert_int_equal(c->data_len, total);
	}
	assert_int_equal(c->empty_messages, 1);
	assert_int_equal(c->data[total - 1], 4);
	wsc_send(c, 2, bytes, sizeof(bytes), true);
	wsc_until_closed(r, c);
	assert_non_null(strstr(c->text, "datagram_too_long"));
	wsc_free(c);
	RIG_UNTIL(r, fake_dials == 0);
}

static void test_misuse_is_refused(void **state)
{
	static const char *const paths[][2] = {
		{ "/v1/vms/web/dial", "missing_field" },
		{ "/v1/vms/web/dial?port=0", "out_of_range" },
		{ "/v1/vms/web/dial?port=65536", "out_of_range" },
		{ "/v1/vms/web/dial?port=1&protocol=tls", "bad_value" },
		{ "/v1/vms/nobody/dial?port=1", "vm_not_found" },
		{ "/v1/vms/web/dial?port=1", "websocket_expected" },
	};
	struct rig *r = *state;
	struct wsc *c;

	make(r, "\"name\":\"web\"");
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
		rig_expect(r, "GET", paths[i][0], NULL, "code", paths[i][1]);
	c = dial(r, FAKE_ECHO, "");
	wsc_text(c, "{}");
	wsc_until_closed(r, c);
	assert_non_null(strstr(c->text, "bad_message"));
	wsc_free(c);
	c = dial(r, FAKE_HOLDS, "");
	wsc_send(c, 2, "", 0, true);
	wsc_send(c, 2, "more", 4, true);
	wsc_until_closed(r, c);
	assert_non_null(strstr(c->text, "bad_message"));
	wsc_free(c);
	RIG_UNTIL(r, fake_dials == 0);
}

static void test_waits_for_a_start_not_for_a_stopped_vm(void **state)
{
	struct rig *r = *state;
	struct answer a;
	struct wsc *c;

	rig_call(r, "POST", "/v1/vms", "",
		 "{\"image\":\"tiny\",\"name\":\"web\"}", &a);
	assert_int_equal(a.status, 202);
	answer_done(&a);
	c = dial(r, FAKE_GREETS, "");
	WSC_UNTIL(r, c, c->data_len == 11);
	wsc_free(c);
	rig_expect(r, "POST", "/v1/vms/web/stop?wait=10", "{\"force\":true}",
		   "state", "succeeded");
	c = dial(r, FAKE_GREETS, "");
	wsc_until_closed(r, c);
	assert_non_null(strstr(c->text, "wrong_state"));
	wsc_free(c);
}

/* A client that does not read: the guest stops, the daemon does not grow. */
static void test_back_pressure_both_ways(void **state)
{
	static uint8_t chunk[65536];
	struct rig *r = *state;
	struct wsc *lazy, *c;

	make(r, "\"name\":\"web\"");
	lazy = dial(r, FAKE_FLOOD, "");
	wsc_until(r, lazy, "connected");
	lazy->stalled = true;
	c = dial(r, FAKE_HOLDS, "");
	wsc_until(r, c, "connected");
	for (int i = 0; i < 64; i++)
		wsc_send(c, 2, chunk, sizeof(chunk), true);
	rig_spin(r, 50);
	rig_expect(r, "GET", "/v1/vms/web", NULL, "state", "ready");
	wsc_free(c);
	wsc_free(lazy);
	RIG_UNTIL(r, fake_dials == 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(test_service_speaks_first),
		RIG_TEST(test_refusal_and_reset_are_told),
		RIG_TEST(test_closing_early_ends_it_in_the_guest),
		RIG_TEST(test_udp_messages_are_datagrams),
		RIG_TEST(test_misuse_is_refused),
		RIG_TEST(test_waits_for_a_start_not_for_a_stopped_vm),
		RIG_TEST(test_back_pressure_both_ways),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
