/* SPDX-License-Identifier: Apache-2.0 */
/* The input of a fuzzer as a list of actions: taken byte by byte, 0 at its end. */
#ifndef TESTS_FUZZ_INPUT_H
#define TESTS_FUZZ_INPUT_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
	const uint8_t *at, *end;
};

static inline unsigned take(struct input *in)
{
	return in->at < in->end ? *in->at++ : 0;
}

/* A little-endian number of len bytes. */
static inline uint64_t take_le(struct input *in, size_t len)
{
	uint64_t v = 0;

	for (size_t i = 0; i < len; i++)
		v |= (uint64_t)take(in) << (8 * i);
	return v;
}

/* At most len bytes; how many there were. */
static inline size_t take_bytes(struct input *in, void *dst, size_t len)
{
	size_t have = (size_t)(in->end - in->at);

	if (len > have)
		len = have;
	memcpy(dst, in->at, len);
	in->at += len;
	return len;
}

#endif
