/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether a guest can go on here: it has looked at its CPU when it booted, and
 * will use what it found there without asking again.
 *
 * Sources: Intel SDM volume 2, CPUID; AMD APM volume 3, appendix E.
 */
#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "monitor/x86/cpuid.h"

enum reg {
	EAX,
	EBX,
	ECX,
	EDX
};

/* Words of which each bit is a feature that a host has or has not. */
static const struct word {
	uint32_t function, index;
	enum reg reg;
	/* Bits that KVM or we decide, whatever the host has: APIC, what the
	 * guest switched on itself, x2APIC, the deadline timer, topology. */
	uint32_t ours;
} words[] = {
	{ 1, 0, ECX, 1u << 3 | 1u << 21 | 1u << 24 | 1u << 27 | 1u << 31 },
	{ 1, 0, EDX, 1u << 9 | 1u << 28 },
	{ 7, 0, EBX, 0 },
	{ 7, 0, ECX, 1u << 4 },
	{ 7, 0, EDX, 0 },
	{ 7, 1, EAX, 0 },
	{ 7, 1, EDX, 0 },
	{ 7, 2, EDX, 0 },
	{ 0xd, 0, EAX, 0 },
	{ 0xd, 0, EDX, 0 },
	{ 0xd, 1, EAX, 0 },
	{ 0xd, 1, ECX, 0 },
	{ 0xd, 1, EDX, 0 },
	{ 0x80000001, 0, ECX, 1u << 1 | 1u << 22 },
	{ 0x80000001, 0, EDX, 1u << 9 },
	{ 0x80000007, 0, EDX, 0 },
	{ 0x80000008, 0, EBX, 0 },
	{ 0x8000000a, 0, EDX, 0 },
	{ 0x80000021, 0, EAX, 0 },
	{ 0x40000001, 0, EAX, 0 },
};

/* The names that people know, as in /proc/cpuinfo. */
static const struct {
	uint32_t function;
	enum reg reg;
	unsigned bit;
	const char *name;
} names[] = {
	{ 1, ECX, 0, "sse3" },	   { 1, ECX, 1, "pclmulqdq" },
	{ 1, ECX, 5, "vmx" },	   { 1, ECX, 9, "ssse3" },
	{ 1, ECX, 12, "fma" },	   { 1, ECX, 13, "cx16" },
	{ 1, ECX, 19, "sse4_1" },  { 1, ECX, 20, "sse4_2" },
	{ 1, ECX, 22, "movbe" },   { 1, ECX, 23, "popcnt" },
	{ 1, ECX, 25, "aes" },	   { 1, ECX, 26, "xsave" },
	{ 1, ECX, 28, "avx" },	   { 1, ECX, 29, "f16c" },
	{ 1, ECX, 30, "rdrand" },  { 7, EBX, 0, "fsgsbase" },
	{ 7, EBX, 3, "bmi1" },	   { 7, EBX, 4, "hle" },
	{ 7, EBX, 5, "avx2" },	   { 7, EBX, 8, "bmi2" },
	{ 7, EBX, 9, "erms" },	   { 7, EBX, 10, "invpcid" },
	{ 7, EBX, 11, "rtm" },	   { 7, EBX, 14, "mpx" },
	{ 7, EBX, 16, "avx512f" }, { 7, EBX, 18, "rdseed" },
	{ 7, EBX, 19, "adx" },	   { 7, EBX, 20, "smap" },
	{ 7, EBX, 29, "sha_ni" },  { 7, ECX, 2, "umip" },
	{ 7, ECX, 3, "pku" },	   { 7, ECX, 9, "vaes" },
	{ 7, ECX, 16, "la57" },	   { 7, EDX, 26, "spec_ctrl" },
};

static const char *const reg_names[] = { "EAX", "EBX", "ECX", "EDX" };

static uint32_t value(const struct kvm_cpuid_entry2 *entry, enum reg reg)
{
	const uint32_t regs[] = { entry->eax, entry->ebx, entry->ecx,
				  entry->edx };

	return regs[reg];
}

static int differs(struct err *e, const char *what)
{
	return err_set(e, ERR_UNSUPPORTED, "state_incompatible", 0, "%s", what);
}

static int lacks(const struct word *word, uint32_t missing, struct err *e)
{
	unsigned bit = (unsigned)__builtin_ctz(missing);
	const char *name = "a feature";

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (names[i].function == word->function && word->index == 0 &&
		    names[i].reg == word->reg && names[i].bit == bit)
			name = names[i].name;
	return err_set(e, ERR_UNSUPPORTED, "state_incompatible", 0,
		       "the guest's CPU has %s (CPUID %#x.%u %s bit %u), which "
		       "this host does not offer: load it on one that does",
		       name, word->function, word->index, reg_names[word->reg],
		       bit);
}

/* Where each component lies in the saved registers of an XSAVE. */
static int compare_xsave(const struct cpuid_table *saved,
			 const struct cpuid_table *host, struct err *e)
{
	for (uint32_t i = 0; i < saved->count; i++) {
		const struct kvm_cpuid_entry2 *s = &saved->entries[i], *h;

		if (s->function != 0xd || s->index < 2 || s->eax == 0)
			continue;
		h = cpuid_find(host, 0xd, s->index);
		if (!h || h->eax != s->eax || h->ebx != s->ebx)
			return err_set(e, ERR_UNSUPPORTED, "state_incompatible",
				       0,
				       "component %u of the guest's extended "
				       "registers lies elsewhere on this host",
				       s->index);
	}
	return 0;
}

static uint32_t bits(const struct cpuid_table *t, const struct word *w)
{
	const struct kvm_cpuid_entry2 *entry =
		cpuid_find(t, w->function, w->index);

	return entry ? value(entry, w->reg) : 0;
}

int cpuid_compare(const struct cpuid_table *saved,
		  const struct cpuid_table *host, const struct cpuid_table *own,
		  struct err *e)
{
	const struct kvm_cpuid_entry2 *s = cpuid_find(saved, 0, 0);
	const struct kvm_cpuid_entry2 *h = cpuid_find(host, 0, 0);

	if (!s || !h)
		return err_set(e, ERR_CORRUPT, "state_invalid", 0,
			       "the guest's CPU has no name");
	if (s->ebx != h->ebx || s->ecx != h->ecx || s->edx != h->edx)
		return differs(e, "the guest's CPU is of another maker than "
				  "this host's");
	for (size_t i = 0; i < ARRAY_LEN(words); i++) {
		const struct word *w = &words[i];
		uint32_t missing = bits(saved, w) & ~w->ours & ~bits(host, w) &
				   ~bits(own, w);

		if (missing)
			return lacks(w, missing, e);
	}
	s = cpuid_find(saved, 0x80000008, 0);
	h = cpuid_find(host, 0x80000008, 0);
	if (s && (s->eax & 0xff) > (h ? h->eax & 0xff : 0))
		return differs(e, "the guest's CPU has longer addresses than "
				  "this host's");
	return compare_xsave(saved, host, e);
}
