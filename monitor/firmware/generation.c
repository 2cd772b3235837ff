/* SPDX-License-Identifier: Apache-2.0 */
/* See generation.h. */
#include "monitor/firmware/generation.h"

#include <errno.h>
#include <sys/random.h>

#include "monitor/layout.h"

int generation_write(const struct guest_mem *mem, struct err *e)
{
	uint8_t id[GENERATION_BYTES];

	if (getrandom(id, sizeof(id), 0) != (ssize_t)sizeof(id))
		return err_sys(e, errno, "making a VM generation ID");
	if (!guest_write(mem, GPA_GENERATION, id, sizeof(id)))
		return err_set(e, ERR_LIMIT, "kernel_too_large", 0,
			       "the guest has no memory for its generation ID");
	return 0;
}

void generation_describe(struct aml *a)
{
	/* Low half first. */
	static const uint64_t address[] = { GPA_GENERATION & UINT32_MAX,
					    GPA_GENERATION >> 32 };
	size_t device = aml_device(a, "VGEN");

	aml_name_string(a, "_HID", "VMDVGEN0");
	aml_name_string(a, "_CID", "VM_Gen_Counter");
	aml_name_string(a, "_DDN", "VM_Gen_Counter");
	aml_name_package(a, "ADDR", address, 2);
	aml_end(a, device);
}

void generation_notify(struct aml *a)
{
	enum {
		CHANGED = 0x80
	};

	aml_notify(a, "VGEN", CHANGED);
}
