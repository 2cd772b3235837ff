/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/test.h"

#include <string.h>
#include <time.h>

#include "base/clock.h"

static void assert_same_as_libc(int64_t seconds)
{
	time_t at = (time_t)seconds;
	struct tm want, got;

	assert_non_null(gmtime_r(&at, &want));
	clock_utc(seconds, &got);
	if (got.tm_year != want.tm_year || got.tm_mon != want.tm_mon ||
	    got.tm_mday != want.tm_mday || got.tm_wday != want.tm_wday ||
	    got.tm_hour != want.tm_hour || got.tm_min != want.tm_min ||
	    got.tm_sec != want.tm_sec)
		fail_msg("%lld: %d-%d-%d %d:%d:%d, weekday %d",
			 (long long)seconds, got.tm_year, got.tm_mon,
			 got.tm_mday, got.tm_hour, got.tm_min, got.tm_sec,
			 got.tm_wday);
	assert_int_equal(clock_days(got.tm_year + 1900, got.tm_mon + 1,
				    got.tm_mday) *
				 86400,
			 seconds - (seconds % 86400 + 86400) % 86400);
}

/* Every day of 800 years before and after the epoch, at odd times of it. */
static void test_utc_is_the_calendar_of_libc(void **state)
{
	const int64_t day = 86400, days = 800 * 366;

	(void)state;
	for (int64_t i = -days; i <= days; i++) {
		assert_same_as_libc(i * day);
		assert_same_as_libc(i * day - 1);
		assert_same_as_libc(i * day + 43210);
	}
}

static void test_rfc3339_keeps_to_four_digits(void **state)
{
	char buf[32];

	(void)state;
	assert_string_equal(clock_format_rfc3339(951825600123, buf),
			    "2000-02-29T12:00:00.123Z");
	assert_string_equal(clock_format_rfc3339(-1, buf),
			    "1969-12-31T23:59:59.999Z");
	assert_string_equal(clock_format_rfc3339(253402300799999, buf),
			    "9999-12-31T23:59:59.999Z");
	assert_string_equal(clock_format_rfc3339(253402300800000, buf),
			    "1970-01-01T00:00:00.000Z");
	assert_string_equal(clock_format_rfc3339(INT64_MIN, buf),
			    "1970-01-01T00:00:00.000Z");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_utc_is_the_calendar_of_libc),
		cmocka_unit_test(test_rfc3339_keeps_to_four_digits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
