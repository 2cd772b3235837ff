/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CPUID leaves. Sources: Intel SDM volume 2, CPUID; AMD APM volume 3, appendix
 * E; Documentation/virt/kvm/x86/cpuid.rst.
 */
#include "monitor/x86/cpuid.h"

#include <cpuid.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/cleanup.h"

enum {
	LEAF_TSC = 0x15,
	/* KVM's local APIC timer counts nanoseconds. */
	APIC_BUS_KHZ = 1000000,
};
#define LEAF_HV_BASE   0x40000000u
#define LEAF_HV_TIMING 0x40000010u

static int no_memory(struct err *e)
{
	return err_set(e, ERR_LIMIT, "no_memory", 0, "out of memory");
}

/* A request of KVM with room for count leaves. */
static struct kvm_cpuid2 *request(uint32_t count)
{
	struct kvm_cpuid2 *buf = calloc(
		1, sizeof(*buf) + count * sizeof(struct kvm_cpuid_entry2));

	if (buf)
		buf->nent = count;
	return buf;
}

static int ask(int fd, unsigned long what, struct cpuid_table *ret,
	       struct err *e)
{
	AUTO(free) struct kvm_cpuid2 *buf = request(CPUID_ENTRIES_MAX);
	int rc;

	if (!buf)
		return no_memory(e);
	rc = kvm_try(fd, what, buf, "the list of CPU features", e);
	if (rc < 0)
		return rc;
	ret->count = buf->nent;
	memcpy(ret->entries, buf->entries, buf->nent * sizeof(buf->entries[0]));
	return 0;
}

int cpuid_get(int vcpu_fd, struct cpuid_table *ret, struct err *e)
{
	return ask(vcpu_fd, KVM_GET_CPUID2, ret, e);
}

int cpuid_set(int vcpu_fd, const struct cpuid_table *table, struct err *e)
{
	AUTO(free) struct kvm_cpuid2 *buf = request(table->count);
	int rc;

	if (!buf)
		return no_memory(e);
	memcpy(buf->entries, table->entries,
	       table->count * sizeof(table->entries[0]));
	rc = kvm_try(vcpu_fd, KVM_SET_CPUID2, buf, "CPU features", e);
	return rc < 0 ? rc : 0;
}

static struct kvm_cpuid_entry2 *find(struct cpuid_table *t, uint32_t function,
				     uint32_t index)
{
	for (uint32_t i = 0; i < t->count; i++)
		if (t->entries[i].function == function &&
		    t->entries[i].index == index)
			return &t->entries[i];
	return NULL;
}

const struct kvm_cpuid_entry2 *cpuid_find(const struct cpuid_table *t,
					  uint32_t function, uint32_t index)
{
	for (uint32_t i = 0; i < t->count; i++)
		if (t->entries[i].function == function &&
		    t->entries[i].index == index)
			return &t->entries[i];
	return NULL;
}

static struct kvm_cpuid_entry2 *find_or_add(struct cpuid_table *t,
					    uint32_t function, uint32_t index)
{
	struct kvm_cpuid_entry2 *entry = find(t, function, index);

	if (entry)
		return entry;
	if (t->count == CPUID_ENTRIES_MAX)
		return NULL;
	entry = &t->entries[t->count++];
	memset(entry, 0, sizeof(*entry));
	entry->function = function;
	entry->index = index;
	return entry;
}

/* Says what the CPU is, not what it can do: the host's own, where KVM has none.
 * What leaf 0x18 has beyond its first part is of CPUs whose KVM gives it. */
