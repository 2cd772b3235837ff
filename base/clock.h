/* SPDX-License-Identifier: Apache-2.0 */
/* Clocks: monotonic for deadlines, wall clock for records. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

uint64_t clock_mono_ns(void);
uint64_t clock_mono_ms(void);

/* Wall clock, ms since the epoch. */
int64_t clock_wall_ms(void);

/* RFC 3339 UTC with milliseconds: "2026-01-02T03:04:05.678Z"; returns buf. */
char *clock_format_rfc3339(int64_t wall_ms, char buf[static 32]);

#endif
