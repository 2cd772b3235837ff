/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a manifest: refused with a message, or read and written back. */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "images/store.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO(json) json_t *j = NULL;
	AUTO(json) json_t *again = NULL;
	struct image img, copy;
	struct err e = ERR_INIT;

	if (json_parse_strict((const char *)data, size, "manifest", &j, &e) <
	    0) {
		if (!e.msg[0])
			abort();
		return 0;
	}
	if (image_from_json(j, &img, &e) < 0) {
		if (!e.msg[0] || !e.code[0])
			abort();
		return 0;
	}
	again = image_to_json(&img);
	if (!again || image_from_json(again, &copy, &e) < 0 ||
	    memcmp(&img, &copy, sizeof(img)) != 0)
		abort();
	return 0;
}
