/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cgroup of a VM that runs, and whom its processes are: one row of the journal,
 * written before either exists. vmd-priv makes the cgroup with the first process
 * (priv/cgroups.h); here it is asked to remove it when no process is left, and
 * told whether memory was out, which is how such an end is known.
 *
 * A process that was killed may take a moment to go, and vmd-priv may be away: a
 * cgroup that is not gone yet is asked for again, less and less often.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/parse.h"
#include "vmd/priv/privops.h"
#include "vmd/vm/vm.h"

enum {
	AGAIN_MS = 100,
	AGAIN_MAX_MS = 30000
};

/* One that has to go; of a VM that may be gone itself. */
struct cgroup_left {
	char id[ID_LEN + 1];
	LIST_ENTRY(cgroup_left) link;
};

static void forget_row(struct daemon *d, const char *id)
{
	struct err e = ERR_INIT;

	if (store_journal_remove(d->store, id, JOURNAL_CGROUP, NULL, &e) < 0)
		log_vm(LOG_LEVEL_ERROR, id, "%s", e.msg);
}

/* True when it is gone. */
static bool try_end(const char *id, struct privops_cgroup_end *ret)
{
	struct err e = ERR_INIT;

	if (privops_cgroup_end(id, ret, &e) < 0)
		log_vm(LOG_LEVEL_WARN, id, "%s", e.msg);
	return ret->gone;
}

static void on_again(struct loop_timer *timer)
{
	struct daemon *d = timer->data;
	struct cgroup_left *left, *next;
	struct privops_cgroup_end end;

	for (left = LIST_FIRST(&d->cgroups_left); left; left = next) {
		next = LIST_NEXT(left, link);
		if (!try_end(left->id, &end))
			continue;
		forget_row(d, left->id);
		LIST_REMOVE(left, link);
		free(left);
	}
	if (LIST_EMPTY(&d->cgroups_left))
		return;
	d->cgroups_again_ms *= 2;
	if (d->cgroups_again_ms > AGAIN_MAX_MS)
		d->cgroups_again_ms = AGAIN_MAX_MS;
	loop_timer_arm(&d->cgroups_again, d->cgroups_again_ms);
}

void vm_cgroups_init(struct daemon *d)
{
	LIST_INIT(&d->cgroups_left);
	loop_timer_init(d->loop, &d->cgroups_again, on_again, d);
}

static void drop_left(struct daemon *d, const char *id)
{
	struct cgroup_left *left, *next;

	for (left = LIST_FIRST(&d->cgroups_left); left; left = next) {
		next = LIST_NEXT(left, link);
		if (id && strcmp(left->id, id) != 0)
			continue;
		LIST_REMOVE(left, link);
		free(left);
	}
}

void vm_cgroups_done(struct daemon *d)
{
	loop_timer_disarm(&d->cgroups_again);
	drop_left(d, NULL);
}

static void end_later(struct daemon *d, const char *id)
{
	struct cgroup_left *left = calloc(1, sizeof(*left));

	/* Its row stays: the next daemon will see to it. */
	if (!left)
		return;
	memcpy(left->id, id, sizeof(left->id));
	LIST_INSERT_HEAD(&d->cgroups_left, left, link);
	d->cgroups_again_ms = AGAIN_MS;
	loop_timer_arm(&d->cgroups_again, AGAIN_MS);
}

void vm_cgroup_end_of(struct daemon *d, const char *id, struct cgroup_oom *ret)
{
	struct privops_cgroup_end end;

	if (try_end(id, &end))
		forget_row(d, id);
	else
		end_later(d, id);
	*ret = end.oom;
}

int vm_cgroup_begin(struct vm *vm, struct err *e)
{
	struct journal_row row = { .kind = JOURNAL_CGROUP };
	struct daemon *d = vm->daemon;
	int rc;

	/* That of an earlier run makes room when this one is made. */
	drop_left(d, vm->row.id);
	vm->oom = (struct cgroup_oom){ 0 };
	memcpy(row.owner, vm->row.id, sizeof(row.owner));
	(void)snprintf(row.name, sizeof(row.name), "%u", vm->uid_slot);
	rc = store_journal_remove(d->store, row.owner, JOURNAL_CGROUP, NULL, e);
	if (rc == 0)
		rc = store_journal_add(d->store, &row, e);
	vm->in_cgroup = rc == 0;
	return rc;
}

void vm_cgroup_load(struct vm *vm, const struct journal_row *row)
{
	uint64_t slot;

	vm->in_cgroup = true;
	if (parse_u64(row->name, 1, PRIV_SLOT_LAST, "user", &slot, NULL) == 0)
		vm->uid_slot = (uint32_t)slot;
}

void vm_cgroup_end(struct vm *vm)
{
	if (!vm->in_cgroup)
		return;
	vm->in_cgroup = false;
	vm_cgroup_end_of(vm->daemon, vm->row.id, &vm->oom);
}

bool vm_cgroup_oom(const struct vm *vm, struct err *ret)
{
	char size[24];

	if (!vm->oom.killed)
		return false;
	if (vm->oom.limit)
		(void)err_set(ret, ERR_LIMIT, "out_of_memory", 0,
			      "the processes of VM '%s' took more memory than "
			      "they may, which is what its guest has (%s) and "
			      "an allowance for its engine: the kernel ended "
			      "them",
			      vm->row.name,
			      format_size(vm->row.memory_bytes, size));
	else
		(void)err_set(ret, ERR_LIMIT, "out_of_memory", 0,
			      "the host (or a limit above all VMs) had no "
			      "memory left: the kernel ended VM '%s', whose "
			      "guest has %s",
			      vm->row.name,
			      format_size(vm->row.memory_bytes, size));
	return true;
}
