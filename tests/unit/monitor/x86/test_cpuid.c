/* SPDX-License-Identifier: Apache-2.0 */
#include "../test.h"

#include <stdlib.h>
#include <string.h>

#include "monitor/x86/cpuid.h"

static struct kvm_cpuid_entry2 *leaf(struct cpuid_table *t, uint32_t function,
				     uint32_t index)
{
	for (uint32_t i = 0; i < t->count; i++)
		if (t->entries[i].function == function &&
		    t->entries[i].index == index)
			return &t->entries[i];
	print_error("no leaf %#x.%u\n", function, index);
	abort();
}

static void add(struct cpuid_table *t, uint32_t function, uint32_t index,
		uint32_t eax)
{
	t->entries[t->count++] = (struct kvm_cpuid_entry2){
		.function = function, .index = index, .eax = eax
	};
}

static struct cpuid_table host(void)
{
	struct cpuid_table t;

	memset(&t, 0, sizeof(t));
	add(&t, 0, 0, 0xd);
	add(&t, 1, 0, 0);
	add(&t, 4, 0, 1 | 1 << 5); /* data cache, level 1 */
	add(&t, 4, 3, 3 | 3 << 5); /* level 3 */
	add(&t, 0xb, 0, 77);
	add(&t, 0x1f, 0, 77);
	add(&t, 0x40000000, 0, 0x40000001);
	add(&t, 0x80000008, 0, 0);
	add(&t, 0x8000001e, 0, 99);
	return t;
}

static void test_adapt_numbers_vcpu_and_cores(void **state)
{
	struct cpuid_table t = host();
	struct cpuid_vm vm = { .vcpu_count = 6, .tsc_khz = 2500000 };

	(void)state;
	for (unsigned i = 0; i < 6; i++) {
		cpuid_adapt(&t, &vm, i);
		assert_int_equal(leaf(&t, 1, 0)->ebx >> 24, i);
		assert_int_equal(leaf(&t, 1, 0)->ebx >> 16 & 0xff, 8);
		assert_int_equal(leaf(&t, 0xb, 0)->edx, i);
		assert_int_equal(leaf(&t, 0xb, 0)->ebx, 1);
		assert_int_equal(leaf(&t, 0xb, 1)->ebx, 6);
		assert_int_equal(leaf(&t, 0xb, 1)->eax, 3);
		assert_int_equal(leaf(&t, 0xb, 2)->ecx, 2);
		assert_int_equal(leaf(&t, 0x8000001e, 0)->eax, i);
	}
	/* x2APIC, TSC deadline, hypervisor; HTT. */
	assert_int_equal(leaf(&t, 1, 0)->ecx, 1u << 21 | 1u << 24 | 1u << 31);
	assert_int_equal(leaf(&t, 1, 0)->edx, 1 << 28);
	assert_int_equal(leaf(&t, 4, 0)->eax >> 14 & 0xfff, 0);
	assert_int_equal(leaf(&t, 4, 3)->eax >> 14 & 0xfff, 5);
	assert_int_equal(leaf(&t, 0x80000008, 0)->ecx, 5 | 3 << 12);
	for (uint32_t i = 0; i < t.count; i++)
		assert_int_not_equal(t.entries[i].function, 0x1f);
}

static void test_adapt_tells_frequencies_exactly(void **state)
{
	struct cpuid_table t = host();
	struct cpuid_vm vm = { .vcpu_count = 1, .tsc_khz = 2499998 };
	struct kvm_cpuid_entry2 *tsc;

	(void)state;
	cpuid_adapt(&t, &vm, 0);
	tsc = leaf(&t, 0x15, 0);
	assert_int_equal((uint64_t)tsc->ecx * tsc->ebx / tsc->eax,
			 UINT64_C(2499998000));
	assert_int_equal(leaf(&t, 0, 0)->eax, 0x15);
	assert_int_equal(leaf(&t, 0x40000010, 0)->eax, 2499998);
	assert_int_equal(leaf(&t, 0x40000000, 0)->eax, 0x40000010);
}

static void test_adapt_full_table_stays_inside(void **state)
{
	struct cpuid_table t = host();
	struct cpuid_vm vm = { .vcpu_count = 32, .tsc_khz = 1 };

	(void)state;
	while (t.count < CPUID_ENTRIES_MAX)
		add(&t, 0x20000000 + t.count, 0, 0);
	cpuid_adapt(&t, &vm, 31);
	assert_int_equal(t.count, CPUID_ENTRIES_MAX);
}

