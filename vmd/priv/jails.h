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

/* Where a jailed QEMU finds them, with the '/' that its jail's targets lack. */
#define JAIL_KERNEL "/kernel"
#define JAIL_INITRD "/initrd"

/* The row of that kind for a VM; add binds and devices before use. name must
 * outlive it. uid: of the range's first half. */
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
