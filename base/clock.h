/* SPDX-License-Identifier: Apache-2.0 */
/* Clocks: monotonic for deadlines, wall clock for records. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

uint64_t clock_mono_ns(void);
uint64_t clock_mono_ms(void);

/* Wall clock, ms since the epoch. */
int64_t clock_wall_ms(void);

/*
 * Seconds since the epoch as a date and time in UTC: year, month, day, day of the
 * week, hour, minute, second; the year must fit tm_year. Unlike gmtime_r() it
 * never looks for files of time zones, which a locked-down process cannot open.
 */
void clock_utc(int64_t seconds, struct tm *ret);

/* Days from 1970-01-01 to a date of the Gregorian calendar, month 1 to 12; a day
 * beyond its month counts on. */
int64_t clock_days(int64_t year, int month, int day);

/* RFC 3339 UTC with milliseconds: "2026-01-02T03:04:05.678Z"; returns buf. */
char *clock_format_rfc3339(int64_t wall_ms, char buf[static 32]);

#endif
