/* SPDX-License-Identifier: Apache-2.0 */
/* See jails.h. */
#include "vmd/priv/jails.h"

#include <stdio.h>

#include "base/checked.h"
#include "vmd/priv/proto.h"

/* filter_qemu, filter_passt: see jail_filter.c */
#include "vmd/jail_filter.inc"

enum {
	/* A guest's memory is the first to go when the host has none left, its
	 * network helper with it; the daemon and the rest of the host stay. */
	OOM_SCORE = 300,
	LOCKED_BYTES = 65536
};

/* passt reads it before it shuts itself up: whom to ask for names. */
static const struct jail_bind passt_binds[] = {
	{ .source = "/etc/resolv.conf",
	  .target = "etc/resolv.conf",
	  .fd = -1,
	  .optional = true },
};

static const struct jail_spec rows[] = {
	/* 256 vsock connections, clients, queues; 32 vCPUs, workers. Its own
	 * filters (monitor/lockdown/lockdown_filter.c) need none around them. */
	[JAIL_MONITOR] = { .limits = { .files = 1024, .processes = 64 } },
	/* Firmware and modules lie below /usr. 255 vCPUs, a pool of 64. */
	[JAIL_QEMU] = { .libraries = true,
			.devices = JAIL_DEV_NULL | JAIL_DEV_URANDOM,
			.limits = { .files = 2048, .processes = 512 } },
	/* The network of the host is its work. It makes another jail inside:
	 * /proc for its user namespace, /tmp for its root, both gone then. The
	 * threads of the VM's other process count as its own: one user. */
	[JAIL_PASST] = { .keep_net = true,
			 .libraries = true,
			 .proc = true,
			 .tmp = true,
			 .binds = passt_binds,
			 .bind_count = ARRAY_LEN(passt_binds),
			 .devices = JAIL_DEV_NULL | JAIL_DEV_URANDOM,
			 .limits = { .files = 65536, .processes = 512 } },
};

void jail_of(enum jail_kind kind, const char *name, uid_t uid,
	     struct jail_spec *ret)
{
	*ret = rows[kind];
	ret->name = name;
	ret->uid = uid;
	ret->gid = uid;
	ret->oom_score_adj = OOM_SCORE;
	ret->limits.locked_bytes = LOCKED_BYTES;
	/* The other half of the range: no other VM has it. passt, which writes its
	 * own user namespace's ids in /proc, makes itself undumpable after that. */
	if (kind != JAIL_PASST)
		ret->undumpable_gid = uid + PRIV_SLOTS;
	if (kind == JAIL_QEMU) {
		ret->filter = filter_qemu;
		ret->filter_len = ARRAY_LEN(filter_qemu);
	} else if (kind == JAIL_PASST) {
		ret->filter = filter_passt;
		ret->filter_len = ARRAY_LEN(filter_passt);
	}
}

const char *const *jail_environment(const char *run_path,
				    struct jail_environment *ret)
{
	(void)snprintf(ret->mark, sizeof(ret->mark), JAIL_MARK "%s", run_path);
	ret->envp[0] = ret->mark;
	ret->envp[1] = NULL;
	return ret->envp;
}
