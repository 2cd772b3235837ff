/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bzImage: the compressed kernel as distributions ship it. Its protected-mode
 * part goes to the address it prefers, room for unpacking is checked, and it
 * starts at its 64-bit entry, or at the 32-bit one when it has no other.
 *
 * The header stays in the image until boot_linux_finish() copies it into the
 * zero page. Source: Documentation/x86/boot.rst, protocol 2.06 to 2.15.
 */
#include <asm/bootparam.h>
#include <assert.h>
#include <stddef.h>
#include <string.h>

#include "base/checked.h"
#include "monitor/boot/boot.h"
#include "monitor/layout.h"

enum {
	HEADER_AT = 0x1f1,
	MAGIC_AT = 0x202,
	BOOT_FLAG = 0xaa55,
	VERSION_OLDEST = 0x0206, /* cmdline_size */
	VERSION_PREF_ADDRESS = 0x020a,
	VERSION_XLOADFLAGS = 0x020c,
	ENTRY64 = 0x200, /* from the start of the protected-mode part */
	SECTOR = 512,
};
static_assert(offsetof(struct boot_params, hdr) == HEADER_AT, "zero page");

static int read_header(const struct boot_image *image, struct setup_header *hdr,
		       struct err *e)
{
	uint8_t jump[2];
	uint64_t end;
	int rc;

	memset(hdr, 0, sizeof(*hdr));
	if (image->size < MAGIC_AT + 6)
		return err_set(e, ERR_INVALID, "kernel_truncated", 0,
			       "the kernel file has only %llu bytes; fetch or "
			       "build it again",
			       (unsigned long long)image->size);
	/* The byte at 0x201 says how far the header reaches. */
	rc = boot_pread(image, 0x200, jump, sizeof(jump), e);
	if (rc < 0)
		return rc;
	end = MAGIC_AT + (uint64_t)jump[1];
	end = min_u64(end, HEADER_AT + sizeof(*hdr));
	rc = boot_pread(image, HEADER_AT, hdr, end - HEADER_AT, e);
	if (rc < 0)
		return rc;
	if (hdr->boot_flag != BOOT_FLAG || memcmp(&hdr->header, "HdrS", 4) != 0)
		return err_set(e, ERR_INVALID, "kernel_bad_format", 0,
			       "the kernel is neither ELF nor a bzImage");
	if (hdr->version < VERSION_OLDEST)
		return err_set(e, ERR_UNSUPPORTED, "kernel_bad_format", 0,
			       "boot protocol %x.%02x is too old, 2.06 is the "
			       "least",
			       hdr->version >> 8, hdr->version & 0xff);
	if (!(hdr->loadflags & LOADED_HIGH))
		return err_set(e, ERR_UNSUPPORTED, "kernel_bad_format", 0,
			       "a zImage (loaded low) cannot be started");
	return 0;
}

/* Where the kernel goes, and how much it needs there to unpack itself. */
static int place(struct boot_image *image, const struct setup_header *hdr,
		 uint64_t *ret_gpa, struct err *e)
{
	uint64_t setup =
		((uint64_t)(hdr->setup_sects ? hdr->setup_sects : 4) + 1) *
		SECTOR;
	uint64_t gpa = GPA_HIGH_START, len, room, sum;

	if (setup >= image->size)
		return err_set(e, ERR_INVALID, "kernel_truncated", 0,
			       "the kernel file ends inside its setup code");
	len = image->size - setup;
	/* syssize counts 16-byte units; older images keep only 16 bits. */
	if ((uint64_t)hdr->syssize * 16 > len + 15)
		return err_set(e, ERR_INVALID, "kernel_truncated", 0,
			       "the kernel file is cut short: %llu bytes of "
			       "%llu; fetch or build it again",
			       (unsigned long long)len,
			       (unsigned long long)hdr->syssize * 16);
	room = len;
	if (hdr->version >= VERSION_PREF_ADDRESS) {
		gpa = hdr->pref_address;
		if (hdr->init_size > room)
			room = hdr->init_size;
	}
	if (!checked_add(gpa, room, &sum) || gpa < GPA_HIGH_START)
		return err_set(e, ERR_INVALID, "kernel_bad_format", 0,
			       "the kernel asks for an impossible address");
	*ret_gpa = gpa;
	return boot_place(image, setup, gpa, len, room, e);
}

int boot_bzimage_load(struct boot_image *image, struct boot_entry *ret,
		      struct err *e)
{
	struct setup_header hdr;
	uint64_t gpa = 0;
	int rc = read_header(image, &hdr, e);

	if (rc < 0)
		return rc;
	rc = place(image, &hdr, &gpa, e);
	if (rc < 0)
		return rc;
	image->cmdline_max = hdr.cmdline_size;
	image->initrd_max = hdr.initrd_addr_max;
	if (hdr.version >= VERSION_XLOADFLAGS &&
	    (hdr.xloadflags & XLF_KERNEL_64)) {
		ret->protocol = "bzimage";
		ret->mode = BOOT_LONG;
		ret->ip = gpa + ENTRY64;
	} else {
		ret->protocol = "bzimage32";
		ret->mode = BOOT_PROTECTED;
		ret->ip = gpa;
	}
	return 0;
}

static void make_header(const struct boot_image *image,
			const struct boot_entry *entry,
			struct setup_header *hdr)
{
	struct err ignored = ERR_INIT;

	if (strncmp(entry->protocol, "bzimage", 7) == 0 &&
	    read_header(image, hdr, &ignored) == 0) {
		hdr->code32_start = (uint32_t)image->load_start;
		return;
	}
	/* An ELF kernel has no header: what Linux looks at. */
	memset(hdr, 0, sizeof(*hdr));
	hdr->boot_flag = BOOT_FLAG;
	memcpy(&hdr->header, "HdrS", 4);
	hdr->version = 0x020c;
	hdr->kernel_alignment = 0x1000000;
	hdr->loadflags = LOADED_HIGH;
}

int boot_linux_finish(const struct boot_info *info,
		      const struct boot_image *image, struct boot_entry *entry,
		      struct err *e)
{
	static_assert(sizeof(struct boot_params) == 4096, "zero page");
	struct boot_range map[BOOT_MAP_MAX];
	size_t count = boot_memory_map(info->mem, map);
	struct boot_params zero;

	memset(&zero, 0, sizeof(zero));
	make_header(image, entry, &zero.hdr);
	zero.hdr.type_of_loader = 0xff; /* a loader without a number */
	zero.hdr.cmd_line_ptr = (uint32_t)info->cmdline_gpa;
	zero.hdr.cmdline_size = (uint32_t)info->cmdline_len;
	zero.hdr.ramdisk_image = (uint32_t)info->initrd_gpa;
	zero.hdr.ramdisk_size = (uint32_t)info->initrd_len;
	zero.acpi_rsdp_addr = info->rsdp_gpa;
	for (size_t i = 0; i < count; i++)
		zero.e820_table[i] = (struct boot_e820_entry){
			.addr = map[i].start,
			.size = map[i].len,
			.type = map[i].type,
		};
	zero.e820_entries = (uint8_t)count;
	if (!guest_write(info->mem, GPA_ZERO_PAGE, &zero, sizeof(zero)))
		return err_set(e, ERR_LIMIT, "kernel_too_large", 0,
			       "the guest has no memory for boot structures");
	entry->si = GPA_ZERO_PAGE;
	return 0;
}
