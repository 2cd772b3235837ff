/* SPDX-License-Identifier: Apache-2.0 */
/* Writes to the serial port and reads its registers back. */
#include "guest.h"

int guest_main(enum guest_boot boot, uint64_t params)
{
	(void)params;
	print(boot == GUEST_BOOT_PVH ? "hello from pvh\n"
				     : "hello from elf64\n");
	out8(PORT_SERIAL + 7, 0x5a);
	CHECK(in8(PORT_SERIAL + 7) == 0x5a, 1);
	CHECK((in8(PORT_SERIAL + 5) & 0x60) == 0x60, 2);
	return 0;
}