static void add_description(struct cpuid_table *t)
{
	static const uint32_t leaves[] = {
		2, /* caches and TLBs as codes */
		0x18, /* TLBs */
		0x80000002, /* the brand string, in three parts */
		0x80000003, 0x80000004, 0x80000005, /* first caches and TLBs */
		0x80000006, /* second ones */
		0x80000019, /* TLBs for 1 GiB pages */
	};

	for (size_t i = 0; i < ARRAY_LEN(leaves); i++) {
		uint32_t f = leaves[i];
		struct kvm_cpuid_entry2 *leaf;

		if ((uint32_t)__get_cpuid_max(f & 0x80000000, NULL) < f)
			continue;
		leaf = find_or_add(t, f, 0);
		if (!leaf || leaf->eax || leaf->ebx || leaf->ecx || leaf->edx)
			continue;
		__cpuid_count(f, 0, leaf->eax, leaf->ebx, leaf->ecx, leaf->edx);
		if (f == 0x18) {
			leaf->flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX;
			leaf->eax = 0; /* no further part */
		}
	}
}

int cpuid_supported(const struct kvm *kvm, struct cpuid_table *ret,
		    struct err *e)
{
	int rc = ask(kvm->fd, KVM_GET_SUPPORTED_CPUID, ret, e);

	if (rc == 0)
		add_description(ret);
	return rc;
}

bool cpuid_has_nested(const struct cpuid_table *t)
{
	const struct kvm_cpuid_entry2 *intel = cpuid_find(t, 1, 0);
	const struct kvm_cpuid_entry2 *amd = cpuid_find(t, 0x80000001, 0);

	return (intel && (intel->ecx >> 5 & 1)) || (amd && (amd->ecx >> 2 & 1));
}

/* Leaves that we rewrite whole; leaf 0x1f would contradict 0xb. */
static void drop_topology(struct cpuid_table *t)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < t->count; i++) {
		uint32_t f = t->entries[i].function;

		if (f != 0xb && f != 0x1f && f != 0x80000026)
			t->entries[kept++] = t->entries[i];
	}
	t->count = kept;
}

/* Bits of APIC id that number the cores. */
static unsigned core_bits(unsigned count)
{
	unsigned bits = 0;

	while ((1u << bits) < count)
		bits++;
	return bits;
}

static void put(uint32_t *reg, unsigned shift, unsigned width, uint32_t value)
{
	uint32_t mask = (width == 32 ? 0 : 1u << width) - 1;

	*reg = (*reg & ~(mask << shift)) | ((value & mask) << shift);
}

static void adapt_leaf1(struct cpuid_table *t, const struct cpuid_vm *vm,
			unsigned apic_id)
{
	struct kvm_cpuid_entry2 *leaf = find(t, 1, 0);

	if (!leaf)
		return;
	put(&leaf->ebx, 24, 8, apic_id);
	put(&leaf->ebx, 16, 8, 1u << core_bits(vm->vcpu_count));
	put(&leaf->ebx, 8, 8, 8); /* CLFLUSH: 64 bytes */
	put(&leaf->edx, 28, 1, vm->vcpu_count > 1); /* HTT: many ids */
	put(&leaf->ecx, 31, 1, 1); /* a hypervisor is there */
	put(&leaf->ecx, 21, 1, 1); /* x2APIC, emulated by KVM */
	put(&leaf->ecx, 24, 1, 1); /* so is the TSC-deadline timer */
}

/* Caches: the first two levels belong to one core, the rest is shared. */
static void adapt_caches(struct cpuid_table *t, const struct cpuid_vm *vm)
{
	for (uint32_t i = 0; i < t->count; i++) {
		struct kvm_cpuid_entry2 *leaf = &t->entries[i];
		unsigned level = (leaf->eax >> 5) & 7;
		uint32_t sharing = level > 2 ? vm->vcpu_count - 1 : 0;

		if (leaf->function == 4 && (leaf->eax & 0x1f)) {
			put(&leaf->eax, 14, 12, sharing);
			put(&leaf->eax, 26, 6,
			    (1u << core_bits(vm->vcpu_count)) - 1);
		} else if (leaf->function == 0x8000001d && (leaf->eax & 0x1f)) {
			put(&leaf->eax, 14, 12, sharing);
		}
	}
}

