/* SPDX-License-Identifier: Apache-2.0 */
/* vmd/agent_session.c and agent_stream.c against a fake agent, honest or not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/sock.h"
#include "vmd/agent_session.h"

enum {
	DEADLINE_MS = 10000
};

/* The test is the owner of the session and plays the agent's end. */
struct fixture {
	struct loop *loop;
	struct agent_session *session;
	int fd; /* the agent's end */
	struct wire_parser parser;
	uint8_t nonce[WIRE_NONCE_LEN];
	/* What the agent saw last. */
	struct wire_header last;
	uint8_t payload[WIRE_PAYLOAD_MAX];
	unsigned int frames, closes;
	uint64_t in_bytes, credit_given;
	bool in_eof;
	/* What the owner saw. */
	struct agent_info info;
	struct err lost, done_err;
	unsigned int ready, lost_count, done, started, writable, detached;
	uint32_t status, signal, tag, detached_status;
	uint64_t data_bytes;
	char data[64];
	bool hold; /* do not consume */
	bool free_in_lost;
	struct agent_stream *stream;
};

static void on_ready(void *ctx, const struct agent_info *info)
{
	struct fixture *f = ctx;

	f->ready++;
	f->info = *info;
}

static void on_detached(void *ctx, uint32_t tag, bool running, uint32_t status,
			uint32_t signal)
{
	struct fixture *f = ctx;

	(void)running;
	(void)signal;
	f->detached++;
	f->tag = tag;
	f->detached_status = status;
}

static void on_lost(void *ctx, const struct err *e)
{
	struct fixture *f = ctx;

	f->lost_count++;
	f->lost = *e;
	if (f->free_in_lost) {
		agent_session_free(f->session);
		f->session = NULL;
	}
}

static const struct agent_session_ops session_ops = { on_ready, on_detached,
						      on_lost };

static void on_started(void *ctx, uint32_t pid)
{
	struct fixture *f = ctx;

	assert_int_equal(pid, 77);
	f->started++;
}

static void on_data(void *ctx, enum wire_channel channel, const void *data,
		    size_t len)
{
	struct fixture *f = ctx;

	f->data_bytes += len;
	memcpy(f->data, data, len < sizeof(f->data) ? len : sizeof(f->data));
	if (!f->hold)
		agent_stream_consumed(f->stream, channel, len);
}

static void on_writable(void *ctx)
{
	((struct fixture *)ctx)->writable++;
}

static void on_done(void *ctx, uint32_t status, uint32_t signal,
		    const struct err *e)
{
	struct fixture *f = ctx;

	f->done++;
	f->status = status;
	f->signal = signal;
	f->stream = NULL;
	if (e)
		f->done_err = *e;
}

static const struct agent_stream_ops stream_ops = {
	.started = on_started,
	.data = on_data,
	.writable = on_writable,
	.done = on_done,
};

static void agent_frame(void *ctx, const struct wire_header *h,
			const uint8_t *payload)
{
	struct fixture *f = ctx;

	f->frames++;
	f->last = *h;
	memcpy(f->payload, payload, h->length);
	if (h->type == WIRE_HELLO)
		memcpy(f->nonce, payload + 2, WIRE_NONCE_LEN);
	if (h->type == WIRE_CLOSE)
		f->closes++;
	if (h->type == WIRE_DATA)
		f->in_bytes += h->length;
	if (h->type == WIRE_EOF)
		f->in_eof = true;
	if (h->type == WIRE_WINDOW_ADD) {
		struct wire_cursor c = wire_reader(payload, h->length);

		f->credit_given += wire_read_u32(&c);
	}
}

static void agent_read(struct fixture *f)
{
	static uint8_t in[65536];
	ssize_t n;

	while ((n = recv(f->fd, in, sizeof(in), MSG_DONTWAIT)) > 0)
		wire_parser_feed(&f->parser, in, (size_t)n, agent_frame, f);
}

/* Runs both sides until cond holds; the deadline makes a hang a failure. */
#define RUN_UNTIL(f, cond)                                     \
	do {                                                   \
		uint64_t end_ = clock_mono_ms() + DEADLINE_MS; \
		while (!(cond)) {                              \
			assert_true(clock_mono_ms() < end_);   \
			(void)loop_run_once((f)->loop, 1);     \
			agent_read(f);                         \
		}                                              \
	} while (0)

static void agent_raw(struct fixture *f, const void *data, size_t len)
{
	const uint8_t *at = data;

	while (len) {
		ssize_t n = send(f->fd, at, len, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n > 0) {
			at += n;
			len -= (size_t)n;
			continue;
		}
		if (f->lost_count)
			return;
		(void)loop_run_once(f->loop, 1);
	}
}

static void agent_say(struct fixture *f, uint8_t type, uint8_t channel,
		      uint32_t stream, const void *payload, size_t len)
{
	uint8_t head[WIRE_HEADER_LEN];
	struct wire_header h = { type, channel, stream, (uint32_t)len };

	wire_put_header(head, &h);
	agent_raw(f, head, sizeof(head));
	if (len)
		agent_raw(f, payload, len);
}

