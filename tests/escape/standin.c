/* SPDX-License-Identifier: Apache-2.0 */
/*
 * In QEMU's place in its jail: what a guest that has taken QEMU over can try.
 * QEMU runs with -sandbox on, elevateprivileges, spawn and resourcecontrol
 * denied; so does this, by the lists of QEMU 7.2 (softmmu/qemu-seccomp.c).
 *
 * With an argument it does not: then namespaces, root, user and limits of the
 * jail stand alone.
 */
#include <errno.h>
#include <sched.h>
#include <seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "attacks.h"
#include "base/checked.h"

static const int denied[] = {
	/* obsolete and default */
	SCMP_SYS(reboot), SCMP_SYS(swapon), SCMP_SYS(swapoff), SCMP_SYS(syslog),
	SCMP_SYS(mount), SCMP_SYS(umount), SCMP_SYS(kexec_load),
	/* elevateprivileges */
	SCMP_SYS(setuid), SCMP_SYS(setgid), SCMP_SYS(setpgid), SCMP_SYS(setsid),
	SCMP_SYS(setreuid), SCMP_SYS(setregid), SCMP_SYS(setresuid),
	SCMP_SYS(setresgid), SCMP_SYS(setfsuid), SCMP_SYS(setfsgid),
	/* spawn */
	SCMP_SYS(fork), SCMP_SYS(vfork), SCMP_SYS(execve),
	/* resourcecontrol */
	SCMP_SYS(setpriority), SCMP_SYS(sched_setparam),
	SCMP_SYS(sched_setscheduler), SCMP_SYS(sched_setaffinity)
};

/* clone without these is no thread; each must be there. */
static const uint64_t thread_flags[] = { CLONE_VM,     CLONE_FS,
					 CLONE_FILES,  CLONE_SIGHAND,
					 CLONE_THREAD, CLONE_SYSVSEM };

static int sandbox(void)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
	int rc = filter ? 0 : -ENOMEM;

	for (size_t i = 0; rc == 0 && i < ARRAY_LEN(denied); i++)
		rc = seccomp_rule_add(filter, SCMP_ACT_KILL_PROCESS, denied[i],
				      0);
	for (size_t i = 0; rc == 0 && i < ARRAY_LEN(thread_flags); i++)
		rc = seccomp_rule_add(
			filter, SCMP_ACT_KILL_PROCESS, SCMP_SYS(clone), 1,
			SCMP_A0(SCMP_CMP_MASKED_EQ, thread_flags[i], 0));
	if (rc == 0)
		rc = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS),
				      SCMP_SYS(clone3), 0);
	if (rc == 0)
		rc = seccomp_load(filter);
	seccomp_release(filter);
	return rc;
}

int main(int argc, char **argv)
{
	(void)argv;
	if (argc == 1 && sandbox() != 0)
		return EXIT_FAILURE;
	attack_run_told();
	return EXIT_SUCCESS;
}
