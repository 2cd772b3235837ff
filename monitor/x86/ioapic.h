/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The I/O APIC: turns interrupt lines into messages to local APICs, which live
 * in KVM. It is ours because KVM's own makes closing a VM 15 ms slower. Lock:
 * the machine lock.
 *
 * All devices are described as edge-triggered. An input that a guest programs
 * as level-triggered anyway is served by a message per assertion too; devices
 * assert again when a cause remains after an acknowledgement, so nothing is
 * lost and no end-of-interrupt needs to leave the guest.
 *
 * The guest controls all registers. Source: Intel 82093AA data sheet; message
 * format: Intel SDM volume 3, 11.11.
 */
#ifndef MONITOR_IOAPIC_H
#define MONITOR_IOAPIC_H

#include "base/state.h"
#include "monitor/bus.h"
#include "monitor/layout.h"

enum {
	IOAPIC_LEN = 0x100
};

struct ioapic {
	/* Sends one message. */
	void (*deliver)(void *ctx, uint32_t address, uint32_t data);
	void *ctx;
	uint8_t id, select;
	uint64_t entries[IOAPIC_PINS];
	uint32_t lines; /* levels, one bit per pin */
	uint32_t pending; /* asserted while masked */
};

void ioapic_init(struct ioapic *io,
		 void (*deliver)(void *ctx, uint32_t address, uint32_t data),
		 void *ctx);

/* bus_fn */
void ioapic_read(void *ioapic, const struct bus_access *access);
void ioapic_write(void *ioapic, const struct bus_access *access);

/* level true sends a message, also when the line was high before. */
void ioapic_set_line(struct ioapic *io, unsigned pin, bool level);

void ioapic_save(const struct ioapic *io, struct state_writer *w);
int ioapic_load(struct ioapic *io, struct state_reader *r, struct err *e);

#endif
