/* SPDX-License-Identifier: Apache-2.0 */
/* See clock.h. */
#include "base/clock.h"

#include <stdio.h>
#include <time.h>

uint64_t clock_mono_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

uint64_t clock_mono_ms(void)
{
	return clock_mono_ns() / 1000000u;
}

int64_t clock_wall_ms(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_REALTIME, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/*
 * The calendar repeats itself every 400 years; with years that begin in March
 * the leap day is the last one. So the month follows from the day of the year:
 * five months have 153 days.
 */
void clock_utc(int64_t seconds, struct tm *ret)
{
	enum {
		DAY_S = 86400,
		ERA_DAYS = 146097,
		DAYS_TO_1970 = 719468 /* from 0000-03-01 */
	};
	int64_t days = seconds / DAY_S - (seconds % DAY_S < 0);
	int rest = (int)(seconds - days * DAY_S);
	int64_t since = days + DAYS_TO_1970;
	int64_t era = since / ERA_DAYS - (since % ERA_DAYS < 0);
	int day = (int)(since - era * ERA_DAYS); /* of the era */
	int year = (day - day / 1460 + day / 36524 - day / 146096) / 365;
	int yday = day - (365 * year + year / 4 - year / 100);
	int month = (5 * yday + 2) / 153; /* 0 is March */

	*ret = (struct tm){
		.tm_year = (int)(era * 400 + year + (month >= 10)) - 1900,
		.tm_mon = month < 10 ? month + 2 : month - 10,
		.tm_mday = yday - (153 * month + 2) / 5 + 1,
		.tm_wday = (int)((days % 7 + 11) % 7), /* 1970: a Thursday */
		.tm_hour = rest / 3600,
		.tm_min = rest / 60 % 60,
		.tm_sec = rest % 60,
	};
}

int64_t clock_days(int64_t year, int month, int day)
{
	int64_t y = year - (month <= 2), era = (y >= 0 ? y : y - 399) / 400;
	int64_t of_era = y - era * 400;

	return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 +
	       (153 * ((month + 9) % 12) + 2) / 5 + day - 1 - 719468;
}

char *clock_format_rfc3339(int64_t wall_ms, char buf[static 32])
{
	/* Of the years 0000 to 9999. */
	const int64_t first = INT64_C(-62167219200000);
	const int64_t last = INT64_C(253402300799999);
	int64_t seconds;
	struct tm tm;

	if (wall_ms < first || wall_ms > last)
		wall_ms = 0;
	seconds = wall_ms / 1000 - (wall_ms % 1000 < 0);
	clock_utc(seconds, &tm);
	(void)snprintf(buf, 32, "%04u-%02u-%02uT%02u:%02u:%02u.%03uZ",
		       (unsigned)(tm.tm_year + 1900) % 10000u,
		       (unsigned)(tm.tm_mon + 1) % 100u,
		       (unsigned)tm.tm_mday % 100u, (unsigned)tm.tm_hour % 100u,
		       (unsigned)tm.tm_min % 100u, (unsigned)tm.tm_sec % 100u,
		       (unsigned)(wall_ms - seconds * 1000) % 1000u);
	return buf;
}
