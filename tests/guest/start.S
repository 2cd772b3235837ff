/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Entry of every bare-metal guest. Built twice: with PVH (an ELF note leads to
 * pvh_start in 32-bit mode) and without (the ELF entry is reached in 64-bit mode
 * with the zero page in RSI). Both end in guest_main(boot, params) on a stack of
 * 16 KiB, and write its result to the debug exit port.
 */
	.section .text.start, "ax"
#ifdef PVH
	.code32
	.globl start
start:
pvh_start:
#ifdef EXIT_AT_ONCE
	movb $42, %al                  /* for timing: as few steps as can be */
	outb %al, $0xf4
1:	hlt
	jmp 1b
#endif
	cld
	movl $stack_top, %esp
	movl %ebx, %edi                /* params */
	movl $1, %esi                  /* GUEST_BOOT_PVH */
	call enter_long_mode
	.code64
	xchgq %rdi, %rsi               /* guest_main(boot, params) */
	jmp run_main
#else
	.code64
	.globl start
start:
	cld
	movq $stack_top, %rsp
	movq $2, %rdi                  /* GUEST_BOOT_LINUX */
	jmp run_main
#endif

	.code64
run_main:
	movl %edi, %edi
	call guest_main
	movw $0xf4, %dx
	outb %al, %dx
halt:
	cli
	hlt
	jmp halt

/* 32-bit flat mode to 64-bit mode; keeps ESI and EDI, returns in long mode. */
	.code32
enter_long_mode:
	popl %ebp
	movl $pdpt + 3, pml4
	xorl %ecx, %ecx
1:	movl %ecx, %eax                /* 4 GiB in pages of 2 MiB */
	shll $21, %eax
	orl $0x83, %eax
	movl %eax, pd(, %ecx, 8)
	incl %ecx
	cmpl $2048, %ecx
	jne 1b
	xorl %ecx, %ecx
2:	movl %ecx, %eax
	shll $12, %eax
	addl $pd + 3, %eax
	movl %eax, pdpt(, %ecx, 8)
	incl %ecx
	cmpl $4, %ecx
	jne 2b
load_long_mode:
	movl $pml4, %eax
	movl %eax, %cr3
	movl %cr4, %eax
	orl $0x20, %eax                /* PAE */
	movl %eax, %cr4
	movl $0xc0000080, %ecx         /* EFER */
	rdmsr
	orl $0x100, %eax               /* long mode enable */
	wrmsr
	movl %cr0, %eax
	orl $0x80000001, %eax          /* paging, protection */
	movl %eax, %cr0
	lgdt gdt_pointer
	ljmp $8, $in_long_mode
	.code64
in_long_mode:
	movl $16, %eax
	movl %eax, %ds
	movl %eax, %es
	movl %eax, %ss
	movl %ebp, %ebp
	jmp *%rbp

/* Where a second vCPU starts after SIPI: copied to 0x8000 by its test. */
	.globl second_cpu, second_cpu_end
	.code16
second_cpu:
	cli
	xorw %ax, %ax
	movw %ax, %ds
	lgdtl 0x8000 + (gdt_pointer16 - second_cpu)
	movl %cr0, %eax
	orl $1, %eax
	movl %eax, %cr0
	ljmpl $24, $second_cpu32
gdt_pointer16:
	.word gdt_end - gdt - 1
	.long gdt
second_cpu_end:
	.code32
second_cpu32:
	movl $16, %eax
	movl %eax, %ds
	movl %eax, %ss
	movl $second_stack_top, %esp
	movl $second_cpu64, %ebp
	jmp load_long_mode
	.code64
second_cpu64:
	movl $1, guest_second_cpu
	jmp halt

/* Handler of vector 0x40: counts, then end of interrupt. */
	.globl irq_entry
irq_entry:
	incl guest_irq_count
	pushq %rax
	movl $0xfee000b0, %eax
	movl $0, (%rax)
	popq %rax
	iretq

	.section .rodata
	.balign 8
gdt:
	.quad 0
	.quad 0x00af9b000000ffff       /* 8: 64-bit code */
	.quad 0x00cf93000000ffff       /* 16: data */
	.quad 0x00cf9b000000ffff       /* 24: 32-bit code */
gdt_end:
gdt_pointer:
	.word gdt_end - gdt - 1
	.quad gdt

	.bss
	.balign 4096
	.globl pml4
pml4:	.skip 4096
pdpt:	.skip 4096
pd:	.skip 4 * 4096
stack:	.skip 16384
stack_top:
second_stack: .skip 4096
second_stack_top:
	.globl guest_second_cpu, guest_irq_count
guest_second_cpu: .skip 4
guest_irq_count: .skip 4

#ifdef PVH
	.section .note.pvh, "a", @note
	.balign 4
	.long 4
	.long 4
	.long 18                       /* XEN_ELFNOTE_PHYS32_ENTRY */
	.asciz "Xen"
	.long pvh_start
#endif
	.section .note.GNU-stack, "", @progbits
