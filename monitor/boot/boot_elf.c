/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ELF kernels: loads the PT_LOAD segments and looks for the PVH entry in the
 * notes. With the note the kernel starts in 32-bit mode by the PVH protocol,
 * without it a 64-bit kernel starts at its ELF entry by the 64-bit Linux
 * protocol.
 *
 * Sources: System V ABI, ELF-64 object file format; Xen's
 * docs/misc/pvh.pandoc and include/public/elfnote.h.
 */
#include <elf.h>
#include <string.h>

#include "base/checked.h"
#include "monitor/boot/boot.h"
#include "monitor/layout.h"

enum {
	PHDRS_MAX = 64, /* a vmlinux has five */
	NOTES_MAX = 64 * 1024, /* bytes searched in one PT_NOTE */
	NOTE_PHYS32_ENTRY = 18,
};

/* One program header in 64-bit form, whatever the class of the file. */
struct segment {
	uint32_t type;
	uint64_t offset, paddr, vaddr, file_len, mem_len;
};

struct elf {
	bool is64;
	uint64_t entry, phoff;
	unsigned phentsize, phnum;
};

static int bad(struct err *e, const char *what)
{
	return err_set(e, ERR_INVALID, "kernel_bad_format", 0,
		       "not a usable ELF kernel: %s", what);
}

static int wrong_arch(struct err *e, unsigned machine)
{
	return err_set(e, ERR_UNSUPPORTED, "kernel_wrong_arch", 0,
		       "the kernel is for another processor (ELF machine "
		       "%u%s), this host runs x86-64",
		       machine,
		       machine == EM_AARCH64 ? ", arm64"
		       : machine == EM_RISCV ? ", RISC-V"
		       : machine == EM_S390  ? ", s390"
		       : machine == EM_PPC64 ? ", POWER"
					     : "");
}

static int read_header64(const struct boot_image *image, struct elf *elf,
			 struct err *e)
{
	Elf64_Ehdr h;
	int rc = boot_pread(image, 0, &h, sizeof(h), e);

	if (rc < 0)
		return rc;
	if (h.e_machine != EM_X86_64)
		return wrong_arch(e, h.e_machine);
	if (h.e_type != ET_EXEC && h.e_type != ET_DYN)
		return bad(e, "it is an object file, not an executable");
	if (h.e_phentsize != sizeof(Elf64_Phdr))
		return bad(e, "its program headers have a strange size");
	*elf = (struct elf){ .is64 = true,
			     .entry = h.e_entry,
			     .phoff = h.e_phoff,
			     .phentsize = h.e_phentsize,
			     .phnum = h.e_phnum };
	return 0;
}

static int read_header32(const struct boot_image *image, struct elf *elf,
			 struct err *e)
{
	Elf32_Ehdr h;
	int rc = boot_pread(image, 0, &h, sizeof(h), e);

	if (rc < 0)
		return rc;
	if (h.e_machine != EM_386)
		return wrong_arch(e, h.e_machine);
	if (h.e_type != ET_EXEC)
		return bad(e, "it is not an executable");
	if (h.e_phentsize != sizeof(Elf32_Phdr))
		return bad(e, "its program headers have a strange size");
	*elf = (struct elf){ .entry = h.e_entry,
			     .phoff = h.e_phoff,
			     .phentsize = h.e_phentsize,
			     .phnum = h.e_phnum };
	return 0;
}

static int read_header(const struct boot_image *image, struct elf *elf,
		       struct err *e)
{
	uint8_t ident[EI_NIDENT];
	int rc = boot_pread(image, 0, ident, sizeof(ident), e);

	if (rc < 0)
		return rc;
	if (ident[EI_DATA] != ELFDATA2LSB)
		return err_set(e, ERR_UNSUPPORTED, "kernel_wrong_arch", 0,
			       "the kernel is big-endian, this host runs "
			       "x86-64");
	if (ident[EI_CLASS] == ELFCLASS64)
		rc = read_header64(image, elf, e);
	else if (ident[EI_CLASS] == ELFCLASS32)
		rc = read_header32(image, elf, e);
	else
		return bad(e, "neither 32 nor 64 bit");
	if (rc < 0)
		return rc;
	if (elf->phnum == 0 || elf->phnum > PHDRS_MAX)
		return bad(e, "no program headers, or too many");
	return 0;
}

