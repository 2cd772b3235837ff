/* SPDX-License-Identifier: Apache-2.0 */
#include "../test.h"

#include <asm/bootparam.h>
#include <elf.h>
#include <stdlib.h>
#include <string.h>

#include "memory.h"
#include "monitor/boot/boot.h"
#include "monitor/layout.h"

enum {
	MEM = 32 << 20,
	IMAGE_MAX = 64 * 1024
};

/* A little ELF kernel: header, a segment, a PVH note; parts can be spoilt. */
struct fake_elf {
	Elf64_Ehdr h;
	Elf64_Phdr load, note;
	Elf64_Nhdr note_head;
	char note_name[4];
	uint32_t note_entry;
	uint8_t code[64];
};

static struct fake_elf make_elf(void)
{
	struct fake_elf f;

	memset(&f, 0, sizeof(f));
	memcpy(f.h.e_ident, ELFMAG, SELFMAG);
	f.h.e_ident[EI_CLASS] = ELFCLASS64;
	f.h.e_ident[EI_DATA] = ELFDATA2LSB;
	f.h.e_type = ET_EXEC;
	f.h.e_machine = EM_X86_64;
	f.h.e_entry = 0x200000;
	f.h.e_phoff = offsetof(struct fake_elf, load);
	f.h.e_phentsize = sizeof(Elf64_Phdr);
	f.h.e_phnum = 2;
	f.load = (Elf64_Phdr){ .p_type = PT_LOAD,
			       .p_offset = offsetof(struct fake_elf, code),
			       .p_paddr = 0x200000,
			       .p_vaddr = 0x200000,
			       .p_filesz = sizeof(f.code),
			       .p_memsz = 0x1000 };
	f.note = (Elf64_Phdr){
		.p_type = PT_NOTE,
		.p_offset = offsetof(struct fake_elf, note_head),
		.p_filesz = sizeof(Elf64_Nhdr) + 8,
	};
	f.note_head = (Elf64_Nhdr){ 4, 4, 18 };
	memcpy(f.note_name, "Xen", 4);
	f.note_entry = 0x200010;
	memset(f.code, 0xcc, sizeof(f.code));
	return f;
}

struct result {
	int rc;
	struct err e;
	struct boot_entry entry;
	struct guest_mem mem;
};

static struct result load_with(const void *image, size_t len, uint64_t mem,
			       const char *cmdline, size_t initrd_len)
{
	struct result r = { .e = ERR_INIT, .mem = memory_new(mem) };
	int kernel = file_of(image, len), initrd = -1;
	char *initrd_bytes = NULL;

	if (initrd_len) {
		initrd_bytes = calloc(1, initrd_len);
		assert_non_null(initrd_bytes);
		initrd_bytes[0] = 'I';
		initrd = file_of(initrd_bytes, initrd_len);
	}
	r.rc = boot_load(&r.mem, kernel, initrd, cmdline, GPA_ACPI, &r.entry,
			 &r.e);
	free(initrd_bytes);
	close(kernel);
	if (initrd >= 0)
		close(initrd);
	return r;
}

static struct result load(const void *image, size_t len)
{
	return load_with(image, len, MEM, "a=b", 0);
}

static void expect_code(struct result r, const char *code)
{
	if (r.rc == 0)
		fail_msg("taken, wanted %s", code);
	assert_string_equal(r.e.code, code);
	memory_free(&r.mem);
}

static void test_elf_with_note_boots_by_pvh(void **state)
{
	struct fake_elf f = make_elf();
	struct result r = load_with(&f, sizeof(f), MEM, "a=b", 5000);
	uint32_t words[16];
	uint64_t module;

	(void)state;
	assert_int_equal(r.rc, 0);
	assert_string_equal(r.entry.protocol, "pvh");
	assert_int_equal(r.entry.mode, BOOT_PROTECTED);
	assert_int_equal(r.entry.ip, 0x200010);
	assert_true(guest_read(&r.mem, r.entry.bx, words, sizeof(words)));
	assert_int_equal(words[0], 0x336ec578);
	assert_int_equal(words[3], 1);
	assert_int_equal(words[8], GPA_ACPI);
	assert_true(guest_read(&r.mem, words[4], &module, 8));
	assert_int_equal(r.mem.regions[0].host[module], 'I');
	assert_int_equal(module % 4096, 0);
	assert_int_equal(r.mem.regions[0].host[0x200000], 0xcc);
	assert_string_equal((char *)r.mem.regions[0].host + words[6], "a=b");
	memory_free(&r.mem);
}

