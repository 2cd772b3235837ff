/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CPUID leaves. Sources: Intel SDM volume 2, CPUID; AMD APM volume 3, appendix
 * E; Documentation/virt/kvm/x86/cpuid.rst.
 */
#include "monitor/cpuid.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

enum {
	LEAF_TSC = 0x15,
	/* KVM's local APIC timer counts nanoseconds. */
	APIC_BUS_KHZ = 1000000,
};
#define LEAF_HV_BASE   0x40000000u
#define LEAF_HV_TIMING 0x40000010u

int cpuid_supported(const struct kvm *kvm, struct cpuid_table *ret,
		    struct err *e)
{
	AUTO(free)
	struct kvm_cpuid2 *buf = calloc(
		1, sizeof(*buf) +
			   CPUID_ENTRIES_MAX * sizeof(struct kvm_cpuid_entry2));
	int rc;

	if (!buf)
		return err_set(e, ERR_LIMIT, "no_memory", 0, "out of memory");
	buf->nent = CPUID_ENTRIES_MAX;
	rc = kvm_try(kvm->fd, KVM_GET_SUPPORTED_CPUID, buf,
		     "the list of CPU features", e);
	if (rc < 0)
		return rc;
	ret->count = buf->nent;
	memcpy(ret->entries, buf->entries, buf->nent * sizeof(buf->entries[0]));
	return 0;
}

int cpuid_set(int vcpu_fd, const struct cpuid_table *table, struct err *e)
{
	AUTO(free)
	struct kvm_cpuid2 *buf = calloc(
		1, sizeof(*buf) + table->count * sizeof(table->entries[0]));
	int rc;

	if (!buf)
		return err_set(e, ERR_LIMIT, "no_memory", 0, "out of memory");
	buf->nent = table->count;
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

void cpuid_adapt(struct cpuid_table *table, const struct cpuid_vm *vm,
		 unsigned index)
{
	drop_topology(table);
	adapt_leaf1(table, vm, index);
	adapt_caches(table, vm);
	add_topology(table, vm, index);
	add_frequencies(table, vm);
}
