/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The PVH start info. Source: Xen, include/public/arch-x86/hvm/start_info.h,
 * version 1 of the structure.
 */
#include <assert.h>
#include <string.h>

#include "base/checked.h"
#include "monitor/boot/boot.h"
#include "monitor/layout.h"

struct pvh_start_info {
	uint32_t magic;
	uint32_t version;
	uint32_t flags;
	uint32_t nr_modules;
	uint64_t modlist_gpa;
	uint64_t cmdline_gpa;
	uint64_t rsdp_gpa;
	uint64_t memmap_gpa;
	uint32_t memmap_entries;
	uint32_t reserved;
};
static_assert(sizeof(struct pvh_start_info) == 56, "start info version 1");

struct pvh_module {
	uint64_t gpa;
	uint64_t size;
	uint64_t cmdline_gpa;
	uint64_t reserved;
};
static_assert(sizeof(struct pvh_module) == 32, "PVH module entry");

struct pvh_range {
	uint64_t gpa;
	uint64_t size;
	uint32_t type; /* as in e820 */
	uint32_t reserved;
};
static_assert(sizeof(struct pvh_range) == 24, "PVH memory map entry");

enum {
	PVH_MAGIC = 0x336ec578,
	MODULE_AT = 64,
	MAP_AT = 128
};

int boot_pvh_finish(const struct boot_info *info, struct boot_entry *entry,
		    struct err *e)
{
	struct boot_range map[BOOT_MAP_MAX];
	struct pvh_range ranges[BOOT_MAP_MAX];
	size_t count = boot_memory_map(info->mem, map);
	struct pvh_start_info start = {
		.magic = PVH_MAGIC,
		.version = 1,
		.cmdline_gpa = info->cmdline_gpa,
		.rsdp_gpa = info->rsdp_gpa,
		.memmap_gpa = GPA_PVH_INFO + MAP_AT,
		.memmap_entries = (uint32_t)count,
	};
	struct pvh_module module = {
		.gpa = info->initrd_gpa,
		.size = info->initrd_len,
	};

	if (info->initrd_len) {
		start.nr_modules = 1;
		start.modlist_gpa = GPA_PVH_INFO + MODULE_AT;
	}
	for (size_t i = 0; i < count; i++)
		ranges[i] = (struct pvh_range){ .gpa = map[i].start,
						.size = map[i].len,
						.type = map[i].type };
	if (!guest_write(info->mem, GPA_PVH_INFO, &start, sizeof(start)) ||
	    !guest_write(info->mem, GPA_PVH_INFO + MODULE_AT, &module,
			 sizeof(module)) ||
	    !guest_write(info->mem, GPA_PVH_INFO + MAP_AT, ranges,
			 count * sizeof(ranges[0])))
		return err_set(e, ERR_LIMIT, "kernel_too_large", 0,
			       "the guest has no memory for boot structures");
	entry->bx = GPA_PVH_INFO;
	return 0;
}
