/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checks what the boot protocol handed over: memory map, command line, initrd,
 * ACPI and MP tables. The test gives 64 MiB, "hello=world", and an initrd that
 * starts with "INITRD".
 */
#include "guest.h"

static int same(const char *a, const char *b)
{
	for (; *b; a++, b++)
		if (*a != *b)
			return 0;
	return 1;
}

static uint64_t read64(uint64_t gpa)
{
	return *(volatile uint64_t *)gpa;
}

static uint8_t sum(uint64_t gpa, uint32_t len)
{
	uint8_t total = 0;

	for (uint32_t i = 0; i < len; i++)
		total = (uint8_t)(total + *(volatile uint8_t *)(gpa + i));
	return total;
}

static int check_acpi(uint64_t rsdp)
{
	uint64_t xsdt, fadt;

	CHECK(same((char *)rsdp, "RSD PTR "), 20);
	CHECK(sum(rsdp, 20) == 0 && sum(rsdp, 36) == 0, 21);
	xsdt = read64(rsdp + 24);
	CHECK(same((char *)xsdt, "XSDT"), 22);
	CHECK(sum(xsdt, mmio_read(xsdt + 4)) == 0, 23);
	fadt = read64(xsdt + 36);
	CHECK(same((char *)fadt, "FACP"), 24);
	CHECK(sum(fadt, mmio_read(fadt + 4)) == 0, 25);
	CHECK(mmio_read(fadt + 112) & 1 << 20, 26);
	CHECK(same((char *)read64(fadt + 140), "DSDT"), 27);
	CHECK(same((char *)read64(xsdt + 44), "APIC"), 28);
	return 0;
}

static int check_mptable(void)
{
	uint64_t pointer = 0xf0000, table;

	CHECK(same((char *)pointer, "_MP_") && sum(pointer, 16) == 0, 30);
	table = mmio_read(pointer + 4);
	CHECK(same((char *)table, "PCMP"), 31);
	CHECK(sum(table, mmio_read(table + 4) & 0xffff) == 0, 32);
	return 0;
}

static int check_pvh(uint64_t info)
{
	uint64_t map, ram = 0;
	int rc;

	CHECK(mmio_read(info) == 0x336ec578, 1);
	CHECK(mmio_read(info + 4) >= 1, 2);
	CHECK(same((char *)read64(info + 24), "hello=world"), 3);
	CHECK(mmio_read(info + 12) == 1, 4);
	CHECK(same((char *)read64(read64(info + 16)), "INITRD"), 5);
	rc = check_acpi(read64(info + 32));
	if (rc)
		return rc;
	map = read64(info + 40);
	for (uint32_t i = 0; i < mmio_read(info + 48); i++)
		if (mmio_read(map + i * 24 + 16) == 1)
			ram += read64(map + i * 24 + 8);
	CHECK(ram == 0x9fc00 + (63 << 20), 6);
	return 0;
}

static int check_linux(uint64_t page)
{
	uint64_t ram = 0;

	CHECK(same((char *)(page + 0x202), "HdrS"), 11);
	CHECK(same((char *)(uint64_t)mmio_read(page + 0x228), "hello=world"),
	      12);
	CHECK(same((char *)(uint64_t)mmio_read(page + 0x218), "INITRD"), 13);
	for (uint32_t i = 0; i < *(volatile uint8_t *)(page + 0x1e8); i++)
		if (mmio_read(page + 0x2d0 + i * 20 + 16) == 1)
			ram += read64(page + 0x2d0 + i * 20 + 8);
	CHECK(ram == 0x9fc00 + (63 << 20), 14);
	return check_acpi(read64(page + 0x70));
}

int guest_main(enum guest_boot boot, uint64_t params)
{
	int rc = boot == GUEST_BOOT_PVH ? check_pvh(params)
					: check_linux(params);

	return rc ? rc : check_mptable();
}
