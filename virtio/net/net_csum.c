/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See net_csum.h. One's-complement addition does not care about byte order or
 * word size: 32-bit words are added as they lie in memory and folded at the end.
 */
#include "virtio/net/net_csum.h"

#include <string.h>

static uint16_t fold_sum(const uint8_t *p, size_t len)
{
	uint64_t sum = 0;

	for (; len >= 4; p += 4, len -= 4) {
		uint32_t word;

		memcpy(&word, p, sizeof(word));
		sum += word;
	}
	if (len) {
		uint8_t rest[4] = { 0 };
		uint32_t word;

		memcpy(rest, p, len);
		memcpy(&word, rest, sizeof(word));
		sum += word;
	}
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

bool net_csum_complete(uint8_t *frame, size_t len, size_t start, size_t offset)
{
	uint16_t sum;

	if (start > len || offset > len - start || len - start - offset < 2)
		return false;
	sum = (uint16_t)~fold_sum(frame + start, len - start);
	/* Zero means "no checksum" to UDP (RFC 768); both zeros are equal. */
	if (sum == 0)
		sum = 0xffff;
	memcpy(frame + start + offset, &sum, sizeof(sum));
	return true;
}
