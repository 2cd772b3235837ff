/* SPDX-License-Identifier: Apache-2.0 */
/* The drives of the machine: their files, their threads, a full host disk. */
#ifndef MONITOR_MACHINE_DRIVES_H
#define MONITOR_MACHINE_DRIVES_H

#include "monitor/machine/machine.h"

/* Plugs all of them, the root device first: it is /dev/vda. */
int machine_add_drives(struct machine *m, struct err *e);
/* How the host's file of a plugged drive is asked. */
const char *machine_drive_engine(const struct machine_drive *drive);
/* The drives' threads; lock not held. */
int machine_start_drives(struct machine *m, struct err *e);
/* The file of the drive has another size: the driver is told. Lock held. */
int machine_resize_drive(struct machine *m, const char *id, struct err *e);
#endif
