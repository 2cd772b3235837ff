/* SPDX-License-Identifier: Apache-2.0 */
/* The I/O APIC; see ioapic.h. */
#include "monitor/x86/ioapic.h"

#include <string.h>

enum {
	MMIO_SELECT = 0x00,
	MMIO_WINDOW = 0x10,
	REG_ID = 0,
	REG_VERSION = 1,
	REG_ARBITRATION = 2,
	REG_ENTRIES = 0x10,
	VERSION = 0x11 | (IOAPIC_PINS - 1) << 16,
};
#define ENTRY_MASKED   (UINT64_C(1) << 16)
#define ENTRY_WRITABLE (UINT64_C(0xff00000000000000) | 0x1afff)

void ioapic_init(struct ioapic *io,
		 void (*deliver)(void *ctx, uint32_t address, uint32_t data),
		 void *ctx)
{
	*io = (struct ioapic){ .deliver = deliver, .ctx = ctx };
	for (unsigned i = 0; i < IOAPIC_PINS; i++)
		io->entries[i] = ENTRY_MASKED;
}

static void send(struct ioapic *io, unsigned pin)
{
	uint64_t entry = io->entries[pin];
	uint32_t bit = 1u << pin;
	uint32_t address = 0xfee00000 | (uint32_t)(entry >> 56) << 12 |
			   (uint32_t)(entry >> 11 & 1) << 2;

	if (entry & ENTRY_MASKED) {
		io->pending |= bit;
		return;
	}
	io->pending &= ~bit;
	/* Vector and delivery mode; the message itself is an edge. */
	io->deliver(io->ctx, address, (uint32_t)entry & 0x7ff);
}

void ioapic_set_line(struct ioapic *io, unsigned pin, bool level)
{
	uint32_t bit;

	if (pin >= IOAPIC_PINS)
		return;
	bit = 1u << pin;
	if (level) {
		io->lines |= bit;
		send(io, pin);
	} else {
		io->lines &= ~bit;
		io->pending &= ~bit;
	}
}

static uint32_t read_register(const struct ioapic *io)
{
	unsigned reg = io->select, pin = (reg - REG_ENTRIES) / 2;

	if (reg == REG_ID || reg == REG_ARBITRATION)
		return (uint32_t)io->id << 24;
	if (reg == REG_VERSION)
		return VERSION;
	if (reg < REG_ENTRIES || pin >= IOAPIC_PINS)
		return 0;
	return (uint32_t)(io->entries[pin] >> (reg & 1 ? 32 : 0));
}

static void write_register(struct ioapic *io, uint32_t value)
{
	unsigned reg = io->select, pin = (reg - REG_ENTRIES) / 2;
	uint64_t entry;

	if (reg == REG_ID)
		io->id = value >> 24 & 0xf;
	if (reg < REG_ENTRIES || pin >= IOAPIC_PINS)
		return;
	entry = io->entries[pin];
	if (reg & 1)
		entry = (entry & 0xffffffff) | (uint64_t)value << 32;
	else
		entry = (entry & ~UINT64_C(0xffffffff)) | value;
	io->entries[pin] = entry & ENTRY_WRITABLE;
	/* What came while it was masked, if its cause is still there. */
	if (!(entry & ENTRY_MASKED) && (io->pending & io->lines & 1u << pin))
		send(io, pin);
}

void ioapic_read(void *ioapic, const struct bus_access *access)
{
	struct ioapic *io = ioapic;
	uint32_t value = 0;

	if (access->offset == MMIO_SELECT)
		value = io->select;
	else if (access->offset == MMIO_WINDOW)
		value = read_register(io);
	memcpy(access->data, &value, access->len < 4 ? access->len : 4);
}

void ioapic_write(void *ioapic, const struct bus_access *access)
{
	struct ioapic *io = ioapic;
	uint32_t value = 0;

	memcpy(&value, access->data, access->len < 4 ? access->len : 4);
	if (access->offset == MMIO_SELECT)
		io->select = (uint8_t)value;
	else if (access->offset == MMIO_WINDOW)
		write_register(io, value);
}

void ioapic_save(const struct ioapic *io, struct state_writer *w)
{
	state_begin(w, "ioapic", 1);
	state_put_u8(w, io->id);
	state_put_u8(w, io->select);
	state_put_u32(w, io->lines);
	state_put_u32(w, io->pending);
	for (unsigned i = 0; i < IOAPIC_PINS; i++)
		state_put_u64(w, io->entries[i]);
	state_end(w);
}

int ioapic_load(struct ioapic *io, struct state_reader *r, struct err *e)
{
	struct ioapic n = { .deliver = io->deliver, .ctx = io->ctx };
	uint16_t version;
	int rc = state_open(r, "ioapic", 1, &version, e);

	if (rc < 0)
		return rc;
	n.id = state_get_u8(r) & 0xf;
	n.select = state_get_u8(r);
	n.lines = state_get_u32(r);
	n.pending = state_get_u32(r);
	for (unsigned i = 0; i < IOAPIC_PINS; i++)
		n.entries[i] = state_get_u64(r) & ENTRY_WRITABLE;
	rc = state_close(r, e);
	if (rc < 0)
		return rc;
	*io = n;
	return 0;
}
