/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of devices. To add one: write its constructor here, add a row, and
 * give it fields in config.h. Addresses, interrupts, ACPI, kicks, saving and
 * loading follow from the row.
 */
#ifndef MONITOR_MACHINE_DEVICES_H
#define MONITOR_MACHINE_DEVICES_H

#include "monitor/machine/machine.h"

/* Creates what the configuration asks for, in the order of the table. */
int machine_add_devices(struct machine *m, struct err *e);
void machine_remove_devices(struct machine *m);

/* Every device's section. The machine is paused. */
void machine_save_devices(struct machine *m, struct state_writer *w);
int machine_load_devices(struct machine *m, struct state_reader *r,
			 struct err *e);
/* What was loaded goes on: interrupt lines, kicks, chains that wait. */
void machine_resume_devices(struct machine *m);
/* Console input that came while nothing could take it. The machine runs. */
void machine_take_input(struct machine *m);

#endif
