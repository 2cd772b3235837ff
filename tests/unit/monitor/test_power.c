/* SPDX-License-Identifier: Apache-2.0 */
#include "../test.h"

#include "monitor/power.h"

struct seen {
	int last; /* -1: nothing */
	uint8_t value;
};

static void note(void *ctx, enum power_event event, uint8_t value)
{
	struct seen *s = ctx;

	s->last = (int)event;
	s->value = value;
}

static int send(bus_fn *fn, uint64_t offset, uint8_t value)
{
	struct seen s = { .last = -1 };
	struct power p = { note, &s };
	struct bus_access a = { offset, &value, 1 };

	fn(&p, &a);
	return s.last;
}

static void test_only_the_right_value_acts(void **state)
{
	(void)state;
	for (unsigned v = 0; v < 256; v++) {
		bool s5 = (v & 0x20) && ((v >> 2) & 7) == 5;

		assert_int_equal(send(power_write, 0, (uint8_t)v),
				 s5 ? (int)POWER_OFF : -1);
		assert_int_equal(send(power_write, 1, (uint8_t)v), -1);
		assert_int_equal(send(power_write, 2, (uint8_t)v),
				 v == 1 ? (int)POWER_RESET_REQUEST : -1);
		assert_int_equal(send(power_i8042_write, 0, (uint8_t)v),
				 v == 0xfe ? (int)POWER_RESET_REQUEST : -1);
		assert_int_equal(send(power_reset_control_write, 0, (uint8_t)v),
				 v & 4 ? (int)POWER_RESET_REQUEST : -1);
		assert_int_equal(send(power_debug_write, 0, (uint8_t)v),
				 (int)POWER_DEBUG_EXIT);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_only_the_right_value_acts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
