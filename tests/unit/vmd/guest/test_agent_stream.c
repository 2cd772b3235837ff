/* SPDX-License-Identifier: Apache-2.0 */
/* vmd/guest/agent_stream.c against an agent, honest or not. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent_session_rig.h"
#include "vmd/guest/agent_internal.h"

#include <string.h>

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
	size_t sent = 0;

	RUN_UNTIL(f, (sent += agent_stream_write(f->stream, big,
						 sizeof(big))) >= WIRE_WINDOW);
	RUN_UNTIL(f, f->in_bytes == WIRE_WINDOW);
	assert_int_equal(sent, WIRE_WINDOW);
	f->writable = 0;
	assert_int_equal(agent_stream_write(f->stream, big, 1), 0);
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
	static const struct wire_exec request;
	struct err e = ERR_INIT;

	for (int i = 0; i < WIRE_STREAMS_MAX - STREAMS_RESERVED; i++)
		(void)session_exec(f, 0);
	assert_null(agent_session_exec(f->session, &request,
				       &session_stream_ops, f, &e));
	assert_string_equal(e.code, WIRE_CODE_BUSY);
	/* A stop must come through all the same. */
	f->stream = agent_session_shutdown(f->session, WIRE_POWEROFF,
					   &session_stream_ops, f, &e);
	assert_non_null(f->stream);
	RUN_UNTIL(f, f->last.type == WIRE_SHUTDOWN);
}

/* Opens an exec whose argument has len bytes. */
static struct agent_stream *exec_long(struct session_rig *f, size_t len,
				      uint32_t flags, struct err *e)
{
	char *text = malloc(len);
	uint8_t *items = malloc(len + 64);
	struct wire_exec request = { .flags = flags };
	struct wire_cursor c = wire_writer(items, len + 64);
	const struct wire_str argv[] = { wire_str("true"),
					 { text, (uint32_t)len } };
	struct agent_stream *st;

	assert_true(text && items);
	memset(text, 'x', len);
	request.argv = wire_write_list(&c, argv, 2);
	st = agent_session_exec(f->session, &request, &session_stream_ops, f,
				e);
	free(text);
	free(items);
	return st;
}

static void test_long_exec_comes_in_pieces_then_the_rest(void **state)
{
	struct session_rig *f = *state;
	struct err e = ERR_INIT;
	struct agent_stream *other;
	unsigned int before = f->frames;

	f->stream = exec_long(f, 2000000, WIRE_EXEC_STDIN, &e);
	assert_non_null(f->stream);
	/* Nothing overtakes the request, another long one waits for it. */
	assert_int_equal(agent_stream_write(f->stream, "in", 2), 0);
	agent_stream_signal(f->stream, 15);
	agent_stream_write_eof(f->stream);
	other = exec_long(f, 100000, 0, &e);
	assert_non_null(other);
	RUN_UNTIL(f, f->in_eof);
	RUN_UNTIL(f, f->frames - before == 2000000 / WIRE_PAYLOAD_MAX + 1 + 2 +
						   100000 / WIRE_PAYLOAD_MAX +
						   1);
	assert_int_equal(f->lost_count, 0);
	agent_stream_close(other);
}

static void test_long_exec_given_up_half_way_is_closed(void **state)
{
	struct session_rig *f = *state;
	struct err e = ERR_INIT;
	struct agent_stream *first = exec_long(f, 2000000, 0, &e);
	struct agent_stream *second = exec_long(f, 100000, 0, &e);

	assert_true(first && second);
	agent_stream_close(second); /* of which nothing was sent */
	agent_stream_close(first);
	RUN_UNTIL(f, f->closes == 1);
	assert_int_equal(f->last.stream, 1);
	(void)session_exec(f, 0);
	agent_stream_close(f->stream);
}

static void test_exec_beyond_linux_is_refused(void **state)
{
	struct session_rig *f = *state;
	struct err e = ERR_INIT;

	assert_null(exec_long(f, WIRE_EXEC_MAX, 0, &e));
	assert_string_equal(e.code, "argument_list_too_long");
	(void)session_exec(f, 0);
}

