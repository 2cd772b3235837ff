/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is a client of the API a process that works for a VM? As root's daemon gives
 * each VM a user of its own the user tells; a rootless daemon's VMs have its own
 * user, in namespaces of theirs. A jail holds no path to the socket: this is for
 * what finds one all the same.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "vmd/priv/privops.h"
#include "vmd/vm/vm.h"

/* Names the pid namespace of a process; false when it has gone. */
static bool pid_namespace(pid_t pid, char buf[static 64])
{
	char path[48];
	ssize_t n;

	(void)snprintf(path, sizeof(path), "/proc/%d/ns/pid", (int)pid);
	n = readlink(path, buf, 63);
	buf[n > 0 ? n : 0] = '\0';
	return n > 0;
}

bool vm_owns_peer(const struct daemon *d, uid_t uid, pid_t pid)
{
	char ours[64], theirs[64], of_vm[64];
	uint32_t first = privops_uid_first();
	const struct vm *vm;

	/* All of the range but the first, which is a daemon's. */
	if (uid > first && uid < first + PRIV_RANGE)
		return true;
	/* Most clients are where we are: only others are compared with VMs. */
	if (!pid_namespace(getpid(), ours) || !pid_namespace(pid, theirs) ||
	    strcmp(ours, theirs) == 0)
		return false;
	LIST_FOREACH(vm, &d->vms, link)
		for (size_t i = 0; i < vm->process_count; i++)
			if (pid_namespace(vm->processes[i].pid, of_vm) &&
			    strcmp(of_vm, theirs) == 0)
				return true;
	return false;
}
