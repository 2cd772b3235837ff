/* SPDX-License-Identifier: Apache-2.0 */
/* Arithmetic that says when it does not fit. Each returns true on success. */
#ifndef BASE_CHECKED_H
#define BASE_CHECKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

static inline bool checked_add(uint64_t a, uint64_t b, uint64_t *ret_sum)
{
	return !__builtin_add_overflow(a, b, ret_sum);
}

static inline bool checked_mul(uint64_t a, uint64_t b, uint64_t *ret_product)
{
	return !__builtin_mul_overflow(a, b, ret_product);
}

/* True when [start, start + len) lies inside [0, limit). */
static inline bool range_fits(uint64_t start, uint64_t len, uint64_t limit)
{
	return start <= limit && len <= limit - start;
}

/* align is a power of two; false when the result does not fit. */
static inline bool checked_align_up(uint64_t v, uint64_t align,
				    uint64_t *ret_aligned)
{
	uint64_t sum;

	if (!checked_add(v, align - 1, &sum))
		return false;
	*ret_aligned = sum & ~(align - 1);
	return true;
}

static inline uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

#endif