static void test_long_exec_for_an_old_agent_is_refused(void **state)
{
	struct session_rig *f = *state;
	struct err e = ERR_INIT;

	agent_ack(f, WIRE_VERSION_MIN);
	RUN_UNTIL(f, f->ready);
	assert_null(exec_long(f, 40000, 0, &e));
	assert_string_equal(e.code, "agent_version");
	(void)session_exec(f, 0);
}

static uint32_t dial(struct session_rig *f, enum wire_protocol protocol)
{
	unsigned int seen = f->frames;

	f->stream = agent_session_dial(f->session, protocol, 0x1234,
				       &session_stream_ops, f, NULL);
	assert_non_null(f->stream);
	RUN_UNTIL(f, f->frames > seen);
	assert_int_equal(f->last.type, WIRE_DIAL);
	assert_int_equal(f->last.length, 3);
	assert_int_equal(f->payload[0], protocol);
	assert_int_equal(f->payload[1] | f->payload[2] << 8, 0x1234);
	return f->last.stream;
}

static void test_dial_half_closes_and_ends(void **state)
{
	struct session_rig *f = *state;
	uint32_t id = dial(f, WIRE_TCP);
	uint8_t p[WIRE_PAYLOAD_MAX];

	/* Before it is connected: the agent keeps it. */
	assert_int_equal(agent_stream_write(f->stream, "hello", 5), 5);
	agent_say(f, WIRE_CONNECTED, 0, id, NULL, 0);
	RUN_UNTIL(f, f->started && f->in_bytes == 5);
	agent_say(f, WIRE_DATA, WIRE_OUT, id, "answer", 6);
	agent_say(f, WIRE_EOF, WIRE_OUT, id, NULL, 0);
	RUN_UNTIL(f, f->data_bytes == 6);
	assert_int_equal(agent_stream_write(f->stream, "more", 4), 4);
	agent_stream_write_eof(f->stream);
	RUN_UNTIL(f, f->in_bytes == 9 && f->in_eof);
	assert_int_equal(f->done, 0);
	agent_say(f, WIRE_RESULT, 0, id, p, wire_encode_result(0, "", "", p));
	RUN_UNTIL(f, f->done);
	assert_int_equal(f->done_err.kind, ERR_NONE);
}

static void test_dial_refused_gives_its_code(void **state)
{
	struct session_rig *f = *state;
	uint32_t id = dial(f, WIRE_TCP);
	uint8_t p[WIRE_PAYLOAD_MAX];

	agent_say(f, WIRE_RESULT, 0, id, p,
		  wire_encode_result(111, WIRE_CODE_REFUSED, "no", p));
	RUN_UNTIL(f, f->done);
	assert_string_equal(f->done_err.code, WIRE_CODE_REFUSED);
	assert_int_equal(f->done_err.kind, ERR_UNAVAILABLE);
}

static void test_dial_window_is_its_own(void **state)
{
	struct session_rig *f = *state;
	uint32_t id = dial(f, WIRE_TCP);
	static uint8_t big[2 * WIRE_DIAL_WINDOW];

	f->hold = true;
	assert_int_equal(agent_stream_write(f->stream, big, sizeof(big)),
			 WIRE_DIAL_WINDOW);
	assert_int_equal(agent_stream_room(f->stream), 0);
	for (int i = 0; i < WIRE_DIAL_WINDOW / WIRE_PAYLOAD_MAX; i++)
		agent_say(f, WIRE_DATA, WIRE_OUT, id, big, WIRE_PAYLOAD_MAX);
	RUN_UNTIL(f, f->data_bytes == WIRE_DIAL_WINDOW);
	agent_stream_consumed(f->stream, WIRE_OUT, WIRE_DIAL_WINDOW / 2);
	/* It moves much: the window grows, and what is over it is an attack. */
	RUN_UNTIL(f, f->credit_given == WIRE_WINDOW - WIRE_DIAL_WINDOW / 2);
	for (int i = 0; i < WIRE_WINDOW / WIRE_PAYLOAD_MAX; i++)
		agent_say(f, WIRE_DATA, WIRE_OUT, id, big, WIRE_PAYLOAD_MAX);
	RUN_UNTIL(f, f->done);
	assert_string_equal(f->done_err.code, "agent_protocol");
	assert_int_equal(f->lost_count, 0);
}

