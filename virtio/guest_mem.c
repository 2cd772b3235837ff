/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The gate to guest memory. A range check here is the only thing between an
 * address chosen by the guest and the monitor's own memory, so it is written
 * with subtractions that cannot wrap and nothing else computes host addresses.
 */
#include "virtio/guest_mem.h"

#include <string.h>

#include "base/checked.h"

void *guest_slice(const struct guest_mem *mem, uint64_t gpa, uint64_t len)
{
	if (!len)
		return NULL;
	for (size_t i = 0; i < mem->count; i++) {
		const struct guest_region *r = &mem->regions[i];

		if (gpa >= r->gpa && range_fits(gpa - r->gpa, len, r->len))
			return r->host + (gpa - r->gpa);
	}
	return NULL;
}

/*
 * The compiler must take the copy now: without this it may read the guest's
 * bytes a second time, after they were checked.
 */
static void forget_guest_bytes(void)
{
	__asm__ volatile("" ::: "memory");
}

bool guest_read(const struct guest_mem *mem, uint64_t gpa, void *dst,
		size_t len)
{
	const void *src = guest_slice(mem, gpa, len);

	if (!src)
		return len == 0;
	memcpy(dst, src, len);
	forget_guest_bytes();
	return true;
}

bool guest_write(const struct guest_mem *mem, uint64_t gpa, const void *src,
		 size_t len)
{
	void *dst = guest_slice(mem, gpa, len);

	if (!dst)
		return len == 0;
	memcpy(dst, src, len);
	forget_guest_bytes();
	return true;
}
