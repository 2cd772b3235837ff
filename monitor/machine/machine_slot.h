/* SPDX-License-Identifier: Apache-2.0 */
/* Plugs virtio devices into the machine's MMIO bus. */
#ifndef MONITOR_MACHINE_SLOT_H
#define MONITOR_MACHINE_SLOT_H

#include "monitor/machine/machine.h"

/* Takes ownership of dev, also when it fails. */
int machine_slot_plug(struct machine *m, struct virtio_device *dev,
		      struct err *e);
/* Frees the device. */
void machine_slot_unplug(struct machine_slot *slot);

#endif
