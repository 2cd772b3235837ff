/* SPDX-License-Identifier: Apache-2.0 */
/* base/state: round trips, and every kind of damage to a blob. */
#include "tests/unit/test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/state.h"

static void write_two_sections(struct state_writer *w)
{
	struct err e = ERR_INIT;

	state_writer_init(w, 4096);
	state_begin(w, "alpha", 3);
	state_put_u8(w, 0x12);
	state_put_u16(w, 0x3456);
	state_put_u32(w, 0x789abcde);
	state_put_u64(w, 0x0102030405060708);
	state_put_bytes(w, "bytes", 5);
	state_end(w);
	state_begin(w, "empty", 1);
	state_end(w);
	assert_int_equal(state_finish(w, &e), 0);
}

static void test_state_round_trip_gives_what_was_put(void **unused)
{
	struct state_writer w;
	struct state_reader r;
	struct err e = ERR_INIT;
	uint16_t version = 0;
	char bytes[5];

	(void)unused;
	write_two_sections(&w);
	assert_int_equal(state_reader_init(&r, buf_head(&w.out),
					   buf_len(&w.out), &e),
			 0);
	assert_int_equal(state_open(&r, "alpha", 3, &version, &e), 0);
	assert_int_equal(version, 3);
	assert_int_equal(state_get_u8(&r), 0x12);
	assert_int_equal(state_get_u16(&r), 0x3456);
	assert_int_equal(state_get_u32(&r), 0x789abcde);
	assert_true(state_get_u64(&r) == 0x0102030405060708);
	state_get_bytes(&r, bytes, sizeof(bytes));
	assert_memory_equal(bytes, "bytes", 5);
	assert_int_equal(state_close(&r, &e), 0);
	/* One section is still unread: its state would be lost. */
	assert_true(state_all_read(&r, &e) < 0);
	assert_string_equal(e.code, "state_section_unknown");
	assert_int_equal(state_open(&r, "empty", 1, &version, &e), 0);
	assert_int_equal(state_close(&r, &e), 0);
	assert_int_equal(state_all_read(&r, &e), 0);
	state_writer_done(&w);
}

static void test_state_layout_is_the_documented_one(void **unused)
{
	/* "a" version 2, payload 0x61: checksums computed independently. */
	static const uint8_t head[] = { 'V', 'M', 'D', 'S', 'T', 'A', 'T', 'E',
					1,   0,	  0,   0,   1,	 0,   0,   0,
					1,   'a', 2,   0,   9,	 0,   0,   0 };
	/* The check value of CRC-32C: crc("123456789") = 0xe3069283. */
	static const uint8_t crc[] = { 0x83, 0x92, 0x06, 0xe3 };
	struct state_writer w;
	struct err e = ERR_INIT;

	(void)unused;
	state_writer_init(&w, 4096);
	state_begin(&w, "a", 2);
	state_put_bytes(&w, "123456789", 9);
	state_end(&w);
	assert_int_equal(state_finish(&w, &e), 0);
	assert_int_equal(buf_len(&w.out), sizeof(head) + 9 + 4 + 4);
	assert_memory_equal(buf_head(&w.out), head, sizeof(head));
	assert_memory_equal(buf_head(&w.out) + sizeof(head) + 9, crc, 4);
	state_writer_done(&w);
}

static void test_state_any_flipped_bit_is_refused(void **unused)
{
	struct state_writer w;
	struct state_reader r;
	struct err e = ERR_INIT;
	uint8_t copy[256];
	size_t len;

	(void)unused;
	write_two_sections(&w);
	len = buf_len(&w.out);
	assert_true(len <= sizeof(copy));
	for (size_t bit = 0; bit < len * 8; bit++) {
		memcpy(copy, buf_head(&w.out), len);
		copy[bit / 8] ^= (uint8_t)(1u << (bit % 8));
		assert_true(state_reader_init(&r, copy, len, &e) < 0);
	}
	state_writer_done(&w);
}

static void test_state_any_cut_is_refused(void **unused)
{
	struct state_writer w;
	struct state_reader r;
	struct err e = ERR_INIT;

	(void)unused;
	write_two_sections(&w);
	for (size_t len = 0; len < buf_len(&w.out); len++) {
		/* An exact copy lets ASan see a read past the cut. */
		uint8_t *cut = malloc(len ? len : 1);

		assert_non_null(cut);
		memcpy(cut, buf_head(&w.out), len);
		assert_true(state_reader_init(&r, cut, len, &e) < 0);
		assert_string_equal(e.code, "state_corrupt");
		free(cut);
	}
	state_writer_done(&w);
}

static void test_state_newer_section_is_refused_politely(void **unused)
{
	struct state_writer w;
	struct state_reader r;
	struct err e = ERR_INIT;
	uint16_t version;

	(void)unused;
	write_two_sections(&w);
	assert_int_equal(state_reader_init(&r, buf_head(&w.out),
					   buf_len(&w.out), &e),
			 0);
	assert_int_equal(state_open(&r, "alpha", 2, &version, &e), -ENOTSUP);
	assert_string_equal(e.code, "state_too_new");
	assert_int_equal(state_open(&r, "beta", 2, &version, &e), -ENOENT);
	state_writer_done(&w);
}

static void test_state_wrong_length_of_a_section_is_seen(void **unused)
{
	struct state_writer w;
	struct state_reader r;
	struct err e = ERR_INIT;
	uint16_t version;

	(void)unused;
	write_two_sections(&w);
	assert_int_equal(state_reader_init(&r, buf_head(&w.out),
					   buf_len(&w.out), &e),
			 0);
	assert_int_equal(state_open(&r, "alpha", 3, &version, &e), 0);
	(void)state_get_u64(&r);
	assert_true(state_close(&r, &e) < 0);
	assert_int_equal(state_open(&r, "empty", 3, &version, &e), 0);
	assert_int_equal(state_get_u32(&r), 0);
	assert_true(state_close(&r, &e) < 0);
	state_writer_done(&w);
}

static void test_state_section_twice_is_refused(void **unused)
{
	struct state_writer w;
	struct state_reader r;
	struct err e = ERR_INIT;

	(void)unused;
	state_writer_init(&w, 4096);
	state_begin(&w, "same", 1);
	state_end(&w);
	state_begin(&w, "same", 1);
	state_end(&w);
	assert_int_equal(state_finish(&w, &e), 0);
	assert_true(state_reader_init(&r, buf_head(&w.out), buf_len(&w.out),
				      &e) < 0);
	state_writer_done(&w);
}

static void test_state_over_the_limit_fails_at_the_end(void **unused)
{
	struct err e = ERR_INIT;

	(void)unused;
	/* Every limit below the need: each place where room can end. */
	for (size_t limit = 0; limit < 40; limit++) {
		struct state_writer w;

		state_writer_init(&w, limit);
		state_begin(&w, "s", 1);
		state_put_u64(&w, 1);
		state_end(&w);
		assert_true(state_finish(&w, &e) < 0);
		assert_string_equal(e.code, "state_too_large");
		state_writer_done(&w);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_state_round_trip_gives_what_was_put),
		cmocka_unit_test(test_state_layout_is_the_documented_one),
		cmocka_unit_test(test_state_any_flipped_bit_is_refused),
		cmocka_unit_test(test_state_any_cut_is_refused),
		cmocka_unit_test(test_state_newer_section_is_refused_politely),
		cmocka_unit_test(test_state_wrong_length_of_a_section_is_seen),
		cmocka_unit_test(test_state_section_twice_is_refused),
		cmocka_unit_test(test_state_over_the_limit_fails_at_the_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
