/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bounds of the privileged process.
 *
 * A filter of system calls is inherited, also through exec: what is forbidden
 * here is forbidden to QEMU, passt, vmd-image and to every program of an image
 * build. So it is a list of what none of them needs, each a way into the kernel
 * or out of the bounds; the monitor adds a list of what it alone may do.
 */
#include "vmd/priv/bounds.h"

#include <cap-ng.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/log.h"

static const unsigned wanted[] = {
	CAP_SETUID,
	CAP_SETGID, /* a child becomes the user of its VM */
	CAP_SETPCAP, /* and loses its bounding set */
	CAP_KILL, /* those users' processes */
	CAP_CHOWN,
	CAP_FOWNER,
	CAP_DAC_OVERRIDE, /* run directories */
	CAP_FSETID, /* their set-group-id bit */
	CAP_SYS_PTRACE, /* /proc/PID/cwd and environ of those users */
	CAP_SYS_ADMIN,
	CAP_SYS_CHROOT, /* namespaces and roots of VMs */
	CAP_NET_ADMIN, /* their networks */
	CAP_MKNOD, /* /dev/kvm in their roots */
	CAP_NET_BIND_SERVICE, /* published ports below 1024 */
	CAP_SYS_RESOURCE, /* limits and OOM scores of children */
	CAP_SETFCAP, /* root's id in a child's user namespace */
};

int priv_bound_capabilities(struct err *e)
{
	capng_clear(CAPNG_SELECT_BOTH);
	for (size_t i = 0; i < ARRAY_LEN(wanted); i++)
		(void)capng_update(CAPNG_ADD,
				   CAPNG_EFFECTIVE | CAPNG_PERMITTED |
					   CAPNG_BOUNDING_SET,
				   wanted[i]);
	if (capng_apply(CAPNG_SELECT_BOTH) == 0)
		return 0;
	/* In a container some are not there to be had: keep what there is. */
	if (capng_get_caps_process() < 0)
		return err_set(e, ERR_INTERNAL, "capabilities_failed", 0,
			       "cannot read the capabilities of this process");
	for (unsigned cap = 0; cap <= CAP_LAST_CAP; cap++) {
		bool keep = false;

		for (size_t i = 0; i < ARRAY_LEN(wanted); i++)
			keep |= wanted[i] == cap;
		if (!keep)
			(void)capng_update(CAPNG_DROP,
					   CAPNG_EFFECTIVE | CAPNG_PERMITTED |
						   CAPNG_INHERITABLE |
						   CAPNG_BOUNDING_SET,
					   cap);
	}
	if (capng_apply(CAPNG_SELECT_BOTH) < 0)
		return err_set(e, ERR_PERMISSION, "capabilities_failed", EPERM,
			       "cannot give up capabilities");
	return 0;
}

static const struct sock_filter filter[] = {
#include "vmd/bounds_filter.inc"
};

int priv_bound_calls(struct err *e)
{
	struct sock_filter copy[ARRAY_LEN(filter)];
	struct sock_fprog program = { .len = ARRAY_LEN(filter),
				      .filter = copy };

	memcpy(copy, filter, sizeof(copy));
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) < 0)
		return err_sys(e, errno, "installing the system call filter");
	return 0;
}
