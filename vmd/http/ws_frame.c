/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The heads of a client's frames, as they pass: wslay ends a connection without a
 * word over some of what RFC 6455 wants to be answered by close code 1002 (5.2,
 * 5.5): long or fragmented control frames, lengths written longer than need be.
 */
#include <string.h>

#include "vmd/http/ws.h"

enum {
	FIN = 0x80,
	CONTROL = 0x08, /* bit of the opcode */
	MASK = 0x80,
	CONTROL_MAX = 125
};

/* Bytes of the longer form of the length. */
static size_t length_bytes(const struct ws_scan *s)
{
	uint8_t len7 = s->head[1] & 0x7f;

	return len7 == 126 ? 2 : len7 == 127 ? 8 : 0;
}

static bool second_byte_ok(const struct ws_scan *s)
{
	if (!(s->head[0] & CONTROL))
		return true;
	return (s->head[0] & FIN) && (s->head[1] & 0x7f) <= CONTROL_MAX;
}

/* The length is there: no longer than need be, and no more than 2^63. */
static bool take_length(struct ws_scan *s)
{
	size_t bytes = length_bytes(s);
	uint64_t len = 0;

	for (size_t i = 0; i < bytes; i++)
		len = len << 8 | s->head[2 + i];
	s->payload = bytes ? len : s->head[1] & 0x7f;
	if (bytes == 2)
		return len > CONTROL_MAX;
	return bytes == 0 || (len > UINT16_MAX && len <= INT64_MAX);
}

/* One byte of a head; false: it breaks the rules. */
static bool step(struct ws_scan *s, uint8_t byte)
{
	size_t len;

	s->head[s->have++] = byte;
	if (s->have < 2)
		return true;
	if (s->have == 2 && !second_byte_ok(s))
		return false;
	len = 2 + length_bytes(s);
	if (s->have == len && !take_length(s))
		return false;
	if (s->have == len + (s->head[1] & MASK ? 4 : 0)) {
		s->have = 0;
		s->in_payload = true;
	}
	return true;
}

size_t ws_scan(struct ws_scan *s, const uint8_t *data, size_t len)
{
	size_t i = 0;

	while (i < len) {
		if (s->in_payload && s->payload) {
			size_t n = len - i < s->payload ? len - i
							: (size_t)s->payload;

			s->payload -= n;
			i += n;
			continue;
		}
		s->in_payload = false;
		if (!step(s, data[i]))
			return i;
		i++;
	}
	return len;
}
