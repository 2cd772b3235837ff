/* SPDX-License-Identifier: Apache-2.0 */
/* What every cmocka test includes, in the order cmocka wants it. */
#ifndef TESTS_UNIT_TEST_H
#define TESTS_UNIT_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#endif
