/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest memory: the one checked gate. A gpa and a length from the guest go in;
 * a host pointer comes out only when the whole range lies in one region.
 * The guest may change the bytes at any time: copy first, then check.
 */
#ifndef VIRTIO_GUEST_MEM_H
#define VIRTIO_GUEST_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	GUEST_REGIONS_MAX = 4
};

struct guest_region {
	uint64_t gpa;
	uint64_t len;
	uint8_t *host; /* mapping owned by the monitor (or a test) */
};

/* Immutable while devices run. Regions are sorted and do not overlap. */
struct guest_mem {
	struct guest_region regions[GUEST_REGIONS_MAX];
	size_t count;
};

/* Host address of [gpa, gpa + len), or NULL. len 0 gives NULL. */
void *guest_slice(const struct guest_mem *mem, uint64_t gpa, uint64_t len);

/* Copies; false unless the whole range lies in one region (len 0: true). */
bool guest_read(const struct guest_mem *mem, uint64_t gpa, void *dst,
		size_t len);
bool guest_write(const struct guest_mem *mem, uint64_t gpa, const void *src,
		 size_t len);

#endif
