/* SPDX-License-Identifier: Apache-2.0 */
/* agent/wire.c: headers, cursors, messages, the parser and its resync. */
#include <stdlib.h>
#include <string.h>

#include "agent/wire.h"
#include "tests/unit/test.h"

static uint8_t out[WIRE_PAYLOAD_MAX];

static void test_header_round_trip_same(void **state)
{
	const struct wire_header h = { WIRE_DATA, WIRE_ERR, 0x12345678, 32768 };
	const uint8_t expected[16] = { 'V',  'M',  'A',	 '1',  64, 2,	 0, 0,
				       0x78, 0x56, 0x34, 0x12, 0,  0x80, 0, 0 };
	struct wire_header back;
	uint8_t raw[WIRE_HEADER_LEN];

	(void)state;
	wire_put_header(raw, &h);
	assert_memory_equal(raw, expected, 16);
	assert_true(wire_get_header(raw, &back));
	assert_int_equal(back.type, h.type);
	assert_int_equal(back.channel, h.channel);
	assert_int_equal(back.stream, h.stream);
	assert_int_equal(back.length, h.length);
}

static void test_header_bad_refused(void **state)
{
	const struct wire_header h = { WIRE_DATA, 0, 1, 5 };
	const size_t bad[] = { 0, 1, 2, 3, 6, 7, 15 };
	struct wire_header back;
	uint8_t raw[WIRE_HEADER_LEN];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		wire_put_header(raw, &h);
		raw[bad[i]] ^= 0x40;
		assert_false(wire_get_header(raw, &back));
	}
	wire_put_header(raw, &h);
	raw[12] = 1;
	raw[13] = 0x80; /* 32769 */
	assert_false(wire_get_header(raw, &back));
}

static void test_cursor_overflow_sticks(void **state)
{
	uint8_t room[6];
	struct wire_cursor c = wire_writer(room, sizeof(room));

	(void)state;
	wire_write_u32(&c, 1);
	wire_write_u32(&c, 2);
	assert_false(wire_cursor_ok(&c));
	wire_write_u8(&c, 3);
	assert_false(wire_cursor_ok(&c));
	c = wire_reader(room, 4);
	assert_int_equal(wire_read_u32(&c), 1);
	assert_true(wire_cursor_done(&c));
	assert_int_equal(wire_read_u64(&c), 0);
	assert_false(wire_cursor_ok(&c));
}

static void test_read_str_longer_than_rest_bad(void **state)
{
	const uint8_t raw[8] = { 0xff, 0xff, 0xff, 0xff, 'a', 'b', 'c', 'd' };
	struct wire_cursor c = wire_reader(raw, sizeof(raw));

	(void)state;
	assert_int_equal(wire_read_str(&c).len, 0);
	assert_false(wire_cursor_ok(&c));
}

/* With the first argument and the first variable given. */
static size_t encode_sample(struct wire_str arg, struct wire_str variable,
			    uint32_t flags, uint32_t argc)
{
	static uint8_t items[2 * WIRE_PAYLOAD_MAX];
	struct wire_cursor c = wire_writer(items, sizeof(items));
	const struct wire_str argv[] = { arg, wire_str("") };
	struct wire_exec m = {
		.flags = flags,
		.tag = 7,
		.rows = 24,
		.columns = 80,
		.cwd = wire_str("/tmp"),
		.user = wire_str("1000:100"),
		.argv = wire_write_list(&c, argv, argc),
	};

	m.envp = wire_write_list(&c, &variable, 1);
	assert_true(wire_cursor_ok(&c));
	return wire_encode_exec(&m, out, sizeof(out));
}

static size_t encode_good(void)
{
	return encode_sample(wire_str("sh"), wire_str("A=b=c"),
			     WIRE_EXEC_TTY | WIRE_EXEC_STDIN, 2);
}

static void expect_item(struct wire_list *list, const char *wanted)
{
	struct wire_str s;

	assert_true(wire_list_next(list, &s));
	assert_int_equal(s.len, strlen(wanted));
	assert_memory_equal(s.ptr, wanted, s.len);
}

static void test_exec_round_trip_same(void **state)
{
	struct wire_exec back;
	size_t len = encode_good();
	struct wire_str none;

	(void)state;
	assert_true(len > 0);
	assert_true(wire_decode_exec(out, len, &back));
	assert_int_equal(wire_exec_len(&back), len);
	assert_int_equal(back.flags, 3);
	assert_int_equal(back.tag, 7);
	assert_int_equal(back.rows, 24);
	assert_int_equal(back.columns, 80);
	assert_int_equal(back.argv.count, 2);
	expect_item(&back.argv, "sh");
	expect_item(&back.argv, "");
	assert_false(wire_list_next(&back.argv, &none));
	assert_int_equal(back.envp.count, 1);
	expect_item(&back.envp, "A=b=c");
	assert_memory_equal(back.user.ptr, "1000:100", 8);
}