static void test_elf_without_note_boots_by_linux_protocol(void **state)
{
	struct fake_elf f = make_elf();
	struct boot_params *zero;
	struct result r;

	(void)state;
	f.note_name[0] = 'Y';
	r = load(&f, sizeof(f));
	assert_int_equal(r.rc, 0);
	assert_string_equal(r.entry.protocol, "elf64");
	assert_int_equal(r.entry.mode, BOOT_LONG);
	assert_int_equal(r.entry.ip, 0x200000);
	zero = (void *)(r.mem.regions[0].host + r.entry.si);
	assert_int_equal(zero->hdr.boot_flag, 0xaa55);
	assert_int_equal(zero->hdr.cmd_line_ptr, GPA_CMDLINE);
	assert_int_equal(zero->acpi_rsdp_addr, GPA_ACPI);
	assert_int_equal(zero->e820_entries, 3);
	assert_int_equal(zero->e820_table[2].addr, 1 << 20);
	assert_int_equal(zero->e820_table[2].size, MEM - (1 << 20));
	memory_free(&r.mem);
}

static void test_elf_virtual_entry_becomes_physical(void **state)
{
	struct fake_elf f = make_elf();
	struct result r;

	(void)state;
	f.note_name[0] = 'Y';
	f.load.p_vaddr = 0xffffffff81000000;
	f.h.e_entry = 0xffffffff81000020;
	r = load(&f, sizeof(f));
	assert_int_equal(r.rc, 0);
	assert_int_equal(r.entry.ip, 0x200020);
	memory_free(&r.mem);
}

static void test_elf_wrong_machine_refused(void **state)
{
	struct fake_elf f = make_elf();
	struct fake_elf big = make_elf();

	(void)state;
	f.h.e_machine = EM_AARCH64;
	expect_code(load(&f, sizeof(f)), "kernel_wrong_arch");
	big.h.e_ident[EI_DATA] = ELFDATA2MSB;
	expect_code(load(&big, sizeof(big)), "kernel_wrong_arch");
}

