/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The registers a boot protocol asks for. Only vCPU 0 gets them; the others
 * wait for INIT and SIPI, which KVM handles.
 *
 * Sources: Intel SDM volume 3 (segment descriptors, 4-level paging); Linux
 * Documentation/x86/boot.rst (32-bit and 64-bit protocol); Xen pvh.pandoc.
 */
#include "monitor/layout.h"
#include "monitor/vcpu.h"

enum {
	/* Selectors that Linux's protocols name. */
	SEL_CODE = 0x10,
	SEL_DATA = 0x18,
	SEL_TSS = 0x20,
	CR0_PE = 1,
	CR0_ET = 1 << 4,
	CR4_PAE = 1 << 5,
	EFER_LME = 1 << 8,
	EFER_LMA = 1 << 10,
	PTE_PRESENT = 1,
	PTE_WRITE = 2,
	PTE_LARGE = 1 << 7,
};
#define CR0_PG (1u << 31)

static const struct kvm_segment code_segment = {
	.limit = 0xffffffff,
	.selector = SEL_CODE,
	.type = 11, /* execute, read, accessed */
	.present = 1,
	.db = 1,
	.s = 1,
	.g = 1,
};

static const struct kvm_segment data_segment = {
	.limit = 0xffffffff,
	.selector = SEL_DATA,
	.type = 3, /* read, write, accessed */
	.present = 1,
	.db = 1,
	.s = 1,
	.g = 1,
};

static const struct kvm_segment tss_segment = {
	.limit = 0x67,
	.selector = SEL_TSS,
	.type = 11, /* busy TSS */
	.present = 1,
};

/* The descriptor of the GDT that says the same as a KVM segment. */
static uint64_t descriptor(const struct kvm_segment *s)
{
	uint64_t limit = s->g ? s->limit >> 12 : s->limit;

	return (limit & 0xffff) | ((s->base & 0xffffff) << 16) |
	       ((uint64_t)s->type << 40) | ((uint64_t)s->s << 44) |
	       ((uint64_t)s->dpl << 45) | ((uint64_t)s->present << 47) |
	       (((limit >> 16) & 0xf) << 48) | ((uint64_t)s->l << 53) |
	       ((uint64_t)s->db << 54) | ((uint64_t)s->g << 55) |
	       (((uint64_t)s->base >> 24) << 56);
}

static bool write_gdt(const struct guest_mem *mem,
		      const struct kvm_segment *code, struct kvm_sregs *sregs)
{
	uint64_t gdt[5] = { 0 };

	gdt[SEL_CODE / 8] = descriptor(code);
	gdt[SEL_DATA / 8] = descriptor(&data_segment);
	gdt[SEL_TSS / 8] = descriptor(&tss_segment);
	sregs->gdt.base = GPA_GDT;
	sregs->gdt.limit = sizeof(gdt) - 1;
	return guest_write(mem, GPA_GDT, gdt, sizeof(gdt));
}

/* Identity map of the first 4 GiB by 2 MiB pages. */
static bool write_page_tables(const struct guest_mem *mem)
{
	uint64_t *pml4 = guest_slice(mem, GPA_PML4, 4096);
	uint64_t *pdpt = guest_slice(mem, GPA_PDPT, 4096);
	uint64_t *pd = guest_slice(mem, GPA_PD, UINT64_C(4) * 4096);

	if (!pml4 || !pdpt || !pd)
		return false;
	pml4[0] = GPA_PDPT | PTE_PRESENT | PTE_WRITE;
	for (uint64_t i = 0; i < 4; i++)
		pdpt[i] = (GPA_PD + i * 4096) | PTE_PRESENT | PTE_WRITE;
	for (uint64_t i = 0; i < UINT64_C(4) * 512; i++)
		pd[i] = (i << 21) | PTE_PRESENT | PTE_WRITE | PTE_LARGE;
	return true;
}

static bool make_sregs(const struct guest_mem *mem, enum boot_mode mode,
		       struct kvm_sregs *sregs)
{
	struct kvm_segment code = code_segment;

	sregs->cr0 = CR0_PE | CR0_ET;
	if (mode == BOOT_LONG) {
		code.l = 1;
		code.db = 0;
		sregs->cr0 |= CR0_PG;
		sregs->cr3 = GPA_PML4;
		sregs->cr4 |= CR4_PAE;
		sregs->efer |= EFER_LME | EFER_LMA;
		if (!write_page_tables(mem))
			return false;
	}
	sregs->cs = code;
	sregs->ds = sregs->es = sregs->ss = data_segment;
	sregs->fs = sregs->gs = data_segment;
	sregs->tr = tss_segment;
	sregs->idt.base = 0;
	/* As after a reset. 0 would look like a table taken away on purpose. */
	sregs->idt.limit = UINT16_MAX;
	return write_gdt(mem, &code, sregs);
}

void vcpu_set_firmware_msrs(const struct vcpu *vcpu)
{
	enum {
		MSR_MISC_ENABLE = 0x1a0,
		MSR_MTRR_DEF_TYPE = 0x2ff
	};
	union {
		struct kvm_msrs head;
		uint8_t room[sizeof(struct kvm_msrs) +
			     2 * sizeof(struct kvm_msr_entry)];
	} msrs = { .room = { 0 } };

	msrs.head.nmsrs = 2;
	/* Memory is write-back unless page tables differ. */
	msrs.head.entries[0].index = MSR_MTRR_DEF_TYPE;
	msrs.head.entries[0].data = 1 << 11 | 6;
	/* Fast string instructions. */
	msrs.head.entries[1].index = MSR_MISC_ENABLE;
	msrs.head.entries[1].data = 1;
	/* A CPU without one of them is fine: the guest sees that by CPUID. */
	(void)kvm_ioctl(vcpu->fd, KVM_SET_MSRS, &msrs);
}

int vcpu_boot(struct vcpu *vcpu, const struct guest_mem *mem,
	      const struct boot_entry *entry, struct err *e)
{
	struct kvm_sregs sregs;
	struct kvm_regs regs = {
		.rip = entry->ip,
		.rbx = entry->bx,
		.rsi = entry->si,
		.rsp = GPA_BOOT_STACK,
		.rbp = GPA_BOOT_STACK,
		.rflags = 2,
	};
	int rc = kvm_try(vcpu->fd, KVM_GET_SREGS, &sregs, "vCPU registers", e);

	if (rc < 0)
		return rc;
	if (!make_sregs(mem, entry->mode, &sregs))
		return err_set(e, ERR_LIMIT, "kernel_too_large", 0,
			       "the guest has no memory for boot structures");
	rc = kvm_try(vcpu->fd, KVM_SET_SREGS, &sregs, "start registers", e);
	if (rc >= 0)
		rc = kvm_try(vcpu->fd, KVM_SET_REGS, &regs, "start registers",
			     e);
	return rc < 0 ? rc : 0;
}
