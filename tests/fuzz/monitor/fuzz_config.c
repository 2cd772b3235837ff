/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a configuration: an error or a config, nothing else. */
#include <stdlib.h>
#include <string.h>

#include "monitor/config/config.h"
#include "tests/must.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct config c = { .json = NULL };
	struct err e = ERR_INIT;
	char *text = malloc(size + 1); /* exact, so that overreads show */

	if (!text)
		abort();
	memcpy(text, data, size);
	if (config_parse(text, size, &c, &e) == 0) {
		must(c.vcpu_count >= 1 && c.vcpu_count <= 32);
		must(c.mem_bytes >= 16 << 20 && c.kernel_image_path);
		config_done(&c);
	} else {
		must(e.code[0] && e.msg[0]);
	}
	free(text);
	return 0;
}
