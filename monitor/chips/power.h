/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ports by which a guest ends itself: ACPI's hardware-reduced sleep
 * registers (S5 is power-off), its reset register, the i8042's reset command,
 * the reset control register of PCI chipsets, and a debug port for tests and
 * benchmarks. They have no state. A guest that jumps to the BIOS instead finds
 * code there that writes the reset register.
 *
 * Sources: ACPI 6.5, 4.8.3.7 (sleep control and status) and 4.8.3.6 (reset);
 * IBM PS/2 technical reference for the keyboard controller; Intel 82371AB data
 * sheet, 4.2.5 (port CF9h).
 */
#ifndef MONITOR_POWER_H
#define MONITOR_POWER_H

#include "monitor/bus.h"
#include "virtio/guest_mem.h"

enum {
	POWER_PORTS = 3,
	POWER_SLEEP_CONTROL = 0, /* offsets from PORT_POWER */
	POWER_SLEEP_STATUS = 1,
	POWER_RESET = 2,
	POWER_RESET_VALUE = 1,
	POWER_S5_TYPE = 5, /* SLP_TYP of the _S5 package */
};

enum power_event {
	POWER_OFF,
	POWER_RESET_REQUEST,
	POWER_DEBUG_EXIT
};

struct power {
	/* value: the byte written to the debug port, else 0. */
	void (*event)(void *ctx, enum power_event event, uint8_t value);
	void *ctx;
};

/* bus_fn; the device is a struct power. Reads give zeros. */
void power_write(void *power, const struct bus_access *access);
void power_i8042_write(void *power, const struct bus_access *access);
void power_reset_control_write(void *power, const struct bus_access *access);
void power_debug_write(void *power, const struct bus_access *access);

/* True when the kernel's command line has Linux reset by a triple fault. */
bool power_resets_by_fault(const char *boot_args);

/* Puts the code at F000:FFF0; false without memory there. */
bool power_write_reset_vector(const struct guest_mem *mem);

#endif
