/* SPDX-License-Identifier: Apache-2.0 */
/* Small questions about text that several ask. */
#ifndef BASE_TEXT_H
#define BASE_TEXT_H

#include <stdbool.h>
#include <stdint.h>

/* Printable ASCII, the space included: what of others may be shown as it is. c
 * may be a char or a byte; one that is negative is not. */
static inline bool text_printable(int c)
{
	return c >= 0x20 && c <= 0x7e;
}

/* FNV-1a, for tables of our own; not for what others could choose to collide. */
static inline uint32_t text_hash(const char *text)
{
	uint32_t hash = 2166136261u;

	for (; *text; text++)
		hash = (hash ^ (uint8_t)*text) * 16777619u;
	return hash;
}

#endif
