/* SPDX-License-Identifier: Apache-2.0 */
/* The ACPI tables; see acpi.h. Section numbers are those of ACPI 6.5. */
#include "monitor/firmware/acpi.h"

#include <assert.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "monitor/chips/power.h"
#include "monitor/chips/rtc.h"
#include "monitor/firmware/aml.h"
#include "monitor/firmware/generation.h"
#include "monitor/layout.h"

struct acpi_rsdp { /* 5.2.5.3 */
	char signature[8];
	uint8_t checksum; /* of the first 20 bytes */
	char oem[6];
	uint8_t revision;
	uint32_t rsdt;
	uint32_t length;
	uint64_t xsdt;
	uint8_t checksum_all;
	uint8_t reserved[3];
} __attribute__((packed));
static_assert(sizeof(struct acpi_rsdp) == 36, "5.2.5.3");

struct acpi_header { /* 5.2.6 */
	char signature[4];
	uint32_t length;
	uint8_t revision;
	uint8_t checksum;
	char oem[6];
	char oem_table[8];
	uint32_t oem_revision;
	char creator[4];
	uint32_t creator_revision;
} __attribute__((packed));
static_assert(sizeof(struct acpi_header) == 36, "5.2.6");

struct acpi_gas { /* 5.2.3.2: an address in some space */
	uint8_t space; /* 1: I/O ports */
	uint8_t bits;
	uint8_t offset;
	uint8_t access; /* 1: byte */
	uint64_t address;
} __attribute__((packed));

struct acpi_fadt { /* 5.2.9 */
	struct acpi_header header;
	uint32_t facs, dsdt;
	uint8_t reserved;
	uint8_t profile;
	uint8_t legacy[62]; /* SCI to century: absent hardware, all zero */
	uint8_t century;
	uint16_t boot_arch;
	uint8_t reserved2;
	uint32_t flags;
	struct acpi_gas reset_register;
	uint8_t reset_value;
	uint16_t arm_boot_arch;
	uint8_t minor;
	uint64_t x_facs, x_dsdt;
	struct acpi_gas x_legacy[8];
	struct acpi_gas sleep_control, sleep_status;
	uint64_t hypervisor;
} __attribute__((packed));
static_assert(sizeof(struct acpi_fadt) == 276, "5.2.9");
static_assert(offsetof(struct acpi_fadt, flags) == 112, "5.2.9");
static_assert(offsetof(struct acpi_fadt, x_dsdt) == 140, "5.2.9");
static_assert(offsetof(struct acpi_fadt, sleep_control) == 244, "5.2.9");

enum {
	FADT_WBINVD = 1 << 0,
	FADT_RESET_SUPPORTED = 1 << 10,
	FADT_HW_REDUCED = 1 << 20,
	BOOT_NO_VGA = 1 << 2,
};

struct madt_head { /* 5.2.12 */
	struct acpi_header header;
	uint32_t lapic;
	uint32_t flags; /* 0: no PICs to switch off */
} __attribute__((packed));

struct madt_lapic { /* 5.2.12.2 */
	uint8_t type, length;
	uint8_t uid, apic_id;
	uint32_t flags;
} __attribute__((packed));

struct madt_ioapic { /* 5.2.12.3 */
	uint8_t type, length;
	uint8_t id, reserved;
	uint32_t gpa;
	uint32_t gsi_base;
} __attribute__((packed));

/* Tables are put one after the other, each 16-byte aligned. */
struct layout {
	const struct guest_mem *mem;
	uint64_t next;
	bool failed;
};

static uint8_t checksum(const void *data, size_t len)
{
	const uint8_t *bytes = data;
	unsigned sum = 0;

	for (size_t i = 0; i < len; i++)
		sum += bytes[i];
	return (uint8_t)(0U - sum);
}

static struct acpi_header header_of(const char *signature, uint8_t revision)
{
	struct acpi_header h = { .revision = revision,
				 .oem = "VMD   ",
				 .oem_table = "MICROVM ",
				 .oem_revision = 1,
				 .creator = "VMD ",
				 .creator_revision = 1 };