/* However they are cut on the way, whole ones come out. */
/* What all of them may keep has a bound, and who ends makes room for another. */
static void test_only_so_many_dial_windows_grow(void **state)
{
	enum {
		PART = WIRE_DIAL_WINDOW / 4
	};
	static uint8_t bytes[PART];
	const uint64_t more = WIRE_WINDOW - WIRE_DIAL_WINDOW;
	struct session_rig *f = *state;
	uint32_t first = 0;

	for (uint64_t i = 1; i <= WIRE_GROWN_MAX + 2; i++) {
		uint32_t id = dial(f, WIRE_TCP);
		uint64_t grown = i > WIRE_GROWN_MAX ? WIRE_GROWN_MAX : i;

		first = first ? first : id;
		if (i == WIRE_GROWN_MAX + 2) {
			uint8_t end[64];

			agent_say(f, WIRE_RESULT, 0, first, end,
				  wire_encode_result(EPIPE, "gone", "", end));
			RUN_UNTIL(f, f->done == 1);
			id = dial(f, WIRE_TCP);
			grown = WIRE_GROWN_MAX + 1;
		}
		agent_say(f, WIRE_DATA, WIRE_OUT, id, bytes, PART);
		RUN_UNTIL(f, f->credit_given == i * PART + grown * more);
	}
}

static void test_old_agent_gives_no_more_than_was_used(void **state)
{
	struct session_rig *f = *state;

	agent_ack(f, 2);
	RUN_UNTIL(f, f->ready);
	agent_u32s(f, WIRE_WINDOW_ADD, WIRE_IN, dial(f, WIRE_TCP), 1, 0, 1);
	RUN_UNTIL(f, f->done);
	assert_string_equal(f->done_err.code, "agent_protocol");
}

static void test_datagrams_keep_their_boundaries(void **state)
{
	static uint8_t wire[2 + 60000 + 2 + 2 + 5];
	struct session_rig *f = *state;
	uint32_t id = dial(f, WIRE_UDP);

	wire[0] = 60000 & 255;
	wire[1] = 60000 >> 8;
	wire[2 + 60000 + 2] = 5; /* behind an empty one */
	memcpy(wire + 2 + 60000 + 4, "whole", 5);
	for (size_t at = 0; at < sizeof(wire);) {
		static const size_t cuts[] = { 1, 2, 30000, 29998, 3, 9 };
		static unsigned int next;
		size_t n = cuts[next++ % 6];

		if (n > sizeof(wire) - at)
			n = sizeof(wire) - at;
		agent_say(f, WIRE_DATA, WIRE_OUT, id, wire + at, n);
		at += n;
	}
	RUN_UNTIL(f, f->data_calls == 3);
	assert_int_equal(f->data_bytes, 60005);
	assert_memory_equal(f->data, "whole", 5);
	/* The lengths are handed back too: nothing of the credit is lost. */
	for (int i = 0; i < 40; i++)
		agent_say(f, WIRE_DATA, WIRE_OUT, id, wire, 2 + 30000 + 2);
	RUN_UNTIL(f, f->done || f->data_calls > 20);
	assert_int_equal(f->done, 0);
}

static void test_datagram_without_room_is_dropped_whole(void **state)
{
	static uint8_t big[60000];
	struct session_rig *f = *state;

	(void)dial(f, WIRE_UDP);
	assert_true(agent_stream_write_datagram(f->stream, big, sizeof(big)));
	assert_true(agent_stream_write_datagram(f->stream, big, sizeof(big)));
	assert_false(agent_stream_write_datagram(f->stream, big, sizeof(big)));
	assert_true(agent_stream_write_datagram(f->stream, "", 0));
	RUN_UNTIL(f, f->in_bytes == 2 * 60002 + 2);
}

