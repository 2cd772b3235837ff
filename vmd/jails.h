/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The jail of each kind of process that works for a VM: one row per kind says
 * what it needs; everything else it has not. See base/jail.h for how.
 */
#ifndef VMD_JAILS_H
#define VMD_JAILS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/jail.h"

enum jail_kind {
	JAIL_MONITOR, /* everything by descriptor: no file at all */
	JAIL_QEMU,
	JAIL_PASST,
	JAIL_KINDS
};

/*
 * User ids of VMs when the daemon is root: one for each VM that runs, which owns
 * nothing on the host. The range is one that systemd's table of ids leaves to
 * nobody (systemd.io/UIDS-GIDS).
 */
enum {
	VM_UID_FIRST = 1879048192, /* 0x70000000 */
	VM_UID_COUNT = 65536
};

static inline bool jail_uid_is_vm(uid_t uid)
{
	return uid >= VM_UID_FIRST && uid - VM_UID_FIRST < VM_UID_COUNT;
}

/* The row of that kind for a VM; add binds and devices before use. name must
 * outlive it. */
void jail_of(enum jail_kind kind, const char *name, uid_t uid,
	     struct jail_spec *ret);

/* The whole environment of a process of a VM: the mark by which the daemon finds
 * it, whatever else becomes of it. */
#define JAIL_MARK "VMD_RUN="
struct jail_environment {
	char mark[4096 + sizeof(JAIL_MARK)];
	const char *envp[2];
};
/* run_path: the run directory of the VM, absolute. Returns ret->envp. */
const char *const *jail_environment(const char *run_path,
				    struct jail_environment *ret);

#endif
