/* SPDX-License-Identifier: Apache-2.0 */
#include "../test.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "monitor/chips/rtc.h"

static int64_t clock_ns;

static int64_t fake_now(void)
{
	return clock_ns;
}

static uint8_t get(struct rtc *rtc, uint8_t reg)
{
	struct bus_access index = { 0, &reg, 1 };
	uint8_t value = 0xee;
	struct bus_access data = { 1, &value, 1 };

	rtc_write(rtc, &index);
	rtc_read(rtc, &data);
	return value;
}

static void set(struct rtc *rtc, uint8_t reg, uint8_t value)
{
	uint8_t both[2] = { reg, value }; /* as outw does */
	struct bus_access access = { 0, both, 2 };

	rtc_write(rtc, &access);
}

/* 2026-11-25 14:03:59.5 UTC, a Wednesday. */
static struct rtc fresh(void)
{
	struct tm t = { .tm_year = 126,
			.tm_mon = 10,
			.tm_mday = 25,
			.tm_hour = 14,
			.tm_min = 3,
			.tm_sec = 59 };
	struct rtc rtc;

	clock_ns = (int64_t)timegm(&t) * 1000000000 + 500000000;
	rtc_init(&rtc, fake_now);
	return rtc;
}

static void assert_time(struct rtc *rtc, const char *text)
{
	char got[32];

	(void)snprintf(got, sizeof(got), "%02x%02x-%02x-%02x %02x:%02x:%02x",
		       get(rtc, 0x32), get(rtc, 9), get(rtc, 8), get(rtc, 7),
		       get(rtc, 4), get(rtc, 2), get(rtc, 0));
	assert_string_equal(got, text);
}

static void test_date_is_the_hosts_in_utc(void **state)
{
	struct rtc rtc = fresh();

	(void)state;
	assert_time(&rtc, "2026-11-25 14:03:59");
	assert_int_equal(get(&rtc, 6), 4); /* Sunday is 1 */
	assert_int_equal(get(&rtc, 0x0d), 0x80);
	assert_int_equal(get(&rtc, 0x0c), 0);
	clock_ns += 1000000000;
	assert_time(&rtc, "2026-11-25 14:04:00");
}

static void test_formats(void **state)
{
	struct rtc rtc = fresh();

	(void)state;
	set(&rtc, 0x0b, 4 | 2); /* binary, 24 hours */
	assert_int_equal(get(&rtc, 4), 14);
	assert_int_equal(get(&rtc, 0), 59);
	assert_int_equal(get(&rtc, 0x32), 20);
	set(&rtc, 0x0b, 4); /* binary, 12 hours */
	assert_int_equal(get(&rtc, 4), 0x80 | 2);
	set(&rtc, 0x0b, 0);
	assert_int_equal(get(&rtc, 4), 0x82);
	set(&rtc, 4, 0x12); /* midnight */
	set(&rtc, 0x0b, 2);
	assert_int_equal(get(&rtc, 4), 0);
	set(&rtc, 0x0b, 0);
	set(&rtc, 4, 0x92); /* noon */
	set(&rtc, 0x0b, 2);
	assert_int_equal(get(&rtc, 4), 0x12);
}

/* Each day of five centuries, as the C library counts them. */
static void test_every_day_is_the_right_one(void **state)
{
	struct rtc rtc = fresh();

	(void)state;
	set(&rtc, 0x0b, 4 | 2); /* binary */
	for (int64_t day = -100000; day < 100000; day++) {
		time_t now = day * 86400 + 86399;
		struct tm t;

		assert_non_null(gmtime_r(&now, &t));
		clock_ns = now * 1000000000;
		assert_int_equal(get(&rtc, 7), t.tm_mday);
		assert_int_equal(get(&rtc, 8), t.tm_mon + 1);
		assert_int_equal(get(&rtc, 9), t.tm_year % 100 < 0
						       ? t.tm_year % 100 + 100
						       : t.tm_year % 100);
		assert_int_equal(get(&rtc, 0x32), (t.tm_year + 1900) / 100);
		assert_int_equal(get(&rtc, 6), t.tm_wday + 1);
		set(&rtc, 7, get(&rtc, 7)); /* and back */
		assert_int_equal(rtc.offset_s, 0);
	}
}

