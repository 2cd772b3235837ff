/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where everything lies in the guest's physical address space and I/O ports.
 *
 *   0x0000_0500  GDT of the boot state
 *   0x0000_6000  PVH start info, its module list and memory map
 *   0x0000_7000  zero page of the Linux boot protocols
 *   0x0000_9000  page tables: first 4 GiB identity-mapped by 2 MiB pages
 *   0x0002_0000  kernel command line
 *   0x0009_fc00  end of low memory; up to 1 MiB reserved
 *   0x000e_0000  ACPI tables, the RSDP first (found by the BIOS area scan too)
 *   0x000e_f000  the VM generation ID
 *   0x000f_0000  MP floating pointer and table
 *   0x000f_fff0  what a CPU starts with, on a PC with a BIOS: resets the guest
 *   0x0010_0000  kernels; the initial RAM disk as high below 3 GiB as it fits
 *   0xc000_0000  MMIO hole up to 4 GiB; memory above 3 GiB continues at 4 GiB
 */
#ifndef MONITOR_LAYOUT_H
#define MONITOR_LAYOUT_H

#include <stdint.h>

#define GPA_GDT		UINT64_C(0x500)
#define GPA_PVH_INFO	UINT64_C(0x6000)
#define GPA_ZERO_PAGE	UINT64_C(0x7000)
#define GPA_BOOT_STACK	UINT64_C(0x8ff0)
#define GPA_PML4	UINT64_C(0x9000)
#define GPA_PDPT	UINT64_C(0xa000)
#define GPA_PD		UINT64_C(0xb000) /* four pages */
#define GPA_CMDLINE	UINT64_C(0x20000)
#define GPA_LOW_END	UINT64_C(0x9fc00)
#define GPA_ACPI	UINT64_C(0xe0000)
#define GPA_ACPI_END	UINT64_C(0xef000)
#define GPA_GENERATION	UINT64_C(0xef000)
#define GPA_MPTABLE	UINT64_C(0xf0000)
#define GPA_MPTABLE_END UINT64_C(0xffff0)
#define GPA_RESET	UINT64_C(0xffff0) /* F000:FFF0 */
#define GPA_HIGH_START	UINT64_C(0x100000)
#define GPA_HOLE_START	UINT64_C(0xc0000000)
#define GPA_HOLE_END	UINT64_C(0x100000000)

#define GPA_VIRTIO	 UINT64_C(0xd0000000) /* device i at + i * 4 KiB */
#define GPA_IOAPIC	 UINT64_C(0xfec00000)
#define GPA_LAPIC	 UINT64_C(0xfee00000)
#define GPA_IDENTITY_MAP UINT64_C(0xfffbc000)
#define GPA_TSS		 UINT64_C(0xfffbd000) /* three pages, Intel only */

#define PORT_PIC1	   0x20 /* command, mask */
#define PORT_PIC2	   0xa0
#define PORT_COM1	   0x3f8
#define PORT_I8042_DATA	   0x60
#define PORT_CMOS	   0x70 /* index, data */
#define PORT_I8042_COMMAND 0x64
#define PORT_POWER	   0x600 /* sleep control, sleep status, reset */
#define PORT_RESET_CONTROL 0xcf9

enum {
	CMDLINE_MAX = 0x10000, /* room at GPA_CMDLINE, NUL included */
	VCPUS_MAX = 32,
	GSI_KEYBOARD = 1,
	GSI_COM1 = 4,
	GSI_POWER_BUTTON = 9,
	GSI_GENERATION = 12,
	IOAPIC_PINS = 24,
};

#endif
