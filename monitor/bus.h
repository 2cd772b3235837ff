/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A bus: a sorted table of address ranges with a device behind each. There is
 * one for I/O ports and one for MMIO. Built before the guest runs, then constant;
 * accesses are made under the machine lock.
 *
 * The guest controls address, data, length and direction.
 */
#ifndef MONITOR_BUS_H
#define MONITOR_BUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum {
	BUS_RANGES_MAX = 32
};

struct bus_access {
	uint64_t offset; /* from the start of the range */
	void *data;
	uint32_t len; /* 1, 2, 4 or 8; stays inside the range */
};

typedef void bus_fn(void *device, const struct bus_access *access);

struct bus_range {
	uint64_t base, len;
	const char *name;
	bus_fn *read; /* fills data; NULL: reads give zeros */
	bus_fn *write; /* NULL: writes are ignored */
	void *device;
};

struct bus {
	struct bus_range ranges[BUS_RANGES_MAX];
	uint64_t reads[BUS_RANGES_MAX]; /* accesses so far, of each range */
	uint64_t writes[BUS_RANGES_MAX];
	size_t count;
	uint64_t strays; /* accesses that met no device */
};

/* Refuses empty, overflowing and overlapping ranges (ERR_INTERNAL). */
int bus_add(struct bus *bus, const struct bus_range *range, struct err *e);

/*
 * One access. What meets no device, or leaves its range, reads as all ones (as
 * an empty bus does) and is counted.
 */
void bus_read(struct bus *bus, uint64_t addr, void *data, uint32_t len);
void bus_write(struct bus *bus, uint64_t addr, void *data, uint32_t len);

#endif