static void agent_u32s(struct fixture *f, uint8_t type, uint8_t channel,
		       uint32_t stream, uint32_t a, uint32_t b, size_t count)
{
	uint8_t p[8];
	struct wire_cursor c = wire_writer(p, sizeof(p));

	wire_write_u32(&c, a);
	wire_write_u32(&c, b);
	agent_say(f, type, channel, stream, p, count * 4);
}

static void agent_ack(struct fixture *f, uint16_t version)
{
	uint8_t p[WIRE_PAYLOAD_MAX];
	struct wire_hello_ack ack = { .version = version,
				      .boot_ns = 5,
				      .release = wire_str("6.1.0\x1b[31m"),
				      .agent = wire_str("0.1") };

	memcpy(ack.nonce, f->nonce, WIRE_NONCE_LEN);
	agent_say(f, WIRE_HELLO_ACK, 0, 0, p, wire_encode_hello_ack(&ack, p));
}

static int connect_session(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	int fds[2];

	assert_non_null(f);
	f->loop = loop_new(NULL);
	assert_int_equal(sock_pair(fds), 0);
	f->fd = fds[1];
	wire_parser_reset(&f->parser);
	f->session = agent_session_new(f->loop, fds[0], &session_ops, f, NULL);
	assert_non_null(f->session);
	*state = f;
	RUN_UNTIL(f, f->frames == 1);
	assert_int_equal(f->last.type, WIRE_HELLO);
	return 0;
}

static int make_ready(void **state)
{
	struct fixture *f;

	(void)connect_session(state);
	f = *state;
	agent_ack(f, WIRE_VERSION);
	RUN_UNTIL(f, f->ready);
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	agent_session_free(f->session);
	close_fd(&f->fd);
	loop_free(f->loop);
	free(f);
	return 0;
}

/* Opens an EXEC that the agent has accepted. */
static uint32_t start_exec(struct fixture *f, uint32_t flags)
{
	static struct wire_exec request;
	unsigned int seen = f->frames;

	request = (struct wire_exec){ .flags = flags, .argc = 1 };
	request.argv[0] = wire_str("true");
	f->stream =
		agent_session_exec(f->session, &request, &stream_ops, f, NULL);
	assert_non_null(f->stream);
	RUN_UNTIL(f, f->frames > seen);
	assert_int_equal(f->last.type, WIRE_EXEC);
	return f->last.stream;
}

static void test_hello_ack_makes_ready(void **state)
{
	struct fixture *f = *state;

	assert_false(agent_session_ready(f->session));
	agent_ack(f, WIRE_VERSION);
	RUN_UNTIL(f, f->ready);
	assert_true(agent_session_ready(f->session));
	assert_string_equal(f->info.release, "6.1.0?[31m");
	assert_int_equal(f->info.boot_ns, 5);
}

static void test_stale_bytes_before_ack_are_skipped(void **state)
{
	struct fixture *f = *state;
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
	struct fixture *f = *state;
	static uint8_t junk[65536];

	for (int i = 0; i < 140 && !f->lost_count; i++)
		agent_raw(f, junk, sizeof(junk));
	RUN_UNTIL(f, f->lost_count);
	assert_string_equal(f->lost.code, "agent_protocol");
}

static void test_other_version_is_refused(void **state)
{
	struct fixture *f = *state;

	agent_ack(f, WIRE_VERSION + 1);
	RUN_UNTIL(f, f->lost_count);
	assert_string_equal(f->lost.code, "agent_version");
	assert_int_equal(f->ready, 0);
}

static void test_exec_before_ready_is_refused(void **state)
{
	struct fixture *f = *state;
	static const struct wire_exec request;
	struct err e = ERR_INIT;

	assert_null(
		agent_session_exec(f->session, &request, &stream_ops, f, &e));
	assert_string_equal(e.code, "guest_not_ready");
}

static void test_exec_gives_output_and_status(void **state)
{
	struct fixture *f = *state;
	uint32_t id = start_exec(f, 0);

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
	id = start_exec(f, 0);
	agent_u32s(f, WIRE_STARTED, 0, id, 77, 0, 1);
	agent_u32s(f, WIRE_EXIT, 0, id, 0, 9, 2);
	RUN_UNTIL(f, f->done == 2);
	assert_int_equal(f->signal, 9);
	assert_int_equal(f->data_bytes, 5);
	assert_int_equal(f->lost_count, 0);
}

static void test_exec_not_found_gives_its_code(void **state)
{
	struct fixture *f = *state;
	uint32_t id = start_exec(f, 0);
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
	struct fixture *f = *state;
	uint32_t id = start_exec(f, 0);
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
	RUN_UNTIL(f, f->data_bytes == 2 * WIRE_WINDOW);
	assert_int_equal(f->done, 0);
	agent_say(f, WIRE_DATA, WIRE_OUT, id, chunk, 1);
	RUN_UNTIL(f, f->done && f->closes);
	assert_string_equal(f->done_err.code, "agent_protocol");
	assert_int_equal(f->lost_count, 0);
}

