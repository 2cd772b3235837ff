/* SPDX-License-Identifier: Apache-2.0 */
/* Says that it is there and goes on for ever: to be paused and killed. */
#include "guest.h"

int guest_main(enum guest_boot boot, uint64_t params)
{
	(void)boot;
	(void)params;
	print("spinning\n");
	for (;;)
		__asm__ volatile("pause");
}