/* A time that is read between two updates fits together. */
static void test_update_in_progress_is_told_before_the_second(void **state)
{
	struct rtc rtc = fresh();

	(void)state;
	assert_int_equal(get(&rtc, 0x0a), 0x26);
	clock_ns += 499900000;
	assert_int_equal(get(&rtc, 0x0a), 0xa6);
	clock_ns += 100000;
	assert_int_equal(get(&rtc, 0x0a), 0x26);
	assert_time(&rtc, "2026-11-25 14:04:00");
}

static void test_guest_sets_its_clock(void **state)
{
	struct rtc rtc = fresh();

	(void)state;
	set(&rtc, 0x0b, 0x82); /* stands still */
	clock_ns += 5000000000;
	assert_time(&rtc, "2026-11-25 14:03:59");
	set(&rtc, 9, 0x99);
	set(&rtc, 0x32, 0x19);
	set(&rtc, 8, 0x12);
	set(&rtc, 7, 0x31);
	set(&rtc, 4, 0x23);
	set(&rtc, 2, 0x59);
	set(&rtc, 0, 0x59);
	set(&rtc, 0x0b, 2);
	assert_time(&rtc, "1999-12-31 23:59:59");
	clock_ns += 1000000000;
	assert_time(&rtc, "2000-01-01 00:00:00");
	assert_int_equal(get(&rtc, 6), 7);
	set(&rtc, 2, 0x30); /* without standing still */
	assert_time(&rtc, "2000-01-01 00:30:00");
}

static void test_any_value_of_any_register_is_survived(void **state)
{
	struct rtc rtc = fresh();

	(void)state;
	for (unsigned b = 0; b < 256; b += 2)
		for (unsigned reg = 0; reg < 256; reg++) {
			set(&rtc, 0x0b, (uint8_t)b);
			set(&rtc, (uint8_t)reg, (uint8_t)(b * 7 + reg));
			(void)get(&rtc, (uint8_t)reg);
			assert_true(rtc.offset_s < INT64_C(1) << 40);
			assert_true(rtc.offset_s > -(INT64_C(1) << 40));
		}
}

static void test_state_is_kept_and_checked(void **state)
{
	struct rtc a = fresh(), b = fresh();
	struct state_writer w;
	struct state_reader r;
	struct err e = ERR_INIT;

	(void)state;
	set(&a, 2, 0x33);
	set(&a, 0x40, 0x77);
	for (int pass = 0; pass < 2; pass++) {
		state_writer_init(&w, 4096);
		rtc_save(&a, &w);
		assert_int_equal(state_finish(&w, &e), 0);
		assert_int_equal(state_reader_init(&r, buf_head(&w.out),
						   buf_len(&w.out), &e),
				 0);
		if (pass == 0) {
			assert_int_equal(rtc_load(&b, &r, &e), 0);
			assert_time(&b, "2026-11-25 14:33:59");
			assert_int_equal(get(&b, 0x40), 0x77);
			a.offset_s = INT64_MAX;
		} else {
			assert_true(rtc_load(&b, &r, &e) < 0);
			assert_string_equal(e.code, "state_invalid");
		}
		state_writer_done(&w);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_date_is_the_hosts_in_utc),
		cmocka_unit_test(test_formats),
		cmocka_unit_test(test_every_day_is_the_right_one),
		cmocka_unit_test(
			test_update_in_progress_is_told_before_the_second),
		cmocka_unit_test(test_guest_sets_its_clock),
		cmocka_unit_test(test_any_value_of_any_register_is_survived),
		cmocka_unit_test(test_state_is_kept_and_checked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
