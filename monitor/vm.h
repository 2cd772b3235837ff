/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The VM of KVM: guest memory (a memfd, split around the MMIO hole), the
 * in-kernel interrupt controllers, the interrupt lines and kick descriptors.
 *
 * Build order, because a memory slot added after an interrupt controller or an
 * ioeventfd waits milliseconds for a grace period:
 *   vm_new (memory slots) -> vm_create_irqchip -> vCPUs -> state -> ioeventfds,
 *   and those only when a driver is there.
 *
 * Interrupts: the complete in-kernel controller set (PIC, I/O APIC), because
 * both stock kernels with ACPI and old ones with an MP table then just work. It
 * costs about 90 us against a split controller, and no code of ours emulates an
 * I/O APIC. Lines are set with KVM_IRQ_LINE: one call, the same price as an
 * irqfd write, and no descriptor per device. Devices are described as
 * edge-triggered; the line carries the level, so that either reading works.
 */
#ifndef MONITOR_VM_H
#define MONITOR_VM_H

#include "base/err.h"
#include "base/state.h"
#include "monitor/kvm.h"
#include "virtio/guest_mem.h"

struct vm {
	int fd;
	int mem_fd; /* memfd of all guest memory, in order of gpa */
	uint64_t mem_bytes;
	struct guest_mem mem;
	void *map; /* one mapping of mem_bytes */
};

#define VM_INIT { .fd = -1, .mem_fd = -1 }

/* mem_bytes: a multiple of 4 KiB. Codes: no_memory, kvm_failed. */
int vm_new(const struct kvm *kvm, uint64_t mem_bytes, struct vm *ret,
	   struct err *e);
void vm_done(struct vm *vm);

/* with_pit: also the i8254, for CPUs whose local timer needs calibrating. */
int vm_create_irqchip(struct vm *vm, bool with_pit, struct err *e);

/* Any thread. */
void vm_set_irq(struct vm *vm, unsigned gsi, bool level);

/*
 * Writes of `value` (32 bits) to gpa signal event_fd instead of leaving the
 * guest. add false: removes it again. 0 or -errno.
 */
int vm_ioeventfd(struct vm *vm, uint64_t gpa, uint32_t value, int event_fd,
		 bool add);

/* Sections "irqchip" and "clock". */
void vm_save(struct vm *vm, struct state_writer *w, struct err *e);
int vm_load(struct vm *vm, struct state_reader *r, struct err *e);

#endif