static void add_topology(struct cpuid_table *t, const struct cpuid_vm *vm,
			 unsigned apic_id)
{
	struct kvm_cpuid_entry2 *leaf;

	for (uint32_t level = 0; level < 3; level++) {
		leaf = find_or_add(t, 0xb, level);
		if (!leaf)
			return;
		leaf->flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX;
		leaf->ecx = level;
		leaf->edx = apic_id;
		if (level == 0) { /* threads of a core */
			leaf->ebx = 1;
			leaf->ecx |= 1u << 8;
		} else if (level == 1) { /* cores of the package */
			leaf->eax = core_bits(vm->vcpu_count);
			leaf->ebx = vm->vcpu_count;
			leaf->ecx |= 2u << 8;
		}
	}
	leaf = find(t, 0x80000008, 0);
	if (leaf) {
		put(&leaf->ecx, 0, 8, vm->vcpu_count - 1);
		put(&leaf->ecx, 12, 4, core_bits(vm->vcpu_count));
	}
	leaf = find(t, 0x8000001e, 0);
	if (leaf) {
		leaf->eax = apic_id;
		leaf->ebx = apic_id; /* core id; one thread per core */
		leaf->ecx = 0; /* one node */
	}
}

static void add_frequencies(struct cpuid_table *t, const struct cpuid_vm *vm)
{
	struct kvm_cpuid_entry2 *base = find(t, 0, 0);
	struct kvm_cpuid_entry2 *hv = find(t, LEAF_HV_BASE, 0);
	struct kvm_cpuid_entry2 *leaf;

	if (vm->tsc_khz == 0 || vm->tsc_khz > UINT32_MAX)
		return;
	/* TSC frequency = ECX * EBX / EAX, exact in these units. */
	leaf = base ? find_or_add(t, LEAF_TSC, 0) : NULL;
	if (leaf) {
		leaf->eax = APIC_BUS_KHZ;
		leaf->ebx = (uint32_t)vm->tsc_khz;
		leaf->ecx = APIC_BUS_KHZ * 1000u;
		leaf->edx = 0;
		base = find(t, 0, 0);
		if (base && base->eax < LEAF_TSC)
			base->eax = LEAF_TSC;
	}
	leaf = hv ? find_or_add(t, LEAF_HV_TIMING, 0) : NULL;
	if (leaf) {
		leaf->eax = (uint32_t)vm->tsc_khz;
		leaf->ebx = APIC_BUS_KHZ;
		hv = find(t, LEAF_HV_BASE, 0);
		if (hv && hv->eax < LEAF_HV_TIMING)
			hv->eax = LEAF_HV_TIMING;
	}
}

static void clear(struct cpuid_table *t, uint32_t function)
{
	for (uint32_t i = 0; i < t->count; i++) {
		struct kvm_cpuid_entry2 *leaf = &t->entries[i];

		if (leaf->function == function)
			leaf->eax = leaf->ebx = leaf->ecx = leaf->edx = 0;
	}
}

/* What few guests use, and what makes the state of a guest large or unlike that
 * of another host: not there unless it is asked for. */
static void hide(struct cpuid_table *t, const struct cpuid_vm *vm)
{
	struct kvm_cpuid_entry2 *leaf1 = find(t, 1, 0);
	struct kvm_cpuid_entry2 *ext = find(t, 0x80000001, 0);

	if (!vm->nested) {
		if (leaf1)
			put(&leaf1->ecx, 5, 1, 0); /* VMX */
		if (ext)
			put(&ext->ecx, 2, 1, 0); /* SVM */
		clear(t, 0x8000000a);
	}
	if (!vm->pmu) {
		if (leaf1)
			put(&leaf1->ecx, 15, 1, 0); /* its capabilities */
		if (ext) {
			put(&ext->ecx, 23, 2, 0); /* core, northbridge */
			put(&ext->ecx, 28, 1, 0); /* last-level cache */
		}
		clear(t, 0xa);
		clear(t, 0x23);
		clear(t, 0x80000022);
	}
}

void cpuid_adapt(struct cpuid_table *table, const struct cpuid_vm *vm,
		 unsigned index)
{
	drop_topology(table);
	hide(table, vm);
	adapt_leaf1(table, vm, index);
	adapt_caches(table, vm);
	add_topology(table, vm, index);
	add_frequencies(table, vm);
}