static int read_segment(const struct boot_image *image, const struct elf *elf,
			unsigned index, struct segment *ret, struct err *e)
{
	uint64_t at;
	Elf64_Phdr p64;
	Elf32_Phdr p32;
	int rc;

	if (!checked_add(elf->phoff, (uint64_t)index * elf->phentsize, &at))
		return bad(e, "program headers past the end of the file");
	if (elf->is64) {
		rc = boot_pread(image, at, &p64, sizeof(p64), e);
		if (rc < 0)
			return rc;
		*ret =
			(struct segment){ p64.p_type,	p64.p_offset,
					  p64.p_paddr,	p64.p_vaddr,
					  p64.p_filesz, p64.p_memsz };
		return 0;
	}
	rc = boot_pread(image, at, &p32, sizeof(p32), e);
	if (rc < 0)
		return rc;
	*ret = (struct segment){ p32.p_type,  p32.p_offset, p32.p_paddr,
				 p32.p_vaddr, p32.p_filesz, p32.p_memsz };
	return 0;
}

/* Looks through one PT_NOTE; *ret_entry stays as it was without a PVH note. */
static int scan_notes(const struct boot_image *image,
		      const struct segment *segment, uint64_t *ret_entry,
		      struct err *e)
{
	uint64_t at = 0;
	uint64_t end = min_u64(segment->file_len, NOTES_MAX);

	while (range_fits(at, sizeof(Elf64_Nhdr), end)) {
		Elf64_Nhdr h;
		uint8_t name[4], desc[8] = { 0 };
		uint64_t desc_at, file_at;
		int rc;

		if (!checked_add(segment->offset, at, &file_at))
			return bad(e, "notes past the end of the file");
		rc = boot_pread(image, file_at, &h, sizeof(h), e);
		if (rc < 0)
			return rc;
		desc_at = at + sizeof(h) + (((uint64_t)h.n_namesz + 3) & ~3U);
		if (!range_fits(desc_at, h.n_descsz, end))
			return 0;
		if (h.n_type == NOTE_PHYS32_ENTRY && h.n_namesz == 4 &&
		    (h.n_descsz == 4 || h.n_descsz == 8)) {
			rc = boot_pread(image, file_at + sizeof(h), name, 4, e);
			if (rc < 0)
				return rc;
			rc = boot_pread(image, segment->offset + desc_at, desc,
					h.n_descsz, e);
			if (rc < 0)
				return rc;
			if (memcmp(name, "Xen", 4) == 0) {
				memcpy(ret_entry, desc, sizeof(*ret_entry));
				return 0;
			}
		}
		at = desc_at + (((uint64_t)h.n_descsz + 3) & ~3U);
	}
	return 0;
}

static int load_segments(struct boot_image *image, const struct elf *elf,
			 uint64_t *entry, uint64_t *pvh, struct err *e)
{
	for (unsigned i = 0; i < elf->phnum; i++) {
		struct segment s = { .type = PT_NULL };
		int rc = read_segment(image, elf, i, &s, e);

		if (rc < 0)
			return rc;
		if (s.type == PT_NOTE)
			rc = scan_notes(image, &s, pvh, e);
		else if (s.type == PT_LOAD && s.mem_len > 0)
			rc = boot_place(image, s.offset, s.paddr, s.file_len,
					s.mem_len, e);
		if (rc < 0)
			return rc;
		/* An entry given as a virtual address becomes physical. */
		if (s.type == PT_LOAD && elf->entry >= s.vaddr &&
		    elf->entry - s.vaddr < s.mem_len && s.vaddr != s.paddr)
			*entry = elf->entry - s.vaddr + s.paddr;
	}
	return 0;
}

int boot_elf_load(struct boot_image *image, struct boot_entry *ret,
		  struct err *e)
{
	struct elf elf = { .is64 = false };
	uint64_t pvh = 0, entry;
	int rc = read_header(image, &elf, e);

	if (rc < 0)
		return rc;
	entry = elf.entry;
	rc = load_segments(image, &elf, &entry, &pvh, e);
	if (rc < 0)
		return rc;
	if (image->load_end == 0)
		return bad(e, "it has nothing to load");
	if (pvh) {
		ret->protocol = "pvh";
		ret->mode = BOOT_PROTECTED;
		ret->ip = pvh;
	} else if (elf.is64) {
		ret->protocol = "elf64";
		ret->mode = BOOT_LONG;
		ret->ip = entry;
	} else {
		return err_set(e, ERR_UNSUPPORTED, "kernel_wrong_arch", 0,
			       "a 32-bit ELF kernel without a PVH note cannot "
			       "be started");
	}
	if (ret->ip < image->load_start || ret->ip >= image->load_end)
		return bad(e, "its entry point lies outside its segments");
	return 0;
}
