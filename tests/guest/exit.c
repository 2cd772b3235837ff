/* SPDX-License-Identifier: Apache-2.0 */
/* The smallest guest: ends at once. The benchmark's guest, too. */
#include "guest.h"

int guest_main(enum guest_boot boot, uint64_t params)
{
	(void)boot;
	(void)params;
	return 42;
}