static void test_connections_and_commands_have_limits_apart(void **state)
{
	struct session_rig *f = *state;
	struct err e = ERR_INIT;

	for (int i = 0; i < WIRE_DIALS_MAX; i++)
		(void)dial(f, WIRE_TCP);
	assert_null(agent_session_dial(f->session, WIRE_TCP, 1,
				       &session_stream_ops, f, &e));
	assert_string_equal(e.code, WIRE_CODE_BUSY);
	(void)session_exec(f, 0);
}

/* A writer for each stream that always has more: who gets how much? */
struct writer {
	struct agent_stream *stream;
	uint64_t sent;
};

static void keep_writing(void *ctx)
{
	static uint8_t bytes[WIRE_WINDOW];
	struct writer *w = ctx;

	w->sent += agent_stream_write(w->stream, bytes, sizeof(bytes));
}

static void writer_done(void *ctx, uint32_t status, uint32_t signal,
			const struct err *e)
{
	(void)ctx;
	(void)status;
	(void)signal;
	(void)e;
}

static void test_busy_connections_do_not_starve_a_command(void **state)
{
	enum {
		BUSY = 100
	};
	static const struct agent_stream_ops ops = { .writable = keep_writing,
						     .done = writer_done };
	static const struct wire_exec request = { .flags = WIRE_EXEC_STDIN };
	struct session_rig *f = *state;
	struct writer busy[BUSY] = { { NULL, 0 } }, command = { NULL, 0 };
	uint64_t most = 0, least = UINT64_MAX;

	for (int i = 0; i < BUSY; i++)
		busy[i].stream = agent_session_dial(f->session, WIRE_TCP, 80,
						    &ops, &busy[i], NULL);
	for (int i = 0; i < BUSY; i++)
		keep_writing(&busy[i]);
	/* The way is full now. A command still gets in, and its input has half
	 * of what goes on. */
	command.stream =
		agent_session_exec(f->session, &request, &ops, &command, NULL);
	assert_non_null(command.stream);
	keep_writing(&command);
	RUN_UNTIL(f, command.sent == WIRE_WINDOW);
	for (int i = 0; i < BUSY; i++) {
		most = busy[i].sent > most ? busy[i].sent : most;
		least = busy[i].sent < least ? busy[i].sent : least;
	}
	/* It was not kept waiting for all of theirs. */
	assert_true(most > 0 && most <= WIRE_DIAL_WINDOW);
	assert_int_equal(least, 0);
	RUN_UNTIL(f, f->in_bytes ==
			     WIRE_WINDOW + (uint64_t)BUSY * WIRE_DIAL_WINDOW);
}

/* Whatever is copied: little is before those who come, and it cannot grow. */
static void test_bulk_leaves_little_before_a_new_connection(void **state)
{
	enum {
		BULK = 4
	};
	static const struct agent_stream_ops ops = { .writable = keep_writing,
						     .done = writer_done };
	static const struct wire_exec request = { .flags = WIRE_EXEC_STDIN };
	struct session_rig *f = *state;
	struct writer bulk[BULK] = { { NULL, 0 } };

	for (int i = 0; i < BULK; i++)
		bulk[i].stream = agent_session_exec(f->session, &request, &ops,
						    &bulk[i], NULL);
	/* The guest reads nothing; the daemon sends what it can. */
	for (int i = 0; i < BULK; i++)
		keep_writing(&bulk[i]);
	for (int turn = 0; turn < 20; turn++)
		(void)loop_run_once(f->loop, 1);
	assert_non_null(agent_session_dial(f->session, WIRE_TCP, 80,
					   &session_stream_ops, f, NULL));
	RUN_UNTIL(f, f->dials == 1);
	assert_in_range(f->before_dial, 1, 128 * 1024);
}

