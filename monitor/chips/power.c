/* SPDX-License-Identifier: Apache-2.0 */
/* Power-off and reset; see power.h. */
#include "monitor/chips/power.h"

#include <string.h>

#include "monitor/layout.h"

enum {
	SLEEP_ENABLE = 1 << 5,
	SLEEP_TYPE_SHIFT = 2,
	SLEEP_TYPE_MASK = 7,
	I8042_PULSE_RESET = 0xfe,
	CF9_RESET_CPU = 1 << 2,
};

void power_write(void *power, const struct bus_access *access)
{
	struct power *p = power;
	uint8_t value = *(const uint8_t *)access->data;

	if (access->offset == POWER_SLEEP_CONTROL && (value & SLEEP_ENABLE) &&
	    ((value >> SLEEP_TYPE_SHIFT) & SLEEP_TYPE_MASK) == POWER_S5_TYPE)
		p->event(p->ctx, POWER_OFF, 0);
	else if (access->offset == POWER_RESET && value == POWER_RESET_VALUE)
		p->event(p->ctx, POWER_RESET_REQUEST, 0);
}

void power_i8042_write(void *power, const struct bus_access *access)
{
	struct power *p = power;

	if (*(const uint8_t *)access->data == I8042_PULSE_RESET)
		p->event(p->ctx, POWER_RESET_REQUEST, 0);
}

void power_reset_control_write(void *power, const struct bus_access *access)
{
	struct power *p = power;

	if (*(const uint8_t *)access->data & CF9_RESET_CPU)
		p->event(p->ctx, POWER_RESET_REQUEST, 0);
}

bool power_write_reset_vector(const struct guest_mem *mem)
{
	enum {
		REGISTER = PORT_POWER + POWER_RESET
	};
	static const uint8_t code[] = {
		0xba,	       REGISTER & 0xff,
		REGISTER >> 8, /* mov dx, REGISTER */
		0xb0,	       POWER_RESET_VALUE, /* mov al, ... */
		0xee, /* out dx, al */
		0xf4, /* hlt */
		0xeb,	       0xfd, /* jmp to the hlt */
	};

	return guest_write(mem, GPA_RESET, code, sizeof(code));
}

/* The last type that the words name counts, as in Linux's reboot_setup(). */
bool power_resets_by_fault(const char *boot_args)
{
	static const char word[] = "reboot=";
	const char *at = boot_args, *end = strstr(boot_args, " -- ");
	char type = '\0';

	for (; (at = strstr(at, word)) && (!end || at < end); at++) {
		const char *value = at + sizeof(word) - 1;

		if (at != boot_args && at[-1] != ' ')
			continue;
		while (*value && *value != ' ') {
			if (strchr("bakteqp", *value))
				type = *value;
			while (*value && *value != ' ' && *value++ != ',')
				continue;
		}
	}
	return type == 't';
}

void power_debug_write(void *power, const struct bus_access *access)
{
	struct power *p = power;

	p->event(p->ctx, POWER_DEBUG_EXIT, *(const uint8_t *)access->data);
}
