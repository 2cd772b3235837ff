/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What CPUID tells the guest: all that KVM can do (hypervisor leaves of KVM
 * included, so kvmclock and its kin are found), with topology and frequencies
 * that fit this VM: one package, vcpu_count cores, one thread each.
 */
#ifndef MONITOR_CPUID_H
#define MONITOR_CPUID_H

#include <linux/kvm.h>
#include <stdint.h>

#include "monitor/kvm.h"

enum {
	CPUID_ENTRIES_MAX = 256
};

struct cpuid_table {
	uint32_t count;
	struct kvm_cpuid_entry2 entries[CPUID_ENTRIES_MAX];
};

struct cpuid_vm {
	unsigned vcpu_count;
	uint64_t tsc_khz; /* 0: unknown, frequency leaves stay as they are */
};

/* KVM_GET_SUPPORTED_CPUID. */
int cpuid_supported(const struct kvm *kvm, struct cpuid_table *ret,
		    struct err *e);

/*
 * Turns the supported leaves into those of vCPU `index` (its APIC id). Calling
 * it again for another index is fine. Pure.
 */
void cpuid_adapt(struct cpuid_table *table, const struct cpuid_vm *vm,
		 unsigned index);

/* KVM_SET_CPUID2. */
int cpuid_set(int vcpu_fd, const struct cpuid_table *table, struct err *e);

#endif
