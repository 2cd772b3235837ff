/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bounds of the privileged process.
 *
 * A filter of system calls is inherited, also through exec: what is not on this
 * list does not exist for QEMU, passt, vmd-image and every program of an image build
 * either. So it is the union of their lists and of what vmd-priv itself needs for
 * jails (clone3, mounts by descriptor); each adds its own, which is narrower. What
 * the kernel learns after us is not on it.
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

/* filter_priv: see bounds_filter.c */
#include "vmd/bounds_filter.inc"

int priv_bound_calls(struct err *e)
{
	struct sock_filter copy[ARRAY_LEN(filter_priv)];
	struct sock_fprog program = { .len = ARRAY_LEN(filter_priv),
				      .filter = copy };

	memcpy(copy, filter_priv, sizeof(copy));
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) < 0)
		return err_sys(e, errno, "installing the system call filter");
	return 0;
}
