/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ACPI tables for a machine without legacy hardware: RSDP, XSDT, FADT
 * (hardware-reduced, with sleep and reset registers), MADT and a DSDT with COM1,
 * the virtio-mmio devices (LNRO0005), a power button, the VM generation ID and
 * the event device that reports both. Source: ACPI 6.5.
 */
#ifndef MONITOR_ACPI_H
#define MONITOR_ACPI_H

#include "base/err.h"
#include "virtio/guest_mem.h"

enum {
	ACPI_VIRTIO_MAX = 16
};

struct acpi_machine {
	unsigned vcpu_count;
	/* The virtio-mmio device i is at GPA_VIRTIO + i * 4 KiB. */
	unsigned virtio_count;
	uint32_t virtio_gsi[ACPI_VIRTIO_MAX];
};

/* Writes everything from GPA_ACPI on; the RSDP is at GPA_ACPI itself. */
int acpi_write(const struct guest_mem *mem, const struct acpi_machine *machine,
	       struct err *e);

#endif
