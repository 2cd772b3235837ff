/* SPDX-License-Identifier: Apache-2.0 */
/* vmd/agent_stream.c against an agent, honest or not. */
#include "agent_session_rig.h"

static void test_exec_before_ready_is_refused(void **state)
{
	struct session_rig *f = *state;
	static const struct wire_exec request;
	struct err e = ERR_INIT;

	assert_null(agent_session_exec(f->session, &request,
				       &session_stream_ops, f, &e));
	assert_string_equal(e.code, "guest_not_ready");
}

static void test_exec_gives_output_and_status(void **state)
{
	struct session_rig *f = *state;
	uint32_t id = session_exec(f, 0);

	agent_u32s(f, WIRE_STARTED, 0, id, 77, 0, 1);
	agent_say(f, WIRE_DATA, WIRE_OUT, id, "hello", 5);
	agent_say(f, WIRE_EOF, WIRE_OUT, id, NULL, 0);
	agent_u32s(f, WIRE_EXIT, 0, id, 7, 0, 2);
	RUN_UNTIL(f, f->done);
	assert_int_equal(f->started, 1);
	assert_memory_equal(f->data, "hello", 5);
	assert_int_equal(f->status, 7);
	assert_int_equal(f->done_err.kind, ERR_NONE);
	/* Late frames for the dead stream are dropped. */
	agent_say(f, WIRE_DATA, WIRE_OUT, id, "late", 4);
	id = session_exec(f, 0);
	agent_u32s(f, WIRE_STARTED, 0, id, 77, 0, 1);
	agent_u32s(f, WIRE_EXIT, 0, id, 0, 9, 2);
	RUN_UNTIL(f, f->done == 2);
	assert_int_equal(f->signal, 9);
	assert_int_equal(f->data_bytes, 5);
	assert_int_equal(f->lost_count, 0);
}

static void test_exec_not_found_gives_its_code(void **state)
{
	struct session_rig *f = *state;
	uint32_t id = session_exec(f, 0);
	uint8_t p[WIRE_PAYLOAD_MAX];

	agent_say(f, WIRE_RESULT, 0, id, p,
		  wire_encode_result(2, WIRE_CODE_NOT_FOUND, "no\033such", p));
	RUN_UNTIL(f, f->done);
	assert_string_equal(f->done_err.code, WIRE_CODE_NOT_FOUND);
	assert_int_equal(f->done_err.kind, ERR_NOT_FOUND);
	assert_string_equal(f->done_err.msg, "guest: no?such");
}

static void test_output_is_bounded_by_credit(void **state)
{
	struct session_rig *f = *state;
	uint32_t id = session_exec(f, 0);
	static uint8_t chunk[WIRE_PAYLOAD_MAX];

	f->hold = true;
	agent_u32s(f, WIRE_STARTED, 0, id, 77, 0, 1);
	for (int i = 0; i < WIRE_WINDOW / WIRE_PAYLOAD_MAX; i++)
		agent_say(f, WIRE_DATA, WIRE_OUT, id, chunk, sizeof(chunk));
	RUN_UNTIL(f, f->data_bytes == WIRE_WINDOW);
	assert_int_equal(f->credit_given, 0);
	agent_stream_consumed(f->stream, WIRE_OUT, WIRE_WINDOW);
	RUN_UNTIL(f, f->credit_given == WIRE_WINDOW);
	/* Within the new credit, then one byte over it. */
	for (int i = 0; i < WIRE_WINDOW / WIRE_PAYLOAD_MAX; i++)
		agent_say(f, WIRE_DATA, WIRE_OUT, id, chunk, sizeof(chunk));
	RUN_UNTIL(f, f->data_bytes == UINT64_C(2) * WIRE_WINDOW);
	assert_int_equal(f->done, 0);
	agent_say(f, WIRE_DATA, WIRE_OUT, id, chunk, 1);
	RUN_UNTIL(f, f->done && f->closes);
	assert_string_equal(f->done_err.code, "agent_protocol");
	assert_int_equal(f->lost_count, 0);
}

