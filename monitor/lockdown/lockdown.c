/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Giving up privilege; see lockdown.h. Which system calls stay is written in
 * lockdown_filter.c, which makes the filters at build time.
 */
#include "monitor/lockdown/lockdown.h"

#include <errno.h>
#include <jansson.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/landlock.h"
#include "monitor/lockdown/lockdown_self.h"

/* filter_loop, filter_broker, filter_vcpu, filter_disk, filter_ring */
#include "monitor/lockdown_filter.inc"

static const struct {
	const struct sock_filter *ops;
	size_t len;
} filters[LOCKDOWN_ROLES] = {
	[LOCKDOWN_LOOP] = { filter_loop, ARRAY_LEN(filter_loop) },
	[LOCKDOWN_BROKER] = { filter_broker, ARRAY_LEN(filter_broker) },
	[LOCKDOWN_VCPU] = { filter_vcpu, ARRAY_LEN(filter_vcpu) },
	[LOCKDOWN_DISK] = { filter_disk, ARRAY_LEN(filter_disk) },
	[LOCKDOWN_RING] = { filter_ring, ARRAY_LEN(filter_ring) },
};

#ifdef LOCKDOWN_HOOK
void lockdown_hook(enum lockdown_role role);
#endif

static int failed(struct err *e, int sys, const char *what)
{
	return err_set(e, ERR_INTERNAL, "lockdown_failed", sys,
		       "cannot lock the monitor down: %s: %s", what,
		       strerror(sys));
}

/* Of capset(2): no library has to be loaded for one call. */
static int drop_capabilities(void)
{
	struct __user_cap_header_struct header = {
		.version = _LINUX_CAPABILITY_VERSION_3
	};
	struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {
		{ .effective = 0 }
	};

	return (int)syscall(SYS_capset, &header, none);
}

int lockdown_process(struct err *e)
{
	int rc;

	/* Else the JSON library opens /dev/urandom when it is first used. */
	json_object_seed(0);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		return failed(e, errno, "no_new_privs");
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
		return failed(e, errno, "not being traced");
	if (drop_capabilities() != 0)
		return failed(e, errno, "dropping capabilities");
	rc = landlock_restrict(LANDLOCK_ALL);
	return rc < 0 ? failed(e, -rc, "landlock") : 0;
}

int lockdown_enter(enum lockdown_role role, struct err *e)
{
	struct sock_filter copy[LOCKDOWN_FILTER_MAX];
	struct sock_fprog program = { .len = (unsigned short)filters[role].len,
				      .filter = copy };

	memcpy(copy, filters[role].ops, filters[role].len * sizeof(*copy));
	/* Signals go to this process alone, whose number the build cannot
	 * know. */
	for (size_t i = 0; i < filters[role].len; i++)
		if (BPF_CLASS(copy[i].code) == BPF_JMP &&
		    copy[i].k == LOCKDOWN_SELF)
			copy[i].k = (uint32_t)getpid();
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) != 0)
		return failed(e, errno, "installing the system call filter");
#ifdef LOCKDOWN_HOOK /* tests/escape only */
	lockdown_hook(role);
#endif
	return 0;
}