	memcpy(h.signature, signature, sizeof(h.signature));
	return h;
}

/* Completes length and checksum in the table, writes it, returns its gpa. */
static uint64_t put_table(struct layout *l, void *table, size_t len)
{
	struct acpi_header h;
	uint64_t gpa = l->next;

	memcpy(&h, table, sizeof(h));
	h.length = (uint32_t)len;
	h.checksum = 0;
	memcpy(table, &h, sizeof(h));
	h.checksum = checksum(table, len);
	memcpy(table, &h, sizeof(h));
	if (gpa + len > GPA_ACPI_END || !guest_write(l->mem, gpa, table, len))
		l->failed = true;
	l->next = (gpa + len + 15) & ~UINT64_C(15);
	return gpa;
}

static void describe_com1(struct aml *a)
{
	size_t device = aml_device(a, "COM1");
	size_t crs;

	aml_name_eisa(a, "_HID", "PNP0501");
	aml_name_int(a, "_UID", 1);
	crs = aml_resources(a);
	aml_io(a, PORT_COM1, 8);
	aml_interrupt(a, GSI_COM1);
	aml_resources_end(a, crs);
	aml_end(a, device);
}

/* Without its interrupt: it makes none. */
static void describe_rtc(struct aml *a)
{
	size_t device = aml_device(a, "RTC0");
	size_t crs;

	aml_name_eisa(a, "_HID", "PNP0B00");
	aml_name_int(a, "_UID", 0);
	crs = aml_resources(a);
	aml_io(a, PORT_CMOS, RTC_PORTS);
	aml_resources_end(a, crs);
	aml_end(a, device);
}

static void describe_virtio(struct aml *a, unsigned index, uint32_t gsi)
{
	char name[5];
	size_t device, crs;

	(void)snprintf(name, sizeof(name), "VR%02u", index % 100);
	device = aml_device(a, name);
	aml_name_string(a, "_HID", "LNRO0005");
	aml_name_int(a, "_UID", index);
	aml_name_int(a, "_CCA", 1); /* DMA is cache-coherent */
	crs = aml_resources(a);
	aml_memory(a, (uint32_t)(GPA_VIRTIO + index * UINT64_C(0x1000)),
		   0x1000);
	aml_interrupt(a, gsi);
	aml_resources_end(a, crs);
	aml_end(a, device);
}

static void describe_power_button(struct aml *a)
{
	size_t device = aml_device(a, "PWRB");

	aml_name_eisa(a, "_HID", "PNP0C0C");
	aml_name_int(a, "_UID", 0);
	aml_end(a, device);
}

static void press_power_button(struct aml *a)
{
	enum {
		PRESSED = 0x80
	};

	aml_notify(a, "PWRB", PRESSED);
}

/* Who is told of which interrupt by the generic event device (5.6.9). */
static const struct {
	uint32_t gsi;
	void (*tell)(struct aml *a);
} events[] = {
	{ GSI_POWER_BUTTON, press_power_button },
	{ GSI_GENERATION, generation_notify },
};

static void describe_events(struct aml *a)
{
	size_t device = aml_device(a, "GED0");
	size_t crs, method;

	aml_name_string(a, "_HID", "ACPI0013");
	aml_name_int(a, "_UID", 0);
	crs = aml_resources(a);
	for (size_t i = 0; i < ARRAY_LEN(events); i++)
		aml_interrupt(a, events[i].gsi);
	aml_resources_end(a, crs);
	method = aml_method(a, "_EVT", 1);
	for (size_t i = 0; i < ARRAY_LEN(events); i++) {
		size_t block = aml_if_arg_equal(a, 0, events[i].gsi);

		events[i].tell(a);
		aml_end(a, block);
	}
	aml_end(a, method);
	aml_end(a, device);
}

