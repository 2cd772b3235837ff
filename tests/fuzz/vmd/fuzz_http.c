/* SPDX-License-Identifier: Apache-2.0 */
/* What clients send to the API, in two pieces: heads and the framing of bodies. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "vmd/http/http_head.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The body in pieces of `step` bytes: how much content there was; -1. */
static int64_t body_length(const struct http_head *h, const uint8_t *data,
			   size_t size, size_t step)
{
	struct http_body b;
	int64_t total = 0;

	http_body_begin(&b, h);
	for (size_t at = 0; at < size && !http_body_over(&b);) {
		size_t have = size - at < step ? size - at : step, len;
		int64_t skip = http_body_next(&b, data + at, have, &len, NULL);

		if (skip < 0)
			return -1;
		if ((size_t)skip + len > have)
			abort();
		if (len)
			http_body_took(&b, len);
		total += (int64_t)len;
		at += (size_t)skip + len;
	}
	return total;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* Of its exact size: reading past it is seen. */
	uint8_t *copy = malloc(size ? size : 1);
	struct http_head h, less;
	size_t used = 0, ignored;
	int rc;

	if (!copy)
		return 0;
	memcpy(copy, data, size);
	rc = http_head_parse(&h, copy, size, &used, NULL);
	if (rc > 0) {
		if (used > size || h.target[0] != '/' || !h.method[0])
			abort();
		/* A head is complete with its last byte, not before. */
		if (http_head_parse(&less, copy, used - 1, &ignored, NULL) != 0)
			abort();
		for (size_t i = 0; i < h.count; i++)
			if (strpbrk(h.headers[i].value, "\r\n") ||
			    !http_head_find(&h, h.headers[i].name))
				abort();
		if (body_length(&h, copy + used, size - used, 1) !=
		    body_length(&h, copy + used, size - used, 4096))
			abort();
		http_head_done(&h);
	}
	free(copy);
	return 0;
}
