/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest memory and the VM descriptor; see vm.h for the order of calls.
 * Source: Documentation/virt/kvm/api.rst.
 */
#include "monitor/vm.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "monitor/layout.h"

static int no_memory(uint64_t asked, int sys, struct err *e)
{
	char text[24];

	return err_set(e, ERR_LIMIT, "no_memory", sys,
		       "cannot map %s of guest memory: %s",
		       format_size(asked, text), strerror(sys));
}

static int check_host(uint64_t asked, struct err *e)
{
	struct sysinfo info;
	char want[24], have[24];
	uint64_t total;

	if (sysinfo(&info) != 0)
		return err_sys(e, errno, "sysinfo");
	total = (uint64_t)info.totalram * info.mem_unit;
	if (asked > total)
		return err_set(e, ERR_LIMIT, "no_memory", ENOMEM,
			       "the guest asks for %s of memory, this host has "
			       "%s: give the guest less",
			       format_size(asked, want),
			       format_size(total, have));
	return 0;
}

static int map_memory(struct vm *vm, uint64_t bytes, struct err *e)
{
	vm->mem_fd = memfd_create("guest-memory",
				  MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (vm->mem_fd < 0)
		return no_memory(bytes, errno, e);
	if (ftruncate(vm->mem_fd, (off_t)bytes) != 0)
		return no_memory(bytes, errno, e);
	vm->map = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_NORESERVE, vm->mem_fd, 0);
	if (vm->map == MAP_FAILED) {
		vm->map = NULL;
		return no_memory(bytes, errno, e);
	}
	/* A crash dump of ours must not hold the guest's memory. */
	(void)madvise(vm->map, bytes, MADV_DONTDUMP);
	vm->mem_bytes = bytes;
	return 0;
}

/* Splits the mapping at 3 GiB: what is above continues at 4 GiB. */
static void place_regions(struct vm *vm)
{
	uint64_t low = vm->mem_bytes < GPA_HOLE_START ? vm->mem_bytes :
							GPA_HOLE_START;

	vm->mem.regions[0] =
		(struct guest_region){ .gpa = 0, .len = low, .host = vm->map };
	vm->mem.count = 1;
	if (vm->mem_bytes > low) {
		vm->mem.regions[1] = (struct guest_region){
			.gpa = GPA_HOLE_END,
			.len = vm->mem_bytes - low,
			.host = (uint8_t *)vm->map + low,
		};
		vm->mem.count = 2;
	}
}

static int add_slots(struct vm *vm, struct err *e)
{
	for (size_t i = 0; i < vm->mem.count; i++) {
		const struct guest_region *r = &vm->mem.regions[i];
		struct kvm_userspace_memory_region slot = {
			.slot = (uint32_t)i,
			.guest_phys_addr = r->gpa,
			.memory_size = r->len,
			.userspace_addr = (uintptr_t)r->host,
		};
		int rc = kvm_try(vm->fd, KVM_SET_USER_MEMORY_REGION, &slot,
				 "a memory slot", e);

		if (rc < 0)
			return rc;
	}
	return 0;
}

int vm_new(const struct kvm *kvm, uint64_t mem_bytes, struct vm *ret,
	   struct err *e)
{
	struct vm vm = VM_INIT;
	uint64_t identity = GPA_IDENTITY_MAP;
	int rc = check_host(mem_bytes, e);

	if (rc < 0)
		return rc;
	rc = map_memory(&vm, mem_bytes, e);
	if (rc == 0) {
		place_regions(&vm);
		/* Not retried by us alone: a pending signal gives EINTR. */
		vm.fd = kvm_ioctl_value(kvm->fd, KVM_CREATE_VM, 0);
		if (vm.fd < 0)
			rc = err_set(e, ERR_INTERNAL, "kvm_failed", -vm.fd,
				     "KVM refused a new VM: %s",
				     strerror(-vm.fd));
	}
	if (rc == 0)
		rc = add_slots(&vm, e);
	if (rc == 0) {
		/* Needed by Intel CPUs without unrestricted guests only. */
		(void)kvm_ioctl(vm.fd, KVM_SET_IDENTITY_MAP_ADDR, &identity);
		(void)kvm_ioctl_value(vm.fd, KVM_SET_TSS_ADDR, GPA_TSS);
		*ret = vm;
		return 0;
	}
	vm_done(&vm);
	return rc;
}

void vm_done(struct vm *vm)
{
	close_fd(&vm->fd);
	if (vm->map)
		(void)munmap(vm->map, vm->mem_bytes);
	vm->map = NULL;
	close_fd(&vm->mem_fd);
}

/*
 * The PICs come out of creation unmasked with vector base 0; a kernel that uses
 * hardware-reduced ACPI never touches them and would take their vectors for
 * exceptions. Firmware leaves them masked, and so do we.
 */
static int mask_pics(struct vm *vm, struct err *e)
{
	for (unsigned i = 0; i < 2; i++) {
		struct kvm_irqchip chip = { .chip_id = i };
		int rc = kvm_try(vm->fd, KVM_GET_IRQCHIP, &chip,
				 "the state of a PIC", e);

		if (rc < 0)
			return rc;
		chip.chip.pic.imr = 0xff;
		chip.chip.pic.irq_base = i ? 0x70 : 0x08;
		rc = kvm_try(vm->fd, KVM_SET_IRQCHIP, &chip,
			     "a new state of a PIC", e);
		if (rc < 0)
			return rc;
	}
	return 0;
}

int vm_create_irqchip(struct vm *vm, bool with_pit, struct err *e)
{
	struct kvm_pit_config pit = { .flags = KVM_PIT_SPEAKER_DUMMY };
	int rc = kvm_try(vm->fd, KVM_CREATE_IRQCHIP, NULL,
			 "interrupt controllers", e);

	if (rc == 0)
		rc = mask_pics(vm, e);
	if (rc == 0 && with_pit)
		rc = kvm_try(vm->fd, KVM_CREATE_PIT2, &pit, "a timer (PIT)",
			     e);
	return rc;
}

void vm_set_irq(struct vm *vm, unsigned gsi, bool level)
{
	struct kvm_irq_level line = { .irq = gsi, .level = level };

	(void)kvm_ioctl(vm->fd, KVM_IRQ_LINE, &line);
}

int vm_ioeventfd(struct vm *vm, uint64_t gpa, uint32_t value, int event_fd,
		 bool add)
{
	struct kvm_ioeventfd io = {
		.datamatch = value,
		.addr = gpa,
		.len = 4,
		.fd = event_fd,
		.flags = KVM_IOEVENTFD_FLAG_DATAMATCH |
			 (add ? 0 : KVM_IOEVENTFD_FLAG_DEASSIGN),
	};

	return kvm_ioctl(vm->fd, KVM_IOEVENTFD, &io);
}
