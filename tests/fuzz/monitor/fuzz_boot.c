/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a kernel, for guests of an odd little amount of memory. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "monitor/boot/boot.h"
#include "monitor/layout.h"
#include "tests/must.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
	MEM = 4 << 20
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t *host;
	static int kernel = -1;
	struct guest_mem mem = { .count = 1 };
	struct boot_entry entry;
	struct err e = ERR_INIT;

	if (!host)
		host = malloc(MEM);
	if (kernel < 0)
		kernel = memfd_create("kernel", MFD_CLOEXEC);
	if (!host || kernel < 0 || ftruncate(kernel, 0) != 0 ||
	    pwrite(kernel, data, size, 0) != (ssize_t)size)
		abort();
	mem.regions[0] = (struct guest_region){ .len = MEM, .host = host };
	if (boot_load(&mem, kernel, kernel, "console=ttyS0", GPA_ACPI, &entry,
		      &e) < 0)
		must(e.code[0] && e.msg[0]);
	else
		must(entry.ip >= GPA_HIGH_START && entry.ip < MEM);
	return 0;
}
