/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The steps common to all boot protocols: recognise the kernel, place command
 * line and initial RAM disk, memory map.
 */
#include "monitor/boot/boot.h"

#include <elf.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/file.h"
#include "monitor/layout.h"

enum {
	PAGE = 4096
};

int boot_pread(const struct boot_image *image, uint64_t offset, void *data,
	       uint64_t len, struct err *e)
{
	int rc;

	if (!range_fits(offset, len, image->size))
		return err_set(e, ERR_INVALID, "kernel_truncated", 0,
			       "the kernel file is cut short: %llu bytes at "
			       "%llu are missing; fetch or build it again",
			       (unsigned long long)len,
			       (unsigned long long)offset);
	rc = file_pread_full(image->fd, data, len, offset);
	if (rc < 0)
		return err_sys(e, -rc, "reading the kernel");
	return 0;
}

static int too_large(uint64_t end, struct err *e)
{
	return err_set(e, ERR_LIMIT, "kernel_too_large", 0,
		       "the kernel needs guest memory up to %llu MiB: give "
		       "the guest more memory",
		       (unsigned long long)(end >> 20) + 1);
}

int boot_place(struct boot_image *image, uint64_t offset, uint64_t gpa,
	       uint64_t file_len, uint64_t mem_len, struct err *e)
{
	uint64_t end;
	uint8_t *host;

	if (file_len > mem_len || !checked_add(gpa, mem_len, &end))
		return err_set(e, ERR_INVALID, "kernel_bad_format", 0,
			       "a segment of the kernel has impossible sizes");
	if (gpa < GPA_HIGH_START)
		return err_set(e, ERR_UNSUPPORTED, "kernel_bad_format", 0,
			       "the kernel wants to lie below 1 MiB, which is "
			       "kept for boot structures");
	host = guest_slice(image->mem, gpa, mem_len);
	if (!host)
		return too_large(end, e);
	if (image->load_end == 0 || gpa < image->load_start)
		image->load_start = gpa;
	if (end > image->load_end)
		image->load_end = end;
	/* What the file does not fill is zero already: memory is fresh. */
	if (file_len == 0)
		return 0;
	return boot_pread(image, offset, host, file_len, e);
}

size_t boot_memory_map(const struct guest_mem *mem,
		       struct boot_range ret[BOOT_MAP_MAX])
{
	size_t n = 0;

	ret[n++] = (struct boot_range){ 0, GPA_LOW_END, BOOT_RAM };
	ret[n++] =
		(struct boot_range){ GPA_LOW_END, GPA_HIGH_START - GPA_LOW_END,
				     BOOT_RESERVED };
	for (size_t i = 0; i < mem->count; i++) {
		const struct guest_region *r = &mem->regions[i];
		uint64_t start = i == 0 ? GPA_HIGH_START : r->gpa;

		if (r->gpa + r->len <= start)
			continue;
		ret[n++] = (struct boot_range){ start, r->gpa + r->len - start,
						BOOT_RAM };
	}
	return n;
}

static int place_initrd(struct boot_image *image, int fd,
			struct boot_info *info, struct err *e)
{
	uint64_t top =
		min_u64(image->mem->regions[0].len, image->initrd_max + 1);
	uint64_t start, len;
	struct stat st;
	int rc;

	if (fstat(fd, &st) != 0)
		return err_sys(e, errno, "initrd");
	if (!S_ISREG(st.st_mode) || st.st_size == 0)
		return err_set(e, ERR_INVALID, "initrd_missing", 0,
			       "the initrd is empty or not a regular file");
	len = (uint64_t)st.st_size;
	start = len < top ? (top - len) & ~(uint64_t)(PAGE - 1) : 0;
	if (start < image->load_end || start < GPA_HIGH_START)
		return err_set(e, ERR_LIMIT, "initrd_too_large", 0,
			       "an initrd of %llu MiB does not fit beside the "
			       "kernel: give the guest more memory",
			       (unsigned long long)(len >> 20) + 1);
	rc = file_pread_full(fd, guest_slice(image->mem, start, len), len, 0);
	if (rc < 0)
		return err_sys(e, -rc, "reading the initrd");
	info->initrd_gpa = start;
	info->initrd_len = len;
	return 0;
}

static int place_cmdline(const struct boot_image *image, const char *cmdline,
			 struct boot_info *info, struct err *e)
{
	size_t len = strlen(cmdline);

	if (len > image->cmdline_max || len >= CMDLINE_MAX)
		return err_set(e, ERR_INVALID, "cmdline_too_long", 0,
			       "the kernel command line has %zu bytes, this "
			       "kernel takes %llu",
			       len, (unsigned long long)image->cmdline_max);
	if (!guest_write(image->mem, GPA_CMDLINE, cmdline, len + 1))
		return too_large(GPA_HIGH_START, e);
	info->cmdline_gpa = GPA_CMDLINE;
	info->cmdline_len = len;
	return 0;
}

static int load_kernel(struct boot_image *image, struct boot_entry *ret,
		       struct err *e)
{
	uint8_t head[SELFMAG];
	struct stat st;
	int rc;

	if (fstat(image->fd, &st) != 0)
		return err_sys(e, errno, "kernel");
	if (!S_ISREG(st.st_mode))
		return err_set(e, ERR_INVALID, "kernel_bad_format", 0,
			       "the kernel is not a regular file");
	image->size = (uint64_t)st.st_size;
	rc = boot_pread(image, 0, head, sizeof(head), e);
	if (rc < 0)
		return rc;
	if (memcmp(head, ELFMAG, SELFMAG) == 0)
		return boot_elf_load(image, ret, e);
	return boot_bzimage_load(image, ret, e);
}

int boot_load(const struct guest_mem *mem, int kernel_fd, int initrd_fd,
	      const char *cmdline, uint64_t rsdp_gpa, struct boot_entry *ret,
	      struct err *e)
{
	struct boot_image image = {
		.mem = mem,
		.fd = kernel_fd,
		.initrd_max = 0x7fffffff,
		.cmdline_max = 2047, /* COMMAND_LINE_SIZE of x86 Linux */
	};
	struct boot_info info = { .mem = mem, .rsdp_gpa = rsdp_gpa };
	struct boot_entry entry = { .protocol = NULL };
	int rc = load_kernel(&image, &entry, e);

	if (rc == 0)
		rc = place_cmdline(&image, cmdline, &info, e);
	if (rc == 0 && initrd_fd >= 0)
		rc = place_initrd(&image, initrd_fd, &info, e);
	if (rc == 0)
		rc = strcmp(entry.protocol, "pvh") == 0
			     ? boot_pvh_finish(&info, &entry, e)
			     : boot_linux_finish(&info, &image, &entry, e);
	if (rc < 0)
		return rc;
	*ret = entry;
	return 0;
}