static uint64_t put_dsdt(struct layout *l, const struct acpi_machine *machine)
{
	static const uint64_t s5[] = { POWER_S5_TYPE, 0, 0, 0 };
	struct acpi_header h = header_of("DSDT", 2);
	struct aml a;
	size_t scope;

	a.len = 0;
	a.failed = false;
	memcpy(a.bytes, &h, sizeof(h));
	a.len = sizeof(h);
	aml_name_package(&a, "_S5_", s5, ARRAY_LEN(s5));
	scope = aml_scope(&a, "_SB_");
	describe_com1(&a);
	describe_rtc(&a);
	for (unsigned i = 0; i < machine->virtio_count; i++)
		describe_virtio(&a, i, machine->virtio_gsi[i]);
	describe_power_button(&a);
	generation_describe(&a);
	describe_events(&a);
	aml_end(&a, scope);
	if (a.failed)
		l->failed = true;
	return put_table(l, a.bytes, a.len);
}

static struct acpi_gas port(uint16_t number)
{
	return (struct acpi_gas){
		.space = 1, .bits = 8, .access = 1, .address = number
	};
}

static uint64_t put_fadt(struct layout *l, uint64_t dsdt)
{
	struct acpi_fadt fadt = {
		.header = header_of("FACP", 6),
		.dsdt = (uint32_t)dsdt,
		.boot_arch = BOOT_NO_VGA,
		.flags = FADT_WBINVD | FADT_RESET_SUPPORTED | FADT_HW_REDUCED,
		.reset_register = port(PORT_POWER + POWER_RESET),
		.reset_value = POWER_RESET_VALUE,
		.minor = 5,
		.x_dsdt = dsdt,
		.sleep_control = port(PORT_POWER + POWER_SLEEP_CONTROL),
		.sleep_status = port(PORT_POWER + POWER_SLEEP_STATUS),
	};

	return put_table(l, &fadt, sizeof(fadt));
}

static uint64_t put_madt(struct layout *l, unsigned vcpu_count)
{
	struct {
		struct madt_head head;
		struct madt_ioapic ioapic;
		struct madt_lapic lapics[VCPUS_MAX];
	} __attribute__((packed)) madt = {
		.head = { .header = header_of("APIC", 5),
			  .lapic = (uint32_t)GPA_LAPIC },
		.ioapic = { .type = 1,
			    .length = sizeof(struct madt_ioapic),
			    .gpa = (uint32_t)GPA_IOAPIC },
	};

	for (unsigned i = 0; i < vcpu_count; i++)
		madt.lapics[i] = (struct madt_lapic){
			.length = sizeof(struct madt_lapic),
			.uid = (uint8_t)i,
			.apic_id = (uint8_t)i,
			.flags = 1,
		};
	return put_table(l, &madt,
			 sizeof(madt.head) + sizeof(madt.ioapic) +
				 vcpu_count * sizeof(struct madt_lapic));
}

int acpi_write(const struct guest_mem *mem, const struct acpi_machine *machine,
	       struct err *e)
{
	struct layout l = { .mem = mem, .next = GPA_ACPI + 64 };
	struct {
		struct acpi_header header;
		uint64_t tables[2];
	} __attribute__((packed)) xsdt = { .header = header_of("XSDT", 1) };
	struct acpi_rsdp rsdp = { .oem = "VMD   ",
				  .revision = 2,
				  .length = sizeof(rsdp) };
	uint64_t dsdt;

	assert(machine->vcpu_count <= VCPUS_MAX &&
	       machine->virtio_count <= ACPI_VIRTIO_MAX);
	dsdt = put_dsdt(&l, machine);
	xsdt.tables[0] = put_fadt(&l, dsdt);
	xsdt.tables[1] = put_madt(&l, machine->vcpu_count);
	rsdp.xsdt = put_table(&l, &xsdt, sizeof(xsdt));
	memcpy(rsdp.signature, "RSD PTR ", sizeof(rsdp.signature));
	rsdp.checksum = checksum(&rsdp, 20);
	rsdp.checksum_all = checksum(&rsdp, sizeof(rsdp));
	if (l.failed || !guest_write(mem, GPA_ACPI, &rsdp, sizeof(rsdp)))
		return err_set(e, ERR_LIMIT, "kernel_too_large", 0,
			       "the guest has no memory for ACPI tables");
	return 0;
}