static void test_elf_hostile_headers_refused(void **state)
{
	static const struct {
		size_t offset, len;
		uint64_t value;
		const char *code;
	} spoil[] = {
#define FIELD(f) offsetof(struct fake_elf, f), sizeof(((struct fake_elf *)0)->f)
		{ FIELD(h.e_phoff), UINT64_MAX, "kernel_truncated" },
		{ FIELD(h.e_phoff), 1 << 20, "kernel_truncated" },
		{ FIELD(h.e_phnum), 0, "kernel_bad_format" },
		{ FIELD(h.e_phnum), 0xffff, "kernel_bad_format" },
		{ FIELD(h.e_phentsize), 1, "kernel_bad_format" },
		{ FIELD(h.e_type), ET_REL, "kernel_bad_format" },
		{ FIELD(load.p_filesz), UINT64_MAX, "kernel_bad_format" },
		{ FIELD(load.p_filesz), 0x1000, "kernel_truncated" },
		{ FIELD(load.p_offset), UINT64_MAX, "kernel_truncated" },
		{ FIELD(load.p_memsz), UINT64_MAX, "kernel_bad_format" },
		{ FIELD(load.p_memsz), 0x10, "kernel_bad_format" },
		{ FIELD(load.p_memsz), MEM, "kernel_too_large" },
		{ FIELD(load.p_paddr), UINT64_MAX - 5, "kernel_bad_format" },
		{ FIELD(load.p_paddr), 0x1000, "kernel_bad_format" },
		{ FIELD(load.p_paddr), 0xc0000000, "kernel_too_large" },
		{ FIELD(load.p_type), PT_NULL, "kernel_bad_format" },
		{ FIELD(note.p_offset), UINT64_MAX - 4, "kernel_truncated" },
		{ FIELD(note_entry), 0x100, "kernel_bad_format" },
		{ FIELD(note_entry), 0x201000, "kernel_bad_format" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(spoil) / sizeof(spoil[0]); i++) {
		struct fake_elf f = make_elf();
		struct result r;

		memcpy((uint8_t *)&f + spoil[i].offset, &spoil[i].value,
		       spoil[i].len);
		r = load(&f, sizeof(f));
		if (r.rc == 0 || strcmp(r.e.code, spoil[i].code) != 0)
			fail_msg("case %zu: %d \"%s\", wanted %s", i, r.rc,
				 r.e.code, spoil[i].code);
		memory_free(&r.mem);
	}
}

static void test_elf_every_cut_refused(void **state)
{
	struct fake_elf f = make_elf();

	(void)state;
	for (size_t len = 0; len < sizeof(f); len += 7)
		expect_code(load(&f, len), "kernel_truncated");
}

/* A bzImage of two setup sectors and 4 KiB of kernel. */
static uint8_t *make_bzimage(struct setup_header *change)
{
	uint8_t *image = calloc(1, IMAGE_MAX);
	struct setup_header hdr = {
		.setup_sects = 2,
		.syssize = 4096 / 16,
		.boot_flag = 0xaa55,
		.jump = 0x66eb,
		.header = 0x53726448,
		.version = 0x020f,
		.loadflags = LOADED_HIGH,
		.xloadflags = XLF_KERNEL_64,
		.cmdline_size = 255,
		.initrd_addr_max = 0x7fffffff,
		.pref_address = 0x1000000,
		.init_size = 0x100000,
	};

	assert_non_null(image);
	if (change->boot_flag)
		hdr = *change;
	*change = hdr;
	memcpy(image + 0x1f1, &hdr, sizeof(hdr));
	memset(image + 3 * 512, 0x90, 4096);
	return image;
}

enum {
	BZ_LEN = 3 * 512 + 4096
};

static void test_bzimage_boots_at_its_64_bit_entry(void **state)
{
	struct setup_header hdr = { .boot_flag = 0 };
	uint8_t *image = make_bzimage(&hdr);
	struct result r = load_with(image, BZ_LEN, MEM, "x", 100);
	struct boot_params *zero;

	(void)state;
	assert_int_equal(r.rc, 0);
	assert_string_equal(r.entry.protocol, "bzimage");
	assert_int_equal(r.entry.ip, 0x1000200);
	zero = (void *)(r.mem.regions[0].host + r.entry.si);
	assert_int_equal(zero->hdr.version, 0x020f);
	assert_int_equal(zero->hdr.type_of_loader, 0xff);
	assert_int_equal(zero->hdr.ramdisk_size, 100);
	assert_int_equal(zero->hdr.code32_start, 0x1000000);
	assert_int_equal(r.mem.regions[0].host[0x1000000], 0x90);
	memory_free(&r.mem);
	free(image);
}

static void test_bzimage_without_64_bit_entry_uses_the_other(void **state)
{
	struct setup_header hdr = { .boot_flag = 0 };
	uint8_t *image = make_bzimage(&hdr);
	struct result r;

	(void)state;
	free(image);
	hdr.xloadflags = 0;
	image = make_bzimage(&hdr);
	r = load(image, BZ_LEN);
	assert_int_equal(r.rc, 0);
	assert_int_equal(r.entry.mode, BOOT_PROTECTED);
	assert_int_equal(r.entry.ip, 0x1000000);
	memory_free(&r.mem);
	free(image);
}

static void test_bzimage_hostile_headers_refused(void **state)
{
	struct setup_header good = { .boot_flag = 0 }, hdr;
	uint8_t *image = make_bzimage(&good);

	(void)state;
	expect_code(load(image, 600), "kernel_truncated");
	expect_code(load(image, 3), "kernel_truncated");
	expect_code(load(image, BZ_LEN - 100), "kernel_truncated");
	expect_code(load(image, 3 * 512), "kernel_truncated");
	memset(image + 0x202, 0, 4);
	expect_code(load(image, BZ_LEN), "kernel_bad_format");
	free(image);
#define SPOIL(change, code)                             \
	do {                                            \
		hdr = good;                             \
		hdr.change;                             \
		image = make_bzimage(&hdr);             \
		expect_code(load(image, BZ_LEN), code); \
		free(image);                            \
	} while (0)
	SPOIL(version = 0x0200, "kernel_bad_format");
	SPOIL(loadflags = 0, "kernel_bad_format");
	SPOIL(setup_sects = 255, "kernel_truncated");
	SPOIL(pref_address = 0, "kernel_bad_format");
	SPOIL(pref_address = UINT64_MAX, "kernel_bad_format");
	SPOIL(pref_address = UINT64_C(1) << 40, "kernel_too_large");
	SPOIL(init_size = 0xffffffff, "kernel_too_large");
	SPOIL(cmdline_size = 1, "cmdline_too_long");
#undef SPOIL
}

static void test_not_a_kernel_refused(void **state)
{
	char text[2048];

	(void)state;
	memset(text, 'x', sizeof(text));
	expect_code(load(text, sizeof(text)), "kernel_bad_format");
	expect_code(load(text, 0), "kernel_truncated");
}

static void test_initrd_without_room_refused(void **state)
{
	struct fake_elf f = make_elf();

	(void)state;
	expect_code(load_with(&f, sizeof(f), MEM, "", MEM), "initrd_too_large");
	expect_code(load_with(&f, sizeof(f), MEM, "", MEM - 0x201000 + 1),
		    "initrd_too_large");
}

static void test_cmdline_limit_is_exact(void **state)
{
	struct fake_elf f = make_elf();
	char line[2049];
	struct result r;

	(void)state;
	memset(line, 'a', sizeof(line));
	line[2047] = '\0';
	r = load_with(&f, sizeof(f), MEM, line, 0);
	assert_int_equal(r.rc, 0);
	memory_free(&r.mem);
	line[2047] = 'a';
	line[2048] = '\0';
	expect_code(load_with(&f, sizeof(f), MEM, line, 0), "cmdline_too_long");
}

static void test_memory_map_splits_at_the_hole(void **state)
{
	uint8_t byte;
	struct guest_mem mem = {
		.regions = { { 0, GPA_HOLE_START, &byte },
			     { GPA_HOLE_END, 1 << 30, &byte } },
		.count = 2,
	};
	struct boot_range map[BOOT_MAP_MAX];

	(void)state;
	assert_int_equal(boot_memory_map(&mem, map), 4);
	assert_int_equal(map[0].len, GPA_LOW_END);
	assert_int_equal(map[1].type, BOOT_RESERVED);
	assert_int_equal(map[2].start + map[2].len, GPA_HOLE_START);
	assert_int_equal(map[3].start, GPA_HOLE_END);
	assert_int_equal(map[3].len, 1 << 30);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_elf_with_note_boots_by_pvh),
		cmocka_unit_test(test_elf_without_note_boots_by_linux_protocol),
		cmocka_unit_test(test_elf_virtual_entry_becomes_physical),
		cmocka_unit_test(test_elf_wrong_machine_refused),
		cmocka_unit_test(test_elf_hostile_headers_refused),
		cmocka_unit_test(test_elf_every_cut_refused),
		cmocka_unit_test(test_bzimage_boots_at_its_64_bit_entry),
		cmocka_unit_test(
			test_bzimage_without_64_bit_entry_uses_the_other),
		cmocka_unit_test(test_bzimage_hostile_headers_refused),
		cmocka_unit_test(test_not_a_kernel_refused),
		cmocka_unit_test(test_initrd_without_room_refused),
		cmocka_unit_test(test_cmdline_limit_is_exact),
		cmocka_unit_test(test_memory_map_splits_at_the_hole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
