/* SPDX-License-Identifier: Apache-2.0 */
/* How the C tests wait: for a condition, with a deadline. */
#ifndef TESTS_UNIT_UNTIL_H
#define TESTS_UNIT_UNTIL_H

#include <stdbool.h>

#include "base/clock.h"
#include "tests/unit/test.h"

static inline bool until_waits(bool done, uint64_t end, const char *cond)
{
	if (!done && clock_mono_ms() > end)
		fail_msg("this did not come to be: %s", cond);
	return !done;
}

/*
 * Does the statement behind it, if any, and then turn, an expression, until cond
 * holds; a hang becomes a failure.
 */
#define UNTIL(ms, cond, turn)                        \
	for (uint64_t end_ = clock_mono_ms() + (ms); \
	     until_waits(!!(cond), end_, #cond); (void)(turn))

#endif
