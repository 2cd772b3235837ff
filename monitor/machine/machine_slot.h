/* SPDX-License-Identifier: Apache-2.0 */
/* Plugs virtio devices into the machine's MMIO bus. */
#ifndef MONITOR_MACHINE_SLOT_H
#define MONITOR_MACHINE_SLOT_H

#include "monitor/machine/machine.h"

/* Takes ownership of dev, also when it fails. */
int machine_slot_plug(struct machine *m, struct virtio_device *dev,
		      struct err *e);
/*
 * After a write to gpa, on the vCPU's thread, lock held: waits (the lock is free
 * meanwhile) until the device there has done what it was asked for. Linux takes
 * a reset by virtio-mmio for done when the write is.
 */
void machine_slot_wait(struct machine *m, uint64_t gpa);
/* The device watches its kick_fds itself from now on. */
void machine_slot_give_kicks(struct machine_slot *slot);
/* Frees the device. */
void machine_slot_unplug(struct machine_slot *slot);

#endif