static void test_exec_every_truncation_refused(void **state)
{
	struct wire_exec back;
	size_t len = encode_good();

	(void)state;
	for (size_t i = 0; i < len; i++) {
		uint8_t *exact = malloc(i ? i : 1);

		assert_non_null(exact);
		memcpy(exact, out, i);
		assert_false(wire_decode_exec(exact, i, &back));
		free(exact);
	}
	out[len] = 0;
	assert_false(wire_decode_exec(out, len + 1, &back));
}

static void test_exec_malformed_refused(void **state)
{
	const struct wire_str sh = wire_str("sh"), ok = wire_str("A=b");
	struct wire_exec back;
	uint8_t *count;

	(void)state;
	assert_false(wire_decode_exec(out, encode_sample(sh, ok, 0, 0), &back));
	assert_false(wire_decode_exec(out, encode_sample(sh, ok, 8, 2), &back));
	assert_false(wire_decode_exec(
		out, encode_sample(wire_str(""), ok, 0, 2), &back));
	assert_false(wire_decode_exec(
		out, encode_sample((struct wire_str){ "a\0b", 3 }, ok, 0, 2),
		&back));
	assert_false(wire_decode_exec(
		out, encode_sample(sh, wire_str("novalue"), 0, 2), &back));
	assert_false(wire_decode_exec(
		out, encode_sample(sh, wire_str("=x"), 0, 2), &back));
	/* More strings than there are bytes. */
	count = out + encode_sample(sh, ok, 0, 2) - (4 + 3) - 4;
	assert_int_equal(*count, 1);
	memset(count, 0xff, 4);
	assert_false(wire_decode_exec(out, (size_t)(count - out) + 4 + 4 + 3,
				      &back));
}

static void test_exec_too_long_not_encoded(void **state)
{
	static char big[WIRE_PAYLOAD_MAX];

	(void)state;
	memset(big, 'x', sizeof(big));
	assert_int_equal(encode_sample((struct wire_str){ big, sizeof(big) },
				       wire_str("A=b"), 0, 2),
			 0);
}

static void test_other_messages_round_trip(void **state)
{
	const struct wire_net net = { wire_str("eth0"),
				      wire_str("10.0.2.15/24"), wire_str(""),
				      wire_str("10.0.2.3"), 1500 };
	struct wire_hello_ack ack = { .version = 1,
				      .nonce = { 1, 2, 3 },
				      .boot_ns = 1ull << 40,
				      .release = wire_str("6.1"),
				      .agent = wire_str("0.1.0") };
	struct wire_net net2;
	struct wire_hello_ack ack2;
	struct wire_str code, msg;
	uint32_t sys;
	size_t len;

	(void)state;
	len = wire_encode_net(&net, out);
	assert_true(wire_decode_net(out, len, &net2));
	assert_int_equal(net2.mtu, 1500);
	assert_int_equal(net2.gateway.len, 0);
	assert_false(wire_decode_net(out, len - 1, &net2));
	len = wire_encode_hello_ack(&ack, out);
	assert_true(wire_decode_hello_ack(out, len, &ack2));
	assert_memory_equal(ack2.nonce, ack.nonce, WIRE_NONCE_LEN);
	assert_true(ack2.boot_ns == 1ull << 40);
	assert_false(wire_decode_hello_ack(out, len - 1, &ack2));
	len = wire_encode_result(2, "io_error", "no such file", out);
	assert_true(wire_decode_result(out, len, &sys, &code, &msg));
	assert_int_equal(sys, 2);
	assert_int_equal(code.len, 8);
	assert_int_equal(msg.len, 12);
	assert_false(wire_decode_result(out, len + 1, &sys, &code, &msg));
}

struct seen {
	unsigned int frames;
	uint64_t sum, bytes;
	const uint8_t *payload;
	struct wire_parser *reset, *stop;
};

static void count(void *ctx, const struct wire_header *h,
		  const uint8_t *payload)
{
	struct seen *s = ctx;

	s->frames++;
	s->bytes += h->length;
	s->payload = payload;
	for (uint32_t i = 0; i < h->length; i++)
		s->sum += payload[i];
	if (s->reset)
		wire_parser_reset(s->reset);
	if (s->stop)
		wire_parser_stop(s->stop);
}

static size_t put_frame(uint8_t *at, uint32_t len, uint8_t fill)
{
	const struct wire_header h = { WIRE_DATA, 1, 9, len };

	wire_put_header(at, &h);
	memset(at + WIRE_HEADER_LEN, fill, len);
	return WIRE_HEADER_LEN + len;
}

static void test_parser_any_pieces_whole_frames(void **state)
{
	static struct wire_parser p;
	static uint8_t stream[40000];
	const size_t pieces[] = { 1, 3, 15, 16, 17, 4096, sizeof(stream) };
	size_t len = 0;

	(void)state;
	len += put_frame(stream + len, 0, 0);
	len += put_frame(stream + len, 5, 1);
	len += put_frame(stream + len, WIRE_PAYLOAD_MAX, 'V');
	len += put_frame(stream + len, 100, 2);
	for (size_t k = 0; k < sizeof(pieces) / sizeof(pieces[0]); k++) {
		struct seen s = { 0 };

		wire_parser_reset(&p);
		for (size_t at = 0; at < len; at += pieces[k])
			wire_parser_feed(&p, stream + at,
					 len - at < pieces[k] ? len - at
							      : pieces[k],
					 count, &s);
		assert_int_equal(s.frames, 4);
		assert_int_equal(s.bytes, 5 + WIRE_PAYLOAD_MAX + 100);
		assert_int_equal(s.sum, 5 + 'V' * WIRE_PAYLOAD_MAX + 200);
		assert_int_equal(p.resync, 0);
	}
}

