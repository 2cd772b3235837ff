/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What CPUID tells the guest: all that KVM can do (hypervisor leaves of KVM
 * included, so kvmclock and its kin are found), with topology and frequencies
 * that fit this VM: one package, vcpu_count cores, one thread each. The name of
 * the CPU and its caches and TLBs are the host's. VMX, SVM and performance
 * counters are hidden unless the VM wants them.
 */
#ifndef MONITOR_CPUID_H
#define MONITOR_CPUID_H

#include <linux/kvm.h>
#include <stdbool.h>
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
	bool nested; /* the guest may run guests */
	bool pmu; /* performance counters */
};

/* KVM_GET_SUPPORTED_CPUID, and of the host itself what KVM leaves empty. */
int cpuid_supported(const struct kvm *kvm, struct cpuid_table *ret,
		    struct err *e);

/*
 * Turns the supported leaves into those of vCPU `index` (its APIC id). Calling
 * it again for another index is fine. Pure.
 */
void cpuid_adapt(struct cpuid_table *table, const struct cpuid_vm *vm,
		 unsigned index);

/* Whether the table has VMX or SVM: KVM can run guests of guests. */
bool cpuid_has_nested(const struct cpuid_table *table);

/* The leaf, or NULL. */
const struct kvm_cpuid_entry2 *cpuid_find(const struct cpuid_table *table,
					  uint32_t function, uint32_t index);

/* KVM_SET_CPUID2 and KVM_GET_CPUID2. */
int cpuid_set(int vcpu_fd, const struct cpuid_table *table, struct err *e);
int cpuid_get(int vcpu_fd, struct cpuid_table *ret, struct err *e);

/*
 * Whether a guest that knows its CPU as `saved` (hostile) can go on where KVM
 * offers `host` and gives a new guest `own` (some KVMs give more than they say).
 * Code state_incompatible with the first thing that is missing. Pure.
 */
int cpuid_compare(const struct cpuid_table *saved,
		  const struct cpuid_table *host, const struct cpuid_table *own,
		  struct err *e);

#endif
