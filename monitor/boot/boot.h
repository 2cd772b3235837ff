/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Boot: puts a kernel, its command line and its initial RAM disk into guest
 * memory and says where and in which CPU mode to start. The kernel's kind is
 * read from the file: ELF with a PVH note, any other 64-bit ELF (64-bit Linux
 * protocol), or a bzImage.
 *
 * Trust boundary: the kernel file is as hostile as any guest. Every offset and
 * length in it is checked against the file and against guest memory.
 */
#ifndef MONITOR_BOOT_H
#define MONITOR_BOOT_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "virtio/guest_mem.h"

enum boot_mode {
	BOOT_PROTECTED, /* 32-bit, flat segments, paging off */
	BOOT_LONG, /* 64-bit, first 4 GiB identity-mapped */
};

struct boot_entry {
	const char *protocol; /* "pvh", "elf64", "bzimage", "bzimage32" */
	enum boot_mode mode;
	uint64_t ip;
	uint64_t bx; /* PVH: gpa of the start info */
	uint64_t si; /* Linux: gpa of the zero page */
};

/* What a loader is given, and what it learns for the later steps. */
struct boot_image {
	const struct guest_mem *mem;
	int fd; /* the kernel file; borrowed */
	uint64_t size;
	uint64_t load_start, load_end; /* guest memory the kernel takes */
	uint64_t initrd_max; /* highest address an initrd may use, inclusive */
	uint64_t cmdline_max; /* most bytes of the command line, without NUL */
};

/* What the boot protocols tell the kernel. */
struct boot_info {
	const struct guest_mem *mem;
	uint64_t cmdline_gpa, cmdline_len;
	uint64_t initrd_gpa, initrd_len;
	uint64_t rsdp_gpa; /* 0: none */
};

/*
 * Loads everything. initrd_fd -1: none. cmdline is NUL-terminated.
 * Codes: kernel_wrong_arch, kernel_bad_format, kernel_truncated,
 * kernel_too_large, initrd_too_large, cmdline_too_long.
 */
int boot_load(const struct guest_mem *mem, int kernel_fd, int initrd_fd,
	      const char *cmdline, uint64_t rsdp_gpa, struct boot_entry *ret,
	      struct err *e);

/* The guest's memory map, types as in e820. */
enum {
	BOOT_MAP_MAX = GUEST_REGIONS_MAX + 4
};
enum {
	BOOT_RAM = 1,
	BOOT_RESERVED = 2
};
struct boot_range {
	uint64_t start, len;
	uint32_t type;
};
size_t boot_memory_map(const struct guest_mem *mem,
		       struct boot_range ret[BOOT_MAP_MAX]);

/* --- for the loaders --- */

/* [offset, offset + len) of the kernel file; kernel_truncated past its end. */
int boot_pread(const struct boot_image *image, uint64_t offset, void *data,
	       uint64_t len, struct err *e);

/*
 * Reads file bytes to gpa and grows load_start/load_end. Refuses addresses
 * below 1 MiB and what does not fit into guest memory (kernel_too_large).
 */
int boot_place(struct boot_image *image, uint64_t offset, uint64_t gpa,
	       uint64_t file_len, uint64_t mem_len, struct err *e);

/* Recognise by magic and load; *ret_entry is complete but for bx/si. */
int boot_elf_load(struct boot_image *image, struct boot_entry *ret,
		  struct err *e);
int boot_bzimage_load(struct boot_image *image, struct boot_entry *ret,
		      struct err *e);

/* Write the structures of the protocol and fill entry->bx / entry->si. */
int boot_pvh_finish(const struct boot_info *info, struct boot_entry *entry,
		    struct err *e);
int boot_linux_finish(const struct boot_info *info,
		      const struct boot_image *image, struct boot_entry *entry,
		      struct err *e);

#endif