static void test_input_is_bounded_by_credit(void **state)
{
	struct fixture *f = *state;
	uint32_t id = start_exec(f, WIRE_EXEC_STDIN);
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

static void test_agent_that_stops_reading_is_given_up(void **state)
{
	struct fixture *f = *state;
	uint64_t end = clock_mono_ms() + DEADLINE_MS;

	(void)start_exec(f, WIRE_EXEC_STDIN);
	/* Nobody reads the agent's end any more. */
	for (unsigned int i = 0; !f->lost_count; i++) {
		assert_true(clock_mono_ms() < end);
		agent_session_reap(f->session, i);
		if (i % 1000 == 0)
			(void)loop_run_once(f->loop, 0);
	}
	assert_string_equal(f->lost.code, "agent_not_reading");
	assert_int_equal(f->done, 1);
}

static void test_close_stops_callbacks_and_frees_the_slot(void **state)
{
	struct fixture *f = *state;
	uint32_t id = start_exec(f, 0);
	uint8_t p[WIRE_PAYLOAD_MAX];

	agent_stream_close(f->stream);
	RUN_UNTIL(f, f->closes == 1);
	agent_say(f, WIRE_DATA, WIRE_OUT, id, "x", 1);
	agent_say(f, WIRE_RESULT, 0, id, p, wire_encode_result(0, "", "", p));
	id = start_exec(f, 0);
	agent_u32s(f, WIRE_STARTED, 0, id, 77, 0, 1);
	agent_u32s(f, WIRE_EXIT, 0, id, 0, 0, 2);
	RUN_UNTIL(f, f->done);
	assert_int_equal(f->done, 1);
	assert_int_equal(f->data_bytes, 0);
}

static void test_too_many_streams_are_refused(void **state)
{
	struct fixture *f = *state;
	static struct wire_exec request = { .argc = 1 };
	struct err e = ERR_INIT;

	request.argv[0] = wire_str("true");
	for (int i = 0; i < WIRE_STREAMS_MAX; i++)
		(void)start_exec(f, 0);
	assert_null(
		agent_session_exec(f->session, &request, &stream_ops, f, &e));
	assert_string_equal(e.code, WIRE_CODE_BUSY);
}

static void test_lost_connection_ends_streams_first(void **state)
{
	struct fixture *f = *state;

	(void)start_exec(f, 0);
	f->free_in_lost = true;
	close_fd(&f->fd);
	RUN_UNTIL(f, f->lost_count);
	assert_int_equal(f->done, 1);
	assert_string_equal(f->done_err.code, "agent_lost");
}

static void test_detached_record_is_reported(void **state)
{
	struct fixture *f = *state;
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
		struct fixture *f;

		(void)make_ready(&inner);
		f = inner;
		(void)start_exec(f, 0);
		agent_say(f, bad[i].type, 0, bad[i].stream, zeros, bad[i].len);
		RUN_UNTIL(f, f->lost_count);
		assert_string_equal(f->lost.code, "agent_protocol");
		assert_int_equal(f->done, 1);
		(void)teardown(&inner);
	}
}

static void test_junk_between_frames_loses_the_session(void **state)
{
	struct fixture *f = *state;

	agent_raw(f, "junk", 4);
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
	struct fixture *f = *state;

	for (unsigned int i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		uint32_t id = start_exec(f, 0);

		agent_u32s(f, bad[i].type, bad[i].channel, id, bad[i].a,
			   bad[i].b, bad[i].count);
		RUN_UNTIL(f, f->done == i + 1);
		assert_string_equal(f->done_err.code, "agent_protocol");
	}
	assert_int_equal(f->lost_count, 0);
}

#define TEST(setup, name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(connect_session, test_hello_ack_makes_ready),
		TEST(connect_session, test_stale_bytes_before_ack_are_skipped),
		TEST(connect_session,
		     test_endless_stale_bytes_lose_the_session),
		TEST(connect_session, test_other_version_is_refused),
		TEST(connect_session, test_exec_before_ready_is_refused),
		TEST(make_ready, test_exec_gives_output_and_status),
		TEST(make_ready, test_exec_not_found_gives_its_code),
		TEST(make_ready, test_output_is_bounded_by_credit),
		TEST(make_ready, test_input_is_bounded_by_credit),
		TEST(make_ready, test_agent_that_stops_reading_is_given_up),
		TEST(make_ready, test_close_stops_callbacks_and_frees_the_slot),
		TEST(make_ready, test_too_many_streams_are_refused),
		TEST(make_ready, test_lost_connection_ends_streams_first),
		TEST(make_ready, test_detached_record_is_reported),
		cmocka_unit_test(test_hostile_frames_lose_the_session),
		TEST(make_ready, test_junk_between_frames_loses_the_session),
		TEST(make_ready, test_hostile_frames_break_the_stream),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