static void test_input_is_bounded_by_credit(void **state)
{
	struct session_rig *f = *state;
	uint32_t id = session_exec(f, WIRE_EXEC_STDIN);
	static uint8_t big[2 * WIRE_WINDOW];

	assert_int_equal(agent_stream_write(f->stream, big, sizeof(big)),
			 WIRE_WINDOW);
	RUN_UNTIL(f, f->in_bytes == WIRE_WINDOW);
	assert_int_equal(f->writable, 0);
	agent_u32s(f, WIRE_WINDOW_ADD, WIRE_IN, id, 1000, 0, 1);
	RUN_UNTIL(f, f->writable == 1);
	assert_int_equal(agent_stream_write(f->stream, big, 5000), 1000);
	agent_stream_write_eof(f->stream);
	RUN_UNTIL(f, f->in_bytes == WIRE_WINDOW + 1000 && f->in_eof);
	/* More credit than was ever used is an attack. */
	agent_u32s(f, WIRE_WINDOW_ADD, WIRE_IN, id, UINT32_MAX, 0, 1);
	RUN_UNTIL(f, f->done);
	assert_string_equal(f->done_err.code, "agent_protocol");
}

static void test_close_stops_callbacks_and_frees_the_slot(void **state)
{
	struct session_rig *f = *state;
	uint32_t id = session_exec(f, 0);
	uint8_t p[WIRE_PAYLOAD_MAX];

	agent_stream_close(f->stream);
	RUN_UNTIL(f, f->closes == 1);
	agent_say(f, WIRE_DATA, WIRE_OUT, id, "x", 1);
	agent_say(f, WIRE_RESULT, 0, id, p, wire_encode_result(0, "", "", p));
	id = session_exec(f, 0);
	agent_u32s(f, WIRE_STARTED, 0, id, 77, 0, 1);
	agent_u32s(f, WIRE_EXIT, 0, id, 0, 0, 2);
	RUN_UNTIL(f, f->done);
	assert_int_equal(f->done, 1);
	assert_int_equal(f->data_bytes, 0);
}

static void test_too_many_streams_are_refused(void **state)
{
	struct session_rig *f = *state;
	static struct wire_exec request = { .argc = 1 };
	struct err e = ERR_INIT;

	request.argv[0] = wire_str("true");
	for (int i = 0; i < WIRE_STREAMS_MAX; i++)
		(void)session_exec(f, 0);
	assert_null(agent_session_exec(f->session, &request,
				       &session_stream_ops, f, &e));
	assert_string_equal(e.code, WIRE_CODE_BUSY);
}

/* Each of these breaks one stream and leaves the session alone. */
static void test_hostile_frames_break_the_stream(void **state)
{
	static const struct {
		uint8_t type, channel;
		uint32_t a, b;
		size_t count;
	} bad[] = {
		{ WIRE_EXIT, 0, 0, 0, 2 }, /* before STARTED */
		{ WIRE_STARTED, 0, 1, 1, 2 },
		{ WIRE_DATA, WIRE_IN, 0, 0, 2 },
		{ WIRE_DATA, 200, 0, 0, 2 },
		{ WIRE_EOF, 3, 0, 0, 0 },
		{ WIRE_WINDOW_ADD, WIRE_OUT, 1, 0, 1 },
		{ WIRE_WINDOW_ADD, WIRE_IN, 1, 0, 2 },
		{ WIRE_RESULT, 0, 1, 0xffffffff, 2 },
	};
	struct session_rig *f = *state;

	for (unsigned int i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		uint32_t id = session_exec(f, 0);

		agent_u32s(f, bad[i].type, bad[i].channel, id, bad[i].a,
			   bad[i].b, bad[i].count);
		RUN_UNTIL(f, f->done == i + 1);
		assert_string_equal(f->done_err.code, "agent_protocol");
	}
	assert_int_equal(f->lost_count, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SESSION_TEST(session_setup, test_exec_before_ready_is_refused),
		SESSION_TEST(session_setup_ready,
			     test_exec_gives_output_and_status),
		SESSION_TEST(session_setup_ready,
			     test_exec_not_found_gives_its_code),
		SESSION_TEST(session_setup_ready,
			     test_output_is_bounded_by_credit),
		SESSION_TEST(session_setup_ready,
			     test_input_is_bounded_by_credit),
		SESSION_TEST(session_setup_ready,
			     test_close_stops_callbacks_and_frees_the_slot),
		SESSION_TEST(session_setup_ready,
			     test_too_many_streams_are_refused),
		SESSION_TEST(session_setup_ready,
			     test_hostile_frames_break_the_stream),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
