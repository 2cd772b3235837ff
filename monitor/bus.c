/* SPDX-License-Identifier: Apache-2.0 */
/* The address decoder; see bus.h. */
#include "monitor/bus.h"

#include <string.h>

int bus_add(struct bus *bus, const struct bus_range *range, struct err *e)
{
	size_t at = 0;

	if (bus->count == BUS_RANGES_MAX)
		return err_set(e, ERR_INTERNAL, "bus_full", 0,
			       "no room on the bus for %s", range->name);
	if (range->len == 0 || range->base + range->len < range->base)
		return err_set(e, ERR_INTERNAL, "bus_range", 0,
			       "impossible address range of %s", range->name);
	while (at < bus->count && bus->ranges[at].base < range->base)
		at++;
	if ((at > 0 && bus->ranges[at - 1].base + bus->ranges[at - 1].len >
			       range->base) ||
	    (at < bus->count &&
	     range->base + range->len > bus->ranges[at].base))
		return err_set(e, ERR_INTERNAL, "bus_overlap", 0,
			       "%s overlaps another device", range->name);
	memmove(&bus->ranges[at + 1], &bus->ranges[at],
		(bus->count - at) * sizeof(bus->ranges[0]));
	bus->ranges[at] = *range;
	bus->count++;
	return 0;
}

static const struct bus_range *find(const struct bus *bus, uint64_t addr,
				    uint32_t len)
{
	size_t low = 0, high = bus->count;

	while (low < high) {
		size_t mid = (low + high) / 2;
		const struct bus_range *r = &bus->ranges[mid];

		if (addr < r->base)
			high = mid;
		else if (addr - r->base >= r->len)
			low = mid + 1;
		else
			return len <= r->len - (addr - r->base) ? r : NULL;
	}
	return NULL;
}

void bus_read(struct bus *bus, uint64_t addr, void *data, uint32_t len)
{
	const struct bus_range *r = find(bus, addr, len);
	struct bus_access access = { .data = data, .len = len };

	if (!r) {
		bus->strays++;
		memset(data, 0xff, len);
		return;
	}
	bus->reads[r - bus->ranges]++;
	memset(data, 0, len);
	access.offset = addr - r->base;
	if (r->read)
		r->read(r->device, &access);
}

void bus_write(struct bus *bus, uint64_t addr, void *data, uint32_t len)
{
	const struct bus_range *r = find(bus, addr, len);
	struct bus_access access = { .data = data, .len = len };

	if (!r) {
		bus->strays++;
		return;
	}
	bus->writes[r - bus->ranges]++;
	access.offset = addr - r->base;
	if (r->write)
		r->write(r->device, &access);
}
