/* SPDX-License-Identifier: Apache-2.0 */
#include "../test.h"

#include <string.h>

#include "monitor/bus.h"

static uint64_t last_offset;
static uint32_t last_len;

static void note_read(void *device, const struct bus_access *a)
{
	last_offset = a->offset;
	last_len = a->len;
	memcpy(a->data, device, 1);
}

static void note_write(void *device, const struct bus_access *a)
{
	last_offset = a->offset;
	memcpy(device, a->data, 1);
}

static void add(struct bus *bus, uint64_t base, uint64_t len, uint8_t *value,
		int want)
{
	struct bus_range range = {
		base, len, "x", note_read, note_write, value
	};
	struct err e = ERR_INIT;
	int rc = bus_add(bus, &range, &e);

	assert_int_equal(rc < 0, want < 0);
}

static void test_access_finds_device_and_offset(void **state)
{
	struct bus bus = { .count = 0 };
	uint8_t a = 1, b = 2, c = 3, byte;

	(void)state;
	add(&bus, 0x200, 8, &b, 0);
	add(&bus, 0x100, 8, &a, 0);
	add(&bus, 0x300, 1, &c, 0);
	bus_read(&bus, 0x107, &byte, 1);
	assert_int_equal(byte, 1);
	assert_int_equal(last_offset, 7);
	bus_read(&bus, 0x200, &byte, 1);
	assert_int_equal(byte, 2);
	bus_read(&bus, 0x300, &byte, 1);
	assert_int_equal(byte, 3);
	byte = 9;
	bus_write(&bus, 0x203, &byte, 1);
	assert_int_equal(b, 9);
	assert_int_equal(bus.strays, 0);
}

static void test_access_outside_reads_ones(void **state)
{
	struct bus bus = { .count = 0 };
	uint8_t a = 1;
	uint32_t word = 0;

	(void)state;
	add(&bus, 0x100, 8, &a, 0);
	bus_read(&bus, 0x108, &word, 4);
	assert_int_equal(word, 0xffffffff);
	/* An access that leaves its device meets none. */
	word = 0;
	bus_read(&bus, 0x106, &word, 4);
	assert_int_equal(word, 0xffffffff);
	bus_write(&bus, UINT64_MAX, &word, 4);
	assert_int_equal(bus.strays, 3);
	assert_int_equal(a, 1);
}

static void test_add_overlap_refused(void **state)
{
	struct bus bus = { .count = 0 };
	uint8_t a = 1;

	(void)state;
	add(&bus, 0x100, 8, &a, 0);
	add(&bus, 0x107, 8, &a, -1);
	add(&bus, 0xf9, 8, &a, -1);
	add(&bus, 0x100, 8, &a, -1);
	add(&bus, 0x200, 0, &a, -1);
	add(&bus, UINT64_MAX, 2, &a, -1);
	add(&bus, 0xf8, 8, &a, 0);
	add(&bus, 0x108, 8, &a, 0);
	assert_int_equal(bus.count, 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_access_finds_device_and_offset),
		cmocka_unit_test(test_access_outside_reads_ones),
		cmocka_unit_test(test_add_overlap_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
