/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest memory and the VM descriptor; see vm.h for the order of calls.
 * Source: Documentation/virt/kvm/api.rst.
 */
#include "monitor/vm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/parse.h"
#include "monitor/layout.h"

enum {
	HUGE_PAGE = 2 * 1024 * 1024,
	HUGE_FROM = 16 * 1024 * 1024,
};

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

static int open_memfd(struct vm *vm, uint64_t bytes)
{
	vm->mem_fd =
		memfd_create("guest-memory", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (vm->mem_fd < 0)
		return -errno;
	/* Whoever gets the descriptor must not take memory away below us. */
	if (ftruncate(vm->mem_fd, (off_t)bytes) != 0 ||
	    fcntl(vm->mem_fd, F_ADD_SEALS,
		  F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
		return -errno;
	return 0;
}

/*
 * Room of `bytes` at a multiple of HUGE_PAGE, without access: what is mapped
 * over it can have huge pages from its first byte on. NULL and errno.
 */
static uint8_t *reserve(uint64_t bytes)
{
	uint64_t room = bytes + HUGE_PAGE, head;
	uint8_t *at = mmap(NULL, room, PROT_NONE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (at == MAP_FAILED)
		return NULL;
	head = -(uintptr_t)at % HUGE_PAGE;
	if (head)
		(void)munmap(at, head);
	(void)munmap(at + head + bytes, HUGE_PAGE - head);
	return at + head;
}

static int map_memory(struct vm *vm, uint64_t bytes, enum vm_backing backing,
		      struct err *e)
{
	int kind = MAP_PRIVATE | MAP_ANONYMOUS, rc = 0;

	if (backing == VM_BACKING_MEMFD) {
		kind = MAP_SHARED;
		rc = open_memfd(vm, bytes);
	}
	if (rc < 0)
		return no_memory(bytes, -rc, e);
	vm->map = reserve(bytes);
	if (!vm->map)
		return no_memory(bytes, errno, e);
	vm->mem_bytes = bytes;
	if (mmap(vm->map, bytes, PROT_READ | PROT_WRITE,
		 kind | MAP_FIXED | MAP_NORESERVE, vm->mem_fd, 0) == MAP_FAILED)
		return no_memory(bytes, errno, e);
	/* A crash dump of ours must not hold the guest's memory. */
	(void)madvise(vm->map, bytes, MADV_DONTDUMP);
	/* Of a memfd: only where the administrator lets shared memory. Not
	 * where tiny guests live whole: Linux begins at 16 MiB, and to zero one
	 * of 2 MiB is a tenth of the time to their first instruction. */
	if (bytes > HUGE_FROM)
		(void)madvise((uint8_t *)vm->map + HUGE_FROM, bytes - HUGE_FROM,
			      MADV_HUGEPAGE);
	return 0;
}

/* Splits the mapping at 3 GiB: what is above continues at 4 GiB. */
static void place_regions(struct vm *vm)
{
	uint64_t low =
		vm->mem_bytes < GPA_HOLE_START ? vm->mem_bytes : GPA_HOLE_START;

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

int vm_new(const struct kvm *kvm, uint64_t mem_bytes, enum vm_backing backing,
	   struct vm *ret, struct err *e)
{
	struct vm vm = VM_INIT;
	uint64_t identity = GPA_IDENTITY_MAP;
	int rc = check_host(mem_bytes, e);

	if (rc < 0)
		return rc;
	rc = map_memory(&vm, mem_bytes, backing, e);
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

void vm_discard(const struct vm *vm, void *host, size_t len)
{
	/* Without the first a shared file would give its old bytes again. */
	if (madvise(host, len, vm->mem_fd < 0 ? MADV_DONTNEED : MADV_REMOVE) <
	    0)
		log_debug("giving %zu bytes of guest memory back: %s", len,
			  strerror(errno));
}

int vm_create_irqchip(struct vm *vm, struct err *e)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_SPLIT_IRQCHIP,
				      .args = { IOAPIC_PINS } };

	return kvm_try(vm->fd, KVM_ENABLE_CAP, &cap, "local APICs", e);
}

void vm_disable_pmu(struct vm *vm)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_PMU_CAPABILITY,
				      .args = { KVM_PMU_CAP_DISABLE } };

	(void)kvm_ioctl(vm->fd, KVM_ENABLE_CAP, &cap);
}

void vm_send_message(struct vm *vm, uint32_t address, uint32_t data)
{
	struct kvm_msi msi = { .address_lo = address, .data = data };

	atomic_fetch_add_explicit(&vm->messages, 1, memory_order_relaxed);
	(void)kvm_ioctl(vm->fd, KVM_SIGNAL_MSI, &msi);
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

int vm_save(struct vm *vm, struct state_writer *w, struct err *e)
{
	struct kvm_clock_data clock = { .clock = 0 };
	int rc = kvm_try(vm->fd, KVM_GET_CLOCK, &clock, "the guest's clock", e);

	if (rc < 0)
		return rc;
	state_begin(w, "vm", 1);
	state_put_u64(w, vm->mem_bytes);
	state_put_u64(w, clock.clock);
	state_end(w);
	return 0;
}

int vm_load(struct vm *vm, struct state_reader *r, struct err *e)
{
	struct kvm_clock_data clock = { .flags = 0 };
	uint16_t version;
	uint64_t mem_bytes;
	int rc = state_open(r, "vm", 1, &version, e);

	if (rc < 0)
		return rc;
	mem_bytes = state_get_u64(r);
	clock.clock = state_get_u64(r);
	rc = state_close(r, e);
	if (rc < 0)
		return rc;
	if (mem_bytes != vm->mem_bytes)
		return err_set(e, ERR_CORRUPT, "state_invalid", 0,
			       "the state belongs to a VM of %llu bytes of "
			       "memory",
			       (unsigned long long)mem_bytes);
	rc = kvm_try(vm->fd, KVM_SET_CLOCK, &clock, "the guest's clock", e);
	return rc < 0 ? rc : 0;
}
