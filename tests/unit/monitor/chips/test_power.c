/* SPDX-License-Identifier: Apache-2.0 */
#include "../test.h"

#include "base/checked.h"
#include "monitor/chips/power.h"

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

static void test_reset_by_fault_is_read_as_linux_reads_it(void **state)
{
	static const char *const yes[] = { "reboot=t", "quiet reboot=triple",
					   "reboot=w,t panic=-1",
					   "reboot=k reboot=t",
					   "reboot=t -- reboot=k" };
	static const char *const no[] = {
		"",	     "reboot=k", "reboot=t reboot=k", "noreboot=t",
		"reboot=kt", "reboot=",	 "quiet -- reboot=t"
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(yes); i++)
		if (!power_resets_by_fault(yes[i]))
			fail_msg("not by a fault: %s", yes[i]);
	for (size_t i = 0; i < ARRAY_LEN(no); i++)
		if (power_resets_by_fault(no[i]))
			fail_msg("by a fault: %s", no[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_only_the_right_value_acts),
		cmocka_unit_test(test_reset_by_fault_is_read_as_linux_reads_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
