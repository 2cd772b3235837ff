/* SPDX-License-Identifier: Apache-2.0 */
/* Prints the date that the CMOS clock shows, as BCD as it comes. */
#include "guest.h"

enum {
	CENTURY = 0x32,
	UPDATING = 0x80
};

static uint8_t cmos(uint8_t index)
{
	out8(0x70, index);
	return in8(0x71);
}

static void print_bcd(uint8_t value, const char *after)
{
	char text[3] = { (char)('0' + (value >> 4)), (char)('0' + (value & 15)),
			 0 };

	print(text);
	print(after);
}

int guest_main(enum guest_boot boot, uint64_t params)
{
	uint8_t seconds;

	(void)boot;
	(void)params;
	CHECK(cmos(0x0d) & 0x80, 1); /* the date is valid */
	CHECK((cmos(0x0b) & 6) == 2, 2); /* BCD, 24 hours */
	do {
		while (cmos(0x0a) & UPDATING)
			continue;
		seconds = cmos(0);
	} while (seconds != cmos(0));
	print_bcd(cmos(CENTURY), "");
	print_bcd(cmos(9), "-");
	print_bcd(cmos(8), "-");
	print_bcd(cmos(7), " ");
	print_bcd(cmos(4), ":");
	print_bcd(cmos(2), ":");
	print_bcd(cmos(0), "\n");
	return 0;
}
