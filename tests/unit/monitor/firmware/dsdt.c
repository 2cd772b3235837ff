/* SPDX-License-Identifier: Apache-2.0 */
/* The DSDT that a guest gets, on standard output: for test_dsdt.py. */
#include "../test.h"

#include <stdio.h>
#include <string.h>

#include "memory.h"
#include "monitor/firmware/acpi.h"
#include "monitor/layout.h"

int main(void)
{
	struct guest_mem mem = memory_new(2 << 20);
	struct acpi_machine machine = { .vcpu_count = 2, .virtio_count = 16 };
	struct err e = ERR_INIT;
	uint32_t len;
	const uint8_t *at = mem.regions[0].host + GPA_ACPI;

	for (uint32_t i = 0; i < 16; i++)
		machine.virtio_gsi[i] = i;
	if (acpi_write(&mem, &machine, &e) < 0)
		return 1;
	for (size_t i = 0; i < 0x8000; i += 16) {
		if (memcmp(at + i, "DSDT", 4) != 0)
			continue;
		memcpy(&len, at + i + 4, sizeof(len));
		return fwrite(at + i, len, 1, stdout) == 1 ? 0 : 1;
	}
	return 1;
}