static void test_signal_gets_through_a_full_queue(void **state)
{
	static uint8_t big[WIRE_WINDOW];
	struct session_rig *f = *state;
	uint32_t id = session_exec(f, WIRE_EXEC_STDIN);
	struct agent_stream *command = f->stream;

	agent_u32s(f, WIRE_STARTED, 0, id, 77, 0, 1);
	for (int i = 0; i < 20; i++) {
		(void)dial(f, WIRE_TCP);
		f->hold = true;
	}
	for (int i = 0; i < 20; i++) {
		f->stream = agent_session_dial(f->session, WIRE_TCP, 1,
					       &session_stream_ops, f, NULL);
		(void)agent_stream_write(f->stream, big, sizeof(big));
	}
	agent_stream_signal(command, 2);
	RUN_UNTIL(f, f->signals == 1);
}

/* Each of these breaks one stream and leaves the session alone. */
static void test_hostile_frames_break_a_connection(void **state)
{
	static const struct {
		enum wire_protocol protocol;
		uint8_t type, channel;
		uint32_t a, b;
		size_t count;
	} bad[] = {
		{ WIRE_TCP, WIRE_EXIT, 0, 0, 0, 2 },
		{ WIRE_TCP, WIRE_STARTED, 0, 1, 0, 1 },
		{ WIRE_TCP, WIRE_CONNECTED, 0, 1, 0, 1 },
		{ WIRE_TCP, WIRE_DATA, WIRE_ERR, 0, 0, 2 },
		{ WIRE_TCP, WIRE_EOF, WIRE_ERR, 0, 0, 0 },
		{ WIRE_UDP, WIRE_EOF, WIRE_OUT, 0, 0, 0 },
		{ WIRE_TCP, WIRE_WINDOW_ADD, WIRE_IN,
		  WIRE_WINDOW - WIRE_DIAL_WINDOW + 1, 0, 1 },
		{ WIRE_UDP, WIRE_WINDOW_ADD, WIRE_IN, UINT32_MAX, 0, 1 },
	};
	struct session_rig *f = *state;

	for (unsigned int i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		uint32_t id = dial(f, bad[i].protocol);

		agent_u32s(f, bad[i].type, bad[i].channel, id, bad[i].a,
			   bad[i].b, bad[i].count);
		RUN_UNTIL(f, f->done == i + 1);
		assert_string_equal(f->done_err.code, "agent_protocol");
	}
	assert_int_equal(f->lost_count, 0);
	/* One that was never opened is no mistake of one stream. */
	agent_say(f, WIRE_DATA, WIRE_OUT, 0x7fffffff, "x", 1);
	RUN_UNTIL(f, f->lost_count);
	assert_string_equal(f->lost.code, "agent_protocol");
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
		SESSION_TEST(session_setup,
			     test_long_exec_for_an_old_agent_is_refused),
		SESSION_TEST(session_setup_ready,
			     test_long_exec_comes_in_pieces_then_the_rest),
		SESSION_TEST(session_setup_ready,
			     test_long_exec_given_up_half_way_is_closed),
		SESSION_TEST(session_setup_ready,
			     test_exec_beyond_linux_is_refused),
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
		SESSION_TEST(session_setup_ready,
			     test_dial_half_closes_and_ends),
		SESSION_TEST(session_setup_ready,
			     test_dial_refused_gives_its_code),
		SESSION_TEST(session_setup_ready, test_dial_window_is_its_own),
		SESSION_TEST(session_setup_ready,
			     test_only_so_many_dial_windows_grow),
		SESSION_TEST(session_setup,
			     test_old_agent_gives_no_more_than_was_used),
		SESSION_TEST(session_setup_ready,
			     test_datagrams_keep_their_boundaries),
		SESSION_TEST(session_setup_ready,
			     test_datagram_without_room_is_dropped_whole),
		SESSION_TEST(session_setup_ready,
			     test_connections_and_commands_have_limits_apart),
		SESSION_TEST(session_setup_ready,
			     test_busy_connections_do_not_starve_a_command),
		SESSION_TEST(session_setup_ready,
			     test_bulk_leaves_little_before_a_new_connection),
		SESSION_TEST(session_setup_ready,
			     test_signal_gets_through_a_full_queue),
		SESSION_TEST(session_setup_ready,
			     test_hostile_frames_break_a_connection),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
