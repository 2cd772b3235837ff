/* SPDX-License-Identifier: Apache-2.0 */
/* How the C tests wait: for a condition, with a deadline. */
#ifndef TESTS_UNIT_UNTIL_H
#define TESTS_UNIT_UNTIL_H

#include "base/clock.h"
#include "tests/unit/test.h"

/* Does turn, an expression, until cond holds; a hang becomes a failure. */
#define UNTIL(ms, cond, turn)                                           \
	do {                                                            \
		uint64_t end_ = clock_mono_ms() + (ms);                 \
		while (!(cond)) {                                       \
			if (clock_mono_ms() > end_)                     \
				fail_msg("this did not come to be: %s", \
					 #cond);                        \
			(void)(turn);                                   \
		}                                                       \
	} while (0)

#endif
