/* SPDX-License-Identifier: Apache-2.0 */
#include "vmd/id.h"

#include <stdint.h>
#include <stdlib.h>
#include <sys/random.h>

void id_new(char ret_id[static ID_LEN + 1])
{
	uint8_t raw[ID_LEN];

	/* At most 256 bytes never come short once the pool is seeded. An id that
	 * could be guessed is worse than an end. */
	if (getrandom(raw, sizeof(raw), 0) != (ssize_t)sizeof(raw))
		abort();
	for (size_t i = 0; i < ID_LEN; i++)
		ret_id[i] = API_ID_ALPHABET[raw[i] & 31];
	ret_id[ID_LEN] = '\0';
}
