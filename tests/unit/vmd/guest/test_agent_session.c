/* SPDX-License-Identifier: Apache-2.0 */
/* vmd/guest/agent_session.c against an agent, honest or not. */
#include <stdlib.h>
#include <string.h>

#include "agent_session_rig.h"
#include "base/cleanup.h"

static void test_hello_ack_makes_ready(void **state)
{
	struct session_rig *f = *state;

	assert_false(agent_session_ready(f->session));
	agent_ack(f, WIRE_VERSION);
	RUN_UNTIL(f, f->ready);
	assert_true(agent_session_ready(f->session));
	assert_string_equal(f->info.release, "6.1.0?[31m");
	assert_int_equal(f->info.boot_ns, 5);
}

static void test_stale_bytes_before_ack_are_skipped(void **state)
{
	struct session_rig *f = *state;
	uint8_t *junk = calloc(1, 300000);
	struct wire_header h = { WIRE_DATA, 1, 9, WIRE_PAYLOAD_MAX };

	assert_non_null(junk);
	/* Headers of an earlier session, an ACK with a wrong nonce, and at the
	 * end a header whose payload never comes. */
	for (size_t at = 0; at + 16 < 300000; at += 1000)
		wire_put_header(junk + at, &h);
	h.type = WIRE_HELLO_ACK;
	h.length = 40;
	wire_put_header(junk + 500, &h);
	h.type = WIRE_DATA;
	h.length = WIRE_PAYLOAD_MAX;
	wire_put_header(junk + 300000 - 20, &h);
	agent_raw(f, junk, 300000);
	free(junk);
	agent_ack(f, WIRE_VERSION);
	RUN_UNTIL(f, f->ready);
	assert_int_equal(f->lost_count, 0);
}

static void test_endless_stale_bytes_lose_the_session(void **state)
{
	struct session_rig *f = *state;
	static uint8_t junk[65536];

	for (int i = 0; i < 140 && !f->lost_count; i++)
		agent_raw(f, junk, sizeof(junk));
	RUN_UNTIL(f, f->lost_count);
	assert_string_equal(f->lost.code, "agent_protocol");
}

static void test_other_version_is_refused(void **state)
{
	struct session_rig *f = *state;

	agent_ack(f, WIRE_VERSION + 1);
	RUN_UNTIL(f, f->lost_count);
	assert_string_equal(f->lost.code, "agent_version");
	assert_int_equal(f->ready, 0);
}

static int reap_many(struct session_rig *f)
{
	for (uint32_t tag = 0; tag < 1000; tag++)
		agent_session_reap(f->session, tag);
	return loop_run_once(f->loop, 0);
}

static void test_agent_that_stops_reading_is_given_up(void **state)
{
	struct session_rig *f = *state;

	(void)session_exec(f, WIRE_EXEC_STDIN);
	/* Nobody reads the agent's end any more. */
	UNTIL(10000, f->lost_count, reap_many(f));
	assert_string_equal(f->lost.code, "agent_not_reading");
	assert_int_equal(f->done, 1);
}

static void test_lost_connection_ends_streams_first(void **state)
{
	struct session_rig *f = *state;

	(void)session_exec(f, 0);
	f->free_in_lost = true;
	close_fd(&f->fd);
	RUN_UNTIL(f, f->lost_count);
	assert_int_equal(f->done, 1);
	assert_string_equal(f->done_err.code, "agent_lost");
}

static void test_detached_record_is_reported(void **state)
{
	struct session_rig *f = *state;
	static const uint8_t p[13] = { 4, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0 };

	agent_say(f, WIRE_DETACHED, 0, 0, p, sizeof(p));
	RUN_UNTIL(f, f->detached);
	assert_int_equal(f->tag, 4);
	assert_int_equal(f->detached_status, 9);
}

/* Each of these frames ends the session, with nothing worse. */
static void test_hostile_frames_lose_the_session(void **state)
{
	static const struct {
		uint8_t type;
		uint32_t stream;
		size_t len;
	} bad[] = {
		{ WIRE_DATA, 0, 3 },	 { WIRE_DATA, 99, 3 },
		{ WIRE_HELLO, 1, 18 },	 { WIRE_HELLO_ACK, 0, 18 },
		{ WIRE_DETACHED, 0, 5 }, { 255, 1, 0 },
		{ WIRE_EXEC, 1, 100 },
	};
	static const uint8_t zeros[128];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		void *inner;
		struct session_rig *f;

		(void)session_setup_ready(&inner);
		f = inner;
		(void)session_exec(f, 0);
		agent_say(f, bad[i].type, 0, bad[i].stream, zeros, bad[i].len);
		RUN_UNTIL(f, f->lost_count);
		assert_string_equal(f->lost.code, "agent_protocol");
		assert_int_equal(f->done, 1);
		(void)session_teardown(&inner);
	}
}

static void test_junk_between_frames_loses_the_session(void **state)
{
	struct session_rig *f = *state;

	agent_raw(f, "junk", 4);
	RUN_UNTIL(f, f->lost_count);
	assert_string_equal(f->lost.code, "agent_protocol");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SESSION_TEST(session_setup, test_hello_ack_makes_ready),
		SESSION_TEST(session_setup,
			     test_stale_bytes_before_ack_are_skipped),
		SESSION_TEST(session_setup,
			     test_endless_stale_bytes_lose_the_session),
		SESSION_TEST(session_setup, test_other_version_is_refused),
		SESSION_TEST(session_setup_ready,
			     test_agent_that_stops_reading_is_given_up),
		SESSION_TEST(session_setup_ready,
			     test_lost_connection_ends_streams_first),
		SESSION_TEST(session_setup_ready,
			     test_detached_record_is_reported),
		cmocka_unit_test(test_hostile_frames_lose_the_session),
		SESSION_TEST(session_setup_ready,
			     test_junk_between_frames_loses_the_session),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
