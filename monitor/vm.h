/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The VM of KVM: guest memory (one mapping, split around the MMIO hole), the
 * in-kernel local APICs, interrupt messages and kick descriptors.
 *
 * Guest memory is anonymous, aligned so that the host can use 2 MiB pages: each
 * page that KVM maps is an exit, and with pages of 4 KiB a boot has 17,000 of
 * them. Others can only be given it (a snapshot, a fork) when it is a memfd,
 * which most hosts fill with pages of 4 KiB; who wants that says so.
 *
 * Build order, because a memory slot added after an interrupt controller or an
 * ioeventfd waits milliseconds for a grace period:
 *   vm_new (memory slots) -> vm_create_irqchip -> vCPUs -> state -> ioeventfds,
 *   and those only when a driver is there.
 *
 * Interrupts: a split controller, local APICs in KVM and the I/O APIC here
 * (ioapic.c). KVM's own PIC and I/O APIC sit on its device bus, and taking a VM
 * down right after something was put there waits for a grace period: 16 ms
 * measured for the whole life of a trivial guest against 3 ms. A message is one
 * ioctl, the price of an irqfd write, and needs no descriptor.
 */
#ifndef MONITOR_VM_H
#define MONITOR_VM_H

#include "base/err.h"
#include "base/state.h"
#include "monitor/kvm.h"
#include "virtio/guest_mem.h"

/* What guest memory is made of. */
enum vm_backing {
	VM_BACKING_AUTO, /* anonymous: nothing here needs a file */
	VM_BACKING_ANONYMOUS,
	VM_BACKING_MEMFD,
};

struct vm {
	int fd;
	int mem_fd; /* all guest memory, in order of gpa; -1: anonymous */
	uint64_t mem_bytes;
	struct guest_mem mem;
	void *map; /* one mapping of mem_bytes */
	_Atomic uint64_t messages; /* interrupt messages sent */
};

#define VM_INIT                        \
	{                              \
		.fd = -1, .mem_fd = -1 \
	}

/* mem_bytes: a multiple of 4 KiB. Codes: no_memory, kvm_failed. */
int vm_new(const struct kvm *kvm, uint64_t mem_bytes, enum vm_backing backing,
	   struct vm *ret, struct err *e);
void vm_done(struct vm *vm);

/* Gives pages of guest memory back to the host; they read as zeros afterwards.
 * host: as guest_slice() gives it, page-aligned. Any thread. */
void vm_discard(const struct vm *vm, void *host, size_t len);

/* Local APICs in KVM; before the first vCPU. */
int vm_create_irqchip(struct vm *vm, struct err *e);

/* No performance counters; before the first vCPU. A KVM that cannot say so at
 * least has a guest that does not find them (cpuid.h). */
void vm_disable_pmu(struct vm *vm);

/* An interrupt message to the local APICs. Any thread. */
void vm_send_message(struct vm *vm, uint32_t address, uint32_t data);

/*
 * Writes of `value` (32 bits) to gpa signal event_fd instead of leaving the
 * guest. add false: removes it again. 0 or -errno.
 */
int vm_ioeventfd(struct vm *vm, uint64_t gpa, uint32_t value, int event_fd,
		 bool add);

/* Section "vm": kvmclock. */
int vm_save(struct vm *vm, struct state_writer *w, struct err *e);
int vm_load(struct vm *vm, struct state_reader *r, struct err *e);

#endif
