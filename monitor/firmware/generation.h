/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The VM generation ID: 128 random bits in guest memory that differ whenever a
 * guest may have lived the same moment before (it was loaded from a state that
 * can be loaded again). A guest that sees them change throws away what must not
 * be used twice; Linux seeds its random numbers anew (drivers/virt/vmgenid.c).
 * Source: Microsoft, "Virtual Machine Generation ID" (2012).
 */
#ifndef MONITOR_GENERATION_H
#define MONITOR_GENERATION_H

#include "base/err.h"
#include "monitor/firmware/aml.h"
#include "virtio/guest_mem.h"

enum {
	GENERATION_BYTES = 16
};

/* Puts a new one to GPA_GENERATION. The guest learns of it by the interrupt
 * GSI_GENERATION, which the caller sends if the guest has run. */
int generation_write(const struct guest_mem *mem, struct err *e);

/* The device VGEN, for the scope of all devices. */
void generation_describe(struct aml *a);
/* What the event device has to do when GSI_GENERATION comes. */
void generation_notify(struct aml *a);

#endif
