/* SPDX-License-Identifier: Apache-2.0 */
#include "../test.h"

#include <string.h>

#include "monitor/chips/serial.h"

struct host {
	struct serial serial;
	bool irq;
	unsigned rises;
	char out[64];
	size_t out_len;
	unsigned ready;
};

static void set_irq(void *ctx, bool level)
{
	struct host *h = ctx;

	h->rises += level && !h->irq;
	h->irq = level;
}

static void output(void *ctx, uint8_t byte)
{
	struct host *h = ctx;

	h->out[h->out_len++] = (char)byte;
}

static void input_ready(void *ctx)
{
	struct host *h = ctx;

	h->ready++;
}

static const struct serial_ops ops = { set_irq, output, input_ready };

static uint8_t in(struct host *h, uint64_t reg)
{
	uint8_t byte = 0;
	struct bus_access a = { reg, &byte, 1 };

	serial_read(&h->serial, &a);
	return byte;
}

static void out(struct host *h, uint64_t reg, uint8_t byte)
{
	struct bus_access a = { reg, &byte, 1 };

	serial_write(&h->serial, &a);
}

static struct host start(void)
{
	struct host h = { .irq = false };

	return h;
}

static void test_write_goes_out_and_interrupts(void **state)
{
	struct host h = start();

	(void)state;
	serial_init(&h.serial, &ops, &h);
	out(&h, 1, 2); /* transmit interrupt: the transmitter is empty */
	assert_true(h.irq);
	assert_int_equal(in(&h, 2) & 0xf, 2);
	assert_false(h.irq);
	out(&h, 0, 'x');
	assert_memory_equal(h.out, "x", 1);
	assert_true(h.irq);
	assert_int_equal(h.rises, 2);
	assert_int_equal(in(&h, 5) & 0x60, 0x60);
}

static void test_input_interrupts_until_read(void **state)
{
	struct host h = start();

	(void)state;
	serial_init(&h.serial, &ops, &h);
	out(&h, 1, 1);
	serial_input(&h.serial, (const uint8_t *)"ab", 2);
	assert_true(h.irq);
	assert_int_equal(in(&h, 2) & 0xf, 4);
	assert_int_equal(in(&h, 5) & 1, 1);
	assert_int_equal(in(&h, 0), 'a');
	assert_true(h.irq);
	assert_int_equal(in(&h, 0), 'b');
	assert_false(h.irq);
	assert_int_equal(h.ready, 1);
	assert_int_equal(in(&h, 0), 0);
}

static void test_input_overrun_is_reported_once(void **state)
{
	struct host h = start();
	uint8_t many[SERIAL_QUEUE + 1] = { 1 };

	(void)state;
	serial_init(&h.serial, &ops, &h);
	assert_int_equal(serial_room(&h.serial), SERIAL_QUEUE);
	serial_input(&h.serial, many, sizeof(many));
	assert_int_equal(serial_room(&h.serial), 0);
	assert_int_equal(in(&h, 5) & 2, 2);
	assert_int_equal(in(&h, 5) & 2, 0);
	out(&h, 2, 1 | 2); /* clear the receive FIFO */
	assert_int_equal(serial_room(&h.serial), SERIAL_QUEUE);
}

static void test_divisor_and_loopback(void **state)
{
	struct host h = start();

	(void)state;
	serial_init(&h.serial, &ops, &h);
	out(&h, 3, 0x83);
	out(&h, 0, 7);
	out(&h, 1, 9);
	assert_int_equal(in(&h, 0), 7);
	assert_int_equal(in(&h, 1), 9);
	out(&h, 3, 3);
	out(&h, 4, 0x1a); /* loop, OUT2, RTS */
	out(&h, 0, 'q');
	assert_int_equal(h.out_len, 0);
	assert_int_equal(in(&h, 0), 'q');
	assert_int_equal(in(&h, 6) & 0xf0, 0x90);
	serial_input(&h.serial, (const uint8_t *)"z", 1);
	assert_int_equal(in(&h, 5) & 1, 0);
}

static void test_every_write_in_every_register_is_harmless(void **state)
{
	struct host h = start();

	(void)state;
	serial_init(&h.serial, &ops, &h);
	for (unsigned reg = 0; reg < SERIAL_PORTS; reg++)
		for (unsigned v = 0; v < 256; v++) {
			h.out_len = 0;
			out(&h, reg, (uint8_t)v);
			for (unsigned r = 0; r < SERIAL_PORTS; r++)
				(void)in(&h, r);
			assert_true(h.serial.count <= SERIAL_QUEUE);
		}
}

static void test_save_load_keeps_registers_and_queue(void **state)
{
	struct host a = start(), b = start();
	struct state_writer w;
	struct state_reader r;
	struct err e = ERR_INIT;

	(void)state;
	serial_init(&a.serial, &ops, &a);
	serial_init(&b.serial, &ops, &b);
	out(&a, 7, 0x42);
	out(&a, 1, 3);
	serial_input(&a.serial, (const uint8_t *)"hello", 5);
	assert_int_equal(in(&a, 0), 'h');
	state_writer_init(&w, 4096);
	serial_save(&a.serial, &w);
	assert_int_equal(state_finish(&w, &e), 0);
	assert_int_equal(state_reader_init(&r, buf_head(&w.out),
					   buf_len(&w.out), &e),
			 0);
	assert_int_equal(serial_load(&b.serial, &r, &e), 0);
	assert_int_equal(in(&b, 7), 0x42);
	assert_int_equal(in(&b, 1), 3);
	assert_int_equal(in(&b, 0), 'e');
	assert_int_equal(serial_room(&b.serial), SERIAL_QUEUE - 3);
	state_writer_done(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_write_goes_out_and_interrupts),
		cmocka_unit_test(test_input_interrupts_until_read),
		cmocka_unit_test(test_input_overrun_is_reported_once),
		cmocka_unit_test(test_divisor_and_loopback),
		cmocka_unit_test(
			test_every_write_in_every_register_is_harmless),
		cmocka_unit_test(test_save_load_keeps_registers_and_queue),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
