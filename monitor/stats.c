/* SPDX-License-Identifier: Apache-2.0 */
/* See stats.h. */
#include "monitor/stats.h"

#include "base/checked.h"
#include "monitor/machine/machine_balloon.h"
#include "monitor/machine/machine_drives.h"

static const char *const exit_names[VCPU_EXIT_KINDS] = {
	[0] = "other",
	[KVM_EXIT_IO] = "io",
	[KVM_EXIT_HLT] = "hlt",
	[KVM_EXIT_MMIO] = "mmio",
	[KVM_EXIT_IRQ_WINDOW_OPEN] = "irq_window",
	[KVM_EXIT_SHUTDOWN] = "shutdown",
	[KVM_EXIT_FAIL_ENTRY] = "fail_entry",
	[KVM_EXIT_INTR] = "signal",
	[KVM_EXIT_INTERNAL_ERROR] = "internal_error",
	[KVM_EXIT_SYSTEM_EVENT] = "system_event",
	[KVM_EXIT_IOAPIC_EOI] = "ioapic_eoi",
};

/* Adds to what is there: several devices have one name. */
static void add(json_t *o, const char *name, uint64_t n)
{
	json_int_t have = json_integer_value(json_object_get(o, name));

	if (n)
		(void)json_object_set_new(o, name,
					  json_integer(have + (json_int_t)n));
}

static json_t *exits(const struct machine *m)
{
	json_t *o = json_object();

	for (unsigned i = 0; i < m->vcpu_count; i++)
		for (unsigned k = 0; k < VCPU_EXIT_KINDS; k++)
			add(o, exit_names[k] ? exit_names[k] : "other",
			    atomic_load_explicit(&m->vcpus[i].exits[k],
						 memory_order_relaxed));
	return o;
}

static json_t *accesses(const struct machine *m, bool writes)
{
	const struct bus *buses[] = { &m->ports, &m->mmio };
	json_t *o = json_object();

	for (size_t b = 0; b < ARRAY_LEN(buses); b++)
		for (size_t i = 0; i < buses[b]->count; i++)
			add(o, buses[b]->ranges[i].name,
			    (writes ? buses[b]->writes : buses[b]->reads)[i]);
	if (!writes)
		add(o, "nothing", m->ports.strays + m->mmio.strays);
	return o;
}

/* Those that are plugged: their callbacks' owners say which. */
static json_t *drives(const struct machine *m)
{
	json_t *o = json_object();

	for (unsigned i = 0; i < m->config->drive_count; i++) {
		const struct machine_drive *drive = &m->drives[i];

		if (drive->dev)
			(void)json_object_set_new(
				o, drive->config->drive_id,
				json_pack("{s:s, s:I}", "engine",
					  machine_drive_engine(drive),
					  "in_flight",
					  (json_int_t)drive->dev->in_flight));
	}
	return o;
}

json_t *stats_json(const struct machine *m)
{
	return json_pack("{s:o, s:o, s:o, s:o, s:o*, s:I}", "exits", exits(m),
			 "reads", accesses(m, false), "writes",
			 accesses(m, true), "drives", drives(m), "balloon",
			 machine_balloon_json(m), "messages",
			 (json_int_t)atomic_load_explicit(
				 &m->vm.messages, memory_order_relaxed));
}

const char *stats_backing(const struct machine *m)
{
	return m->vm.mem_fd < 0 ? "anonymous" : "memfd";
}