/* What a guest of a guest needs, and counters: only for those who ask. */
static void test_adapt_hides_what_was_not_asked_for(void **state)
{
	(void)state;
	for (int asked = 0; asked < 2; asked++) {
		struct cpuid_table t = host();
		struct cpuid_vm vm = { .vcpu_count = 1,
				       .nested = asked,
				       .pmu = asked };

		add(&t, 0xa, 0, 0x7300404);
		add(&t, 0x80000001, 0, 0);
		add(&t, 0x8000000a, 0, 1);
		add(&t, 0x80000022, 0, 1);
		leaf(&t, 1, 0)->ecx = 1u << 5 | 1u << 15;
		leaf(&t, 0x80000001, 0)->ecx =
			1u << 2 | 1u << 22 | 1u << 23 | 1u << 24 | 1u << 28;
		cpuid_adapt(&t, &vm, 0);
		assert_int_equal(cpuid_has_nested(&t), asked);
		assert_int_equal(leaf(&t, 1, 0)->ecx >> 15 & 1, asked);
		assert_int_equal(leaf(&t, 0xa, 0)->eax != 0, asked);
		assert_int_equal(leaf(&t, 0x80000022, 0)->eax, asked);
		assert_int_equal(leaf(&t, 0x8000000a, 0)->eax, asked);
		assert_int_equal(leaf(&t, 0x80000001, 0)->ecx >> 22 & 1, 1);
		assert_int_equal(leaf(&t, 0x80000001, 0)->ecx >> 23 & 3,
				 asked ? 3 : 0);
	}
}

/* A KVM that gives what it says. */
static const struct cpuid_table none;

static void assert_refused(const struct cpuid_table *saved,
			   const struct cpuid_table *here, const char *word)
{
	struct err e = ERR_INIT;

	assert_true(cpuid_compare(saved, here, &none, &e) < 0);
	assert_string_equal(e.code, "state_incompatible");
	if (!strstr(e.msg, word))
		fail_msg("message is \"%s\"", e.msg);
}

static void test_compare_names_what_is_missing(void **state)
{
	struct cpuid_table here = host(), saved;

	(void)state;
	add(&here, 7, 0, 0);
	add(&here, 0xd, 2, 0x100);
	leaf(&here, 7, 0)->ebx = 1u << 5;
	leaf(&here, 0x80000008, 0)->eax = 39;
	saved = here;
	assert_int_equal(cpuid_compare(&saved, &here, &none, NULL), 0);
	/* What KVM adds of itself is no matter of the host. */
	leaf(&saved, 1, 0)->ecx = 1u << 21 | 1u << 24 | 1u << 27 | 1u << 31;
	leaf(&saved, 1, 0)->edx = 1u << 9 | 1u << 28;
	assert_int_equal(cpuid_compare(&saved, &here, &none, NULL), 0);
	/* A host may have more than the guest knows. */
	leaf(&here, 7, 0)->edx = 1;
	assert_int_equal(cpuid_compare(&saved, &here, &none, NULL), 0);
	leaf(&saved, 7, 0)->ebx |= 1u << 16;
	assert_refused(&saved, &here, "avx512f (CPUID 0x7.0 EBX bit 16)");
	leaf(&saved, 7, 0)->ebx = 1u << 31;
	assert_refused(&saved, &here, "CPUID 0x7.0 EBX bit 31");
	leaf(&saved, 7, 0)->ebx = 0;
	add(&saved, 0x40000001, 0, 1);
	assert_refused(&saved, &here, "CPUID 0x40000001.0 EAX bit 0");
	leaf(&saved, 0x40000001, 0)->eax = 0;
	leaf(&saved, 0xd, 2)->eax = 0x200;
	assert_refused(&saved, &here, "component 2");
	leaf(&saved, 0xd, 2)->eax = 0x100;
	leaf(&saved, 0x80000008, 0)->eax = 46;
	assert_refused(&saved, &here, "longer addresses");
	leaf(&saved, 0x80000008, 0)->eax = 36;
	leaf(&saved, 0, 0)->ebx = 1;
	assert_refused(&saved, &here, "another maker");
	saved.count = 0;
	assert_true(cpuid_compare(&saved, &here, &none, NULL) < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_adapt_hides_what_was_not_asked_for),
		cmocka_unit_test(test_compare_names_what_is_missing),
		cmocka_unit_test(test_adapt_numbers_vcpu_and_cores),
		cmocka_unit_test(test_adapt_tells_frequencies_exactly),
		cmocka_unit_test(test_adapt_full_table_stays_inside),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
