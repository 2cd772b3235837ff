/* SPDX-License-Identifier: Apache-2.0 */
#include "vmd/id.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>
#include <sys/random.h>

static const char alphabet[] = "abcdefghijklmnopqrstuvwxyz234567";

void id_new(char ret_id[static ID_LEN + 1])
{
	uint8_t raw[ID_LEN];
	/* At most 256 bytes never come short once the pool is seeded. */
	ssize_t n = getrandom(raw, sizeof(raw), 0);

	assert(n == (ssize_t)sizeof(raw));
	for (size_t i = 0; i < ID_LEN; i++)
		ret_id[i] = alphabet[raw[i] & 31];
	ret_id[ID_LEN] = '\0';
}

bool id_ok(const char *text)
{
	return strlen(text) == ID_LEN && strspn(text, alphabet) == ID_LEN;
}
