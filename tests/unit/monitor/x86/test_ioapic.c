/* SPDX-License-Identifier: Apache-2.0 */
#include "../test.h"

#include "monitor/x86/ioapic.h"

struct sink {
	unsigned count;
	uint32_t address, data;
};

static void deliver(void *ctx, uint32_t address, uint32_t data)
{
	struct sink *s = ctx;

	s->count++;
	s->address = address;
	s->data = data;
}

static void put(struct ioapic *io, uint8_t reg, uint32_t value)
{
	uint32_t select = reg;
	struct bus_access s = { 0x00, &select, 4 };
	struct bus_access w = { 0x10, &value, 4 };

	ioapic_write(io, &s);
	ioapic_write(io, &w);
}

static uint32_t get(struct ioapic *io, uint8_t reg)
{
	uint32_t select = reg, value = 0;
	struct bus_access s = { 0x00, &select, 4 };
	struct bus_access r = { 0x10, &value, 4 };

	ioapic_write(io, &s);
	ioapic_read(io, &r);
	return value;
}

static void test_masked_after_reset(void **state)
{
	struct sink s = { 0 };
	struct ioapic io;

	(void)state;
	ioapic_init(&io, deliver, &s);
	for (unsigned pin = 0; pin < 40; pin++)
		ioapic_set_line(&io, pin, true);
	assert_int_equal(s.count, 0);
	assert_int_equal(get(&io, 1), 0x170011);
	assert_int_equal(get(&io, 0x10), 0x10000);
}

static void test_line_sends_the_programmed_message(void **state)
{
	struct sink s = { 0 };
	struct ioapic io;

	(void)state;
	ioapic_init(&io, deliver, &s);
	put(&io, 0x10 + 2 * 16 + 1, 3u << 24);
	put(&io, 0x10 + 2 * 16, 0x800 | 0x41); /* logical, vector 0x41 */
	ioapic_set_line(&io, 16, true);
	assert_int_equal(s.count, 1);
	assert_int_equal(s.address, 0xfee00000 | 3 << 12 | 1 << 2);
	assert_int_equal(s.data, 0x41);
	ioapic_set_line(&io, 16, false);
	assert_int_equal(s.count, 1);
	/* A cause that remains is reported again. */
	ioapic_set_line(&io, 16, true);
	ioapic_set_line(&io, 16, true);
	assert_int_equal(s.count, 3);
}

static void test_masked_edge_comes_with_unmasking(void **state)
{
	struct sink s = { 0 };
	struct ioapic io;

	(void)state;
	ioapic_init(&io, deliver, &s);
	ioapic_set_line(&io, 4, true);
	ioapic_set_line(&io, 5, true);
	ioapic_set_line(&io, 5, false);
	put(&io, 0x10 + 2 * 4, 0x50);
	assert_int_equal(s.count, 1);
	put(&io, 0x10 + 2 * 4, 0x50);
	assert_int_equal(s.count, 1);
	put(&io, 0x10 + 2 * 5, 0x51); /* its cause has gone */
	assert_int_equal(s.count, 1);
}

static void test_registers_outside_are_ignored(void **state)
{
	struct sink s = { 0 };
	struct ioapic io;

	(void)state;
	ioapic_init(&io, deliver, &s);
	for (unsigned reg = 0; reg < 256; reg++) {
		put(&io, (uint8_t)reg, 0xffffffff);
		(void)get(&io, (uint8_t)reg);
	}
	assert_int_equal(get(&io, 0x10), 0x1afff);
	assert_int_equal(get(&io, 0x40), 0);
}

static void test_save_load_round_trip(void **state)
{
	struct sink s = { 0 };
	struct ioapic a, b;
	struct state_writer w;
	struct state_reader r;
	struct err e = ERR_INIT;

	(void)state;
	ioapic_init(&a, deliver, &s);
	ioapic_init(&b, deliver, &s);
	put(&a, 0x10 + 2 * 7, 0x77);
	ioapic_set_line(&a, 9, true);
	state_writer_init(&w, 4096);
	ioapic_save(&a, &w);
	assert_int_equal(state_finish(&w, &e), 0);
	assert_int_equal(state_reader_init(&r, buf_head(&w.out),
					   buf_len(&w.out), &e),
			 0);
	assert_int_equal(ioapic_load(&b, &r, &e), 0);
	assert_memory_equal(a.entries, b.entries, sizeof(a.entries));
	assert_int_equal(b.lines, 1 << 9);
	assert_int_equal(b.pending, 1 << 9);
	state_writer_done(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_masked_after_reset),
		cmocka_unit_test(test_line_sends_the_programmed_message),
		cmocka_unit_test(test_masked_edge_comes_with_unmasking),
		cmocka_unit_test(test_registers_outside_are_ignored),
		cmocka_unit_test(test_save_load_round_trip),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
