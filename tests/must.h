/* SPDX-License-Identifier: Apache-2.0 */
/* The check of what unit tests and fuzzers share: on in every kind of build. */
#ifndef TESTS_MUST_H
#define TESTS_MUST_H

#include <stdio.h>
#include <stdlib.h>

#define must(cond) ((cond) ? (void)0 : must_failed(__FILE__, __LINE__, #cond))

static inline _Noreturn void must_failed(const char *file, int line,
					 const char *what)
{
	(void)fprintf(stderr, "%s:%d: this must hold: %s\n", file, line, what);
	abort();
}

#endif
