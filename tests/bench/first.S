/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The smallest guest: its first instructions write one byte to the serial port,
 * then one to the debug exit port. ELF with a PVH note (32-bit entry), so that
 * vmd-monitor and QEMU boot the very same file. With IDLE it stays, halted.
 */
	.section .note.pvh, "a", @note
	.balign 4
	.long 4, 4, 18		/* name size, value size, XEN_ELFNOTE_PHYS32_ENTRY */
	.asciz "Xen"
	.long _start

	.text
	.code32
	.globl _start
_start:
	movw $0x3f8, %dx
	movb $'A', %al
	outb %al, %dx
#ifndef IDLE
	movw $0xf4, %dx
	movb $0, %al
	outb %al, %dx
#endif
	cli
1:	hlt
	jmp 1b
