/* SPDX-License-Identifier: Apache-2.0 */
/* See machine_balloon.h. */
#include "monitor/machine/machine_balloon.h"

#include "base/checked.h"
#include "monitor/machine/machine_slot.h"
#include "virtio/balloon.h"

/* Names of Firecracker's balloon statistics. */
static const char *const stat_names[BALLOON_STATS] = {
	[BALLOON_SWAP_IN] = "swap_in",
	[BALLOON_SWAP_OUT] = "swap_out",
	[BALLOON_MAJOR_FAULTS] = "major_faults",
	[BALLOON_MINOR_FAULTS] = "minor_faults",
	[BALLOON_FREE] = "free_memory",
	[BALLOON_TOTAL] = "total_memory",
	[BALLOON_AVAILABLE] = "available_memory",
	[BALLOON_CACHES] = "disk_caches",
	[BALLOON_HUGE_ALLOCATED] = "hugetlb_allocations",
	[BALLOON_HUGE_FAILED] = "hugetlb_failures",
};

static void discard(void *ctx, void *host, size_t len)
{
	struct machine *m = ctx;

	vm_discard(&m->vm, host, len);
}

int machine_add_balloon(struct machine *m, struct err *e)
{
	const struct config_balloon *b = &m->config->balloon;
	const struct virtio_balloon_setup setup = {
		.amount_bytes = b->amount_mib << 20,
		.deflate_on_oom = b->deflate_on_oom,
		.reporting = b->reporting,
		.stats_seconds = b->stats_seconds,
		.discard = discard,
		.ctx = m,
	};
	int rc;

	if (!m->config->has_balloon)
		return 0;
	rc = virtio_balloon_new(&setup, &m->vm.mem, m->devices, &m->balloon, e);
	return rc < 0 ? rc : machine_slot_plug(m, m->balloon, e);
}

int machine_set_balloon(struct machine *m, uint64_t amount_mib, struct err *e)
{
	if (!m->balloon)
		return err_set(e, ERR_NOT_FOUND, "not_found", 0,
			       "the machine has no balloon: give its "
			       "configuration one");
	if (amount_mib >= m->vm.mem_bytes >> 20)
		return err_set(e, ERR_INVALID, "request_invalid", 0,
			       "the guest has %llu MiB: a balloon must leave "
			       "it some",
			       (unsigned long long)(m->vm.mem_bytes >> 20));
	virtio_balloon_set(m->balloon, amount_mib << 20);
	return 0;
}

json_t *machine_balloon_json(const struct machine *m)
{
	struct virtio_balloon_info info;
	json_t *o;

	if (!m->balloon)
		return NULL;
	virtio_balloon_read(m->balloon, &info);
	o = json_pack("{s:I, s:I, s:I}", "target_bytes",
		      (json_int_t)info.target_bytes, "actual_bytes",
		      (json_int_t)info.actual_bytes, "reported_bytes",
		      (json_int_t)info.reported_bytes);
	for (size_t i = 0; i < BALLOON_STATS; i++)
		if (info.known[i])
			(void)json_object_set_new(
				o, stat_names[i],
				json_integer((json_int_t)min_u64(info.stats[i],
								 INT64_MAX)));
	return o;
}
