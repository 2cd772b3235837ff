/* SPDX-License-Identifier: Apache-2.0 */
#include "../test.h"

#include <string.h>

#include "memory.h"
#include "monitor/firmware/acpi.h"
#include "monitor/firmware/aml.h"
#include "monitor/layout.h"
#include "monitor/x86/mptable.h"

enum {
	MEM = 2 << 20
};

static uint8_t sum(const uint8_t *data, size_t len)
{
	unsigned total = 0;

	while (len--)
		total += *data++;
	return (uint8_t)total;
}

static uint32_t u32(const uint8_t *at)
{
	uint32_t v;

	memcpy(&v, at, 4);
	return v;
}

static uint64_t u64(const uint8_t *at)
{
	uint64_t v;

	memcpy(&v, at, 8);
	return v;
}

/* The table at gpa has the signature and its checksum is right. */
static const uint8_t *table(const struct guest_mem *mem, uint64_t gpa,
			    const char *signature)
{
	const uint8_t *t = mem->regions[0].host + gpa;

	assert_memory_equal(t, signature, 4);
	assert_in_range(u32(t + 4), 36, 0x10000);
	assert_int_equal(sum(t, u32(t + 4)), 0);
	return t;
}

static size_t count(const uint8_t *data, size_t len, const char *what)
{
	size_t n = 0, size = strlen(what);

	for (size_t i = 0; i + size <= len; i++)
		n += memcmp(data + i, what, size) == 0;
	return n;
}

static void test_tables_are_linked_and_sum_to_zero(void **state)
{
	struct guest_mem mem = memory_new(MEM);
	struct acpi_machine machine = { .vcpu_count = 32, .virtio_count = 16 };
	const uint8_t *host = mem.regions[0].host, *rsdp = host + GPA_ACPI;
	const uint8_t *xsdt, *fadt, *dsdt, *madt;
	struct err e = ERR_INIT;

	(void)state;
	for (unsigned i = 0; i < 16; i++)
		machine.virtio_gsi[i] = i;
	assert_int_equal(acpi_write(&mem, &machine, &e), 0);
	assert_memory_equal(rsdp, "RSD PTR ", 8);
	assert_int_equal(sum(rsdp, 20), 0);
	assert_int_equal(sum(rsdp, 36), 0);
	xsdt = table(&mem, u64(rsdp + 24), "XSDT");
	assert_int_equal(u32(xsdt + 4), 36 + 2 * 8);
	fadt = table(&mem, u64(xsdt + 36), "FACP");
	madt = table(&mem, u64(xsdt + 44), "APIC");
	dsdt = table(&mem, u64(fadt + 140), "DSDT");
	assert_true(u32(fadt + 112) & 1 << 20);
	assert_int_equal(u32(madt + 4), 44 + 12 + 32 * 8);
	assert_int_equal(count(dsdt, u32(dsdt + 4), "LNRO0005"), 16);
	assert_int_equal(count(dsdt, u32(dsdt + 4), "ACPI0013"), 1);
	memory_free(&mem);
}

static void test_write_without_memory_fails(void **state)
{
	struct guest_mem mem = memory_new(4096);
	struct acpi_machine machine = { .vcpu_count = 1 };
	struct err e = ERR_INIT;

	(void)state;
	assert_true(acpi_write(&mem, &machine, &e) < 0);
	assert_true(mptable_write(&mem, 1, &e) < 0);
	memory_free(&mem);
}

static void test_mptable_has_every_processor(void **state)
{
	struct guest_mem mem = memory_new(MEM);
	const uint8_t *pointer = mem.regions[0].host + GPA_MPTABLE, *t;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(mptable_write(&mem, 32, &e), 0);
	assert_memory_equal(pointer, "_MP_", 4);
	assert_int_equal(sum(pointer, 16), 0);
	t = mem.regions[0].host + u32(pointer + 4);
	assert_memory_equal(t, "PCMP", 4);
	assert_int_equal(sum(t, u32(t + 4) & 0xffff), 0);
	/* 32 processors, a bus, an I/O APIC, 24 inputs, 2 local. */
	assert_int_equal(t[34], 32 + 1 + 1 + 24 + 2);
	assert_int_equal(t[44 + 31 * 20 + 1], 31);
	memory_free(&mem);
}

static void test_aml_lengths_and_ids(void **state)
{
	static const uint8_t want[] = {
		0x5b, 0x82, 0x81, 0x01, 0x00, /* Device, 17 bytes */
		'D',  'E',  'V',  '0', /* its name */
		0x08, '_',  'H',  'I',	'D', /* Name (_HID */
		0x0c, 0x41, 0xd0, 0x05, 0x01, /* PNP0501 */
	};
	struct aml a;
	size_t block;

	(void)state;
	memset(&a, 0, sizeof(a));
	block = aml_device(&a, "DEV0");
	aml_name_eisa(&a, "_HID", "PNP0501");
	aml_end(&a, block);
	assert_int_equal(a.len, sizeof(want));
	assert_memory_equal(a.bytes, want, sizeof(want));
}

static void test_aml_overflow_sticks(void **state)
{
	struct aml a;

	(void)state;
	memset(&a, 0, sizeof(a));
	for (int i = 0; i < AML_MAX; i++)
		aml_name_int(&a, "AAAA", 77777);
	assert_true(a.failed);
	assert_true(a.len <= AML_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tables_are_linked_and_sum_to_zero),
		cmocka_unit_test(test_write_without_memory_fails),
		cmocka_unit_test(test_mptable_has_every_processor),
		cmocka_unit_test(test_aml_lengths_and_ids),
		cmocka_unit_test(test_aml_overflow_sticks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