static void test_parser_junk_finds_next_header(void **state)
{
	static struct wire_parser p;
	static uint8_t stream[1000];
	const char junk[] = "VVMVMAVMA2VMA1\x40\x01\x01\x01xxxxxxxxVMA";
	struct seen s = { 0 };
	size_t len = sizeof(junk) - 1;

	(void)state;
	memcpy(stream, junk, len);
	len += put_frame(stream + len, 10, 1);
	wire_parser_reset(&p);
	for (size_t i = 0; i < len; i++)
		wire_parser_feed(&p, stream + i, 1, count, &s);
	assert_int_equal(s.frames, 1);
	assert_int_equal(s.sum, 10);
	assert_int_equal(p.resync, sizeof(junk) - 1);
}

static void test_parser_half_frame_then_sync_recovers(void **state)
{
	static struct wire_parser p;
	static uint8_t frame[WIRE_HEADER_LEN + WIRE_PAYLOAD_MAX];
	static const uint8_t zeros[WIRE_SYNC_LEN];
	struct seen s = { 0 };
	size_t len = put_frame(frame, WIRE_PAYLOAD_MAX, 0);

	(void)state;
	/* Cut at every kind of place: nothing, inside header, inside payload. */
	for (size_t cut = 0; cut < len; cut += cut < 40 ? 1 : 4001) {
		uint8_t next[64];
		size_t n = put_frame(next, 3, 1);

		s = (struct seen){ 0 };
		wire_parser_reset(&p);
		wire_parser_feed(&p, frame, cut, count, &s);
		wire_parser_feed(&p, zeros, sizeof(zeros), count, &s);
		wire_parser_feed(&p, next, n, count, &s);
		assert_int_equal(s.sum, 3);
	}
}

static void test_parser_reset_in_callback_goes_on(void **state)
{
	static struct wire_parser p;
	uint8_t stream[200];
	struct seen s = { .reset = &p };
	size_t len = put_frame(stream, 4, 1);

	(void)state;
	len += put_frame(stream + len, 4, 1);
	wire_parser_reset(&p);
	wire_parser_feed(&p, stream, len, count, &s);
	assert_int_equal(s.frames, 2);
}

static void test_parser_whole_frame_is_not_copied(void **state)
{
	static struct wire_parser p;
	uint8_t stream[200];
	struct seen s = { 0 };
	size_t first = put_frame(stream, 4, 1);
	size_t len = first + put_frame(stream + first, 4, 1);

	(void)state;
	wire_parser_reset(&p);
	wire_parser_feed(&p, stream, len, count, &s);
	assert_ptr_equal(s.payload, stream + first + WIRE_HEADER_LEN);
	/* What comes in pieces has to be put together. */
	wire_parser_feed(&p, stream, first - 1, count, &s);
	wire_parser_feed(&p, stream + first - 1, 1, count, &s);
	assert_int_equal(s.frames, 3);
	assert_ptr_equal(s.payload, p.frame + WIRE_HEADER_LEN);
}

static void test_parser_stop_leaves_the_rest(void **state)
{
	static struct wire_parser p;
	uint8_t stream[200];
	struct seen s = { .stop = &p };
	size_t len = 0, at = 0;

	(void)state;
	for (int i = 0; i < 4; i++)
		len += put_frame(stream + len, 4, 1);
	wire_parser_reset(&p);
	/* The first in pieces, which takes the other way. */
	at += wire_parser_feed(&p, stream, 7, count, &s);
	assert_int_equal(at, 7);
	for (unsigned int i = 1; i <= 4; i++) {
		at += wire_parser_feed(&p, stream + at, len - at, count, &s);
		assert_int_equal(s.frames, i);
		assert_int_equal(at, i * (WIRE_HEADER_LEN + 4));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_header_round_trip_same),
		cmocka_unit_test(test_parser_whole_frame_is_not_copied),
		cmocka_unit_test(test_parser_stop_leaves_the_rest),
		cmocka_unit_test(test_header_bad_refused),
		cmocka_unit_test(test_cursor_overflow_sticks),
		cmocka_unit_test(test_read_str_longer_than_rest_bad),
		cmocka_unit_test(test_exec_round_trip_same),
		cmocka_unit_test(test_exec_every_truncation_refused),
		cmocka_unit_test(test_exec_malformed_refused),
		cmocka_unit_test(test_exec_too_long_not_encoded),
		cmocka_unit_test(test_other_messages_round_trip),
		cmocka_unit_test(test_parser_any_pieces_whole_frames),
		cmocka_unit_test(test_parser_junk_finds_next_header),
		cmocka_unit_test(test_parser_half_frame_then_sync_recovers),
		cmocka_unit_test(test_parser_reset_in_callback_goes_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
