/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is the kernel one for this host's processor? Asked before anything is made or
 * started, the same for every engine: an engine would find out late (QEMU jumps
 * into whatever it was given) and in its own words.
 *
 * Only what is certainly for another processor is refused here; whether a file
 * is a usable kernel at all is for the engine to say.
 *
 * Sources: System V ABI, ELF header; Linux, Documentation/arm64/booting.rst and
 * Documentation/riscv/boot-image-header.rst (magic at offset 56).
 */
#include <elf.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "vmd/vm/vm.h"

enum {
	HEAD_BYTES = 64,
	MACHINE_OFFSET = 18, /* e_machine, in both classes */
	IMAGE_MAGIC_OFFSET = 56
};

static const char *elf_machine(const uint8_t head[HEAD_BYTES])
{
	uint16_t machine;

	if (head[EI_DATA] != ELFDATA2LSB)
		return "a big-endian processor";
	memcpy(&machine, head + MACHINE_OFFSET, sizeof(machine));
	switch (le16toh(machine)) {
	case EM_X86_64:
	case EM_386:
		return NULL;
	case EM_AARCH64:
		return "aarch64";
	case EM_ARM:
		return "arm";
	case EM_RISCV:
		return "riscv";
	default:
		return "another processor";
	}
}

/* The other processor that this is certainly for, or NULL. */
static const char *other_machine(const uint8_t head[HEAD_BYTES])
{
	if (memcmp(head, ELFMAG, SELFMAG) == 0)
		return elf_machine(head);
	if (memcmp(head + IMAGE_MAGIC_OFFSET, "ARM\x64", 4) == 0)
		return "aarch64";
	if (memcmp(head + IMAGE_MAGIC_OFFSET, "RSC\x05", 4) == 0)
		return "riscv";
	return NULL;
}

static int wrong(const struct image *image, const char *what, const char *arch,
		 const char *host, struct err *e)
{
	return err_set(e, ERR_UNSUPPORTED, "kernel_wrong_arch", 0,
		       "%s of image '%s' is for %s, this host runs %s guests: "
		       "build the image on a host of that kind, or take "
		       "another image",
		       what, image->name, arch, host);
}

int admit_kernel(const struct image *image, const char *path, struct err *e)
{
	AUTO(fd) int fd = -1;
	uint8_t head[HEAD_BYTES] = { 0 };
	struct utsname host;
	const char *other;

	if (uname(&host) < 0)
		return err_sys(e, errno, "asking for the host's processor");
	if (strcmp(image->arch, host.machine) != 0)
		return wrong(image, "the content", image->arch, host.machine,
			     e);
	fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 || pread(fd, head, sizeof(head), 0) < 0)
		return err_sys(e, errno, "reading the kernel of image '%s'",
			       image->name);
	other = other_machine(head);
	return other ? wrong(image, "the kernel", other, host.machine, e) : 0;
}
