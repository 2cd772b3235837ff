/* SPDX-License-Identifier: Apache-2.0 */
/* The MP table: processors, one ISA bus, the I/O APIC and its 24 inputs. */
#include "monitor/x86/mptable.h"

#include <assert.h>
#include <stdbool.h>
#include <string.h>

#include "monitor/layout.h"

struct mp_pointer {
	char signature[4]; /* "_MP_" */
	uint32_t table_gpa;
	uint8_t length; /* in 16-byte units */
	uint8_t revision;
	uint8_t checksum;
	uint8_t features[5];
};
static_assert(sizeof(struct mp_pointer) == 16, "MP 1.4, 4.1");

struct mp_header {
	char signature[4]; /* "PCMP" */
	uint16_t length;
	uint8_t revision;
	uint8_t checksum;
	char oem[8];
	char product[12];
	uint32_t oem_table;
	uint16_t oem_length;
	uint16_t entries;
	uint32_t lapic_gpa;
	uint16_t extended_length;
	uint8_t extended_checksum;
	uint8_t reserved;
};
static_assert(sizeof(struct mp_header) == 44, "MP 1.4, 4.2");

struct mp_processor {
	uint8_t type; /* 0 */
	uint8_t apic_id;
	uint8_t apic_version;
	uint8_t flags; /* 1 enabled, 2 boot processor */
	uint32_t signature;
	uint32_t features;
	uint32_t reserved[2];
};
static_assert(sizeof(struct mp_processor) == 20, "MP 1.4, 4.3.1");

struct mp_bus {
	uint8_t type; /* 1 */
	uint8_t id;
	char name[6];
};

struct mp_ioapic {
	uint8_t type; /* 2 */
	uint8_t id;
	uint8_t version;
	uint8_t flags;
	uint32_t gpa;
};

struct mp_interrupt {
	uint8_t type; /* 3 I/O, 4 local */
	uint8_t cause; /* 0 vectored, 1 NMI, 3 external */
	uint16_t flags; /* 0: as the bus says (ISA: edge, active high) */
	uint8_t bus, bus_irq;
	uint8_t apic, pin;
};
static_assert(sizeof(struct mp_interrupt) == 8, "MP 1.4, 4.3.4");

enum {
	APIC_VERSION = 0x14,
	IOAPIC_VERSION = 0x11,
	SPEC_1_4 = 4
};

struct builder {
	uint8_t bytes[2048];
	size_t len;
	uint16_t entries;
};

static void put(struct builder *b, const void *entry, size_t len)
{
	assert(b->len + len <= sizeof(b->bytes));
	memcpy(b->bytes + b->len, entry, len);
	b->len += len;
	b->entries++;
}

static uint8_t checksum(const void *data, size_t len)
{
	const uint8_t *bytes = data;
	unsigned sum = 0;

	for (size_t i = 0; i < len; i++)
		sum += bytes[i];
	return (uint8_t)(0U - sum);
}

static void put_interrupt(struct builder *b, uint8_t type, uint8_t cause,
			  uint8_t irq, uint8_t apic, uint8_t pin)
{
	struct mp_interrupt entry = { .type = type,
				      .cause = cause,
				      .bus_irq = irq,
				      .apic = apic,
				      .pin = pin };

	put(b, &entry, sizeof(entry));
}

static void put_entries(struct builder *b, unsigned vcpu_count)
{
	struct mp_bus bus = { .type = 1, .name = "ISA   " };
	struct mp_ioapic ioapic = { .type = 2,
				    .id = (uint8_t)vcpu_count,
				    .version = IOAPIC_VERSION,
				    .flags = 1,
				    .gpa = (uint32_t)GPA_IOAPIC };

	for (unsigned i = 0; i < vcpu_count; i++) {
		struct mp_processor cpu = { .apic_id = (uint8_t)i,
					    .apic_version = APIC_VERSION,
					    .flags = i == 0 ? 3 : 1,
					    .signature = 0x600,
					    .features = 0x201 };

		put(b, &cpu, sizeof(cpu));
	}
	put(b, &bus, sizeof(bus));
	put(b, &ioapic, sizeof(ioapic));
	for (unsigned pin = 0; pin < IOAPIC_PINS; pin++)
		put_interrupt(b, 3, 0, (uint8_t)pin, ioapic.id, (uint8_t)pin);
	put_interrupt(b, 4, 3, 0, 0, 0); /* LINT0: external */
	put_interrupt(b, 4, 1, 0, 0xff, 1); /* LINT1: NMI, all CPUs */
}

int mptable_write(const struct guest_mem *mem, unsigned vcpu_count,
		  struct err *e)
{
	struct builder b = { .len = sizeof(struct mp_header) };
	struct mp_header header = { .signature = "PCMP",
				    .revision = SPEC_1_4,
				    .oem = "VMD     ",
				    .product = "MICROVM     ",
				    .lapic_gpa = (uint32_t)GPA_LAPIC };
	struct mp_pointer pointer = { .signature = "_MP_",
				      .table_gpa = (uint32_t)GPA_MPTABLE +
						   sizeof(pointer),
				      .length = 1,
				      .revision = SPEC_1_4 };

	put_entries(&b, vcpu_count);
	header.length = (uint16_t)b.len;
	header.entries = b.entries;
	memcpy(b.bytes, &header, sizeof(header));
	header.checksum = checksum(b.bytes, b.len);
	memcpy(b.bytes, &header, sizeof(header));
	pointer.checksum = checksum(&pointer, sizeof(pointer));
	if (!guest_write(mem, GPA_MPTABLE, &pointer, sizeof(pointer)) ||
	    !guest_write(mem, pointer.table_gpa, b.bytes, b.len))
		return err_set(e, ERR_LIMIT, "kernel_too_large", 0,
			       "the guest has no memory for the MP table");
	return 0;
}
