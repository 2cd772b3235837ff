/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Capabilities and system calls. The list is by number and, where one argument
 * decides, by argument; each entry names who needs it.
 */
#include "monitor/lockdown.h"

#include <cap-ng.h>
#include <errno.h>
#include <linux/if_tun.h>
#include <linux/kvm.h>
#include <seccomp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>

#include "base/checked.h"
#include "base/cleanup.h"

/* System calls allowed with any arguments. */
static const int allowed[] = {
	/* the loop: waiting, timers, wake-ups, signals */
	SCMP_SYS(poll),
	SCMP_SYS(epoll_wait),
	SCMP_SYS(epoll_pwait),
	SCMP_SYS(epoll_ctl),
	SCMP_SYS(timerfd_settime),
	SCMP_SYS(clock_gettime), /* where the vDSO has no clock */
	/* eventfds, disks, taps, sockets, console, log: on open descriptors */
	SCMP_SYS(read),
	SCMP_SYS(write),
	SCMP_SYS(readv),
	SCMP_SYS(writev),
	SCMP_SYS(pread64),
	SCMP_SYS(pwrite64),
	SCMP_SYS(preadv),
	SCMP_SYS(pwritev),
	SCMP_SYS(preadv2),
	SCMP_SYS(pwritev2),
	SCMP_SYS(lseek),
	SCMP_SYS(close),
	SCMP_SYS(fstat), /* blk: has the disk grown? */
	SCMP_SYS(newfstatat),
	/* blk: flush, discard, write zeroes; backend: bound the log */
	SCMP_SYS(fsync),
	SCMP_SYS(fdatasync),
	SCMP_SYS(fallocate),
	/* backend, control, vsock, net: clients come, talk and go */
	SCMP_SYS(accept4),
	SCMP_SYS(recvfrom),
	SCMP_SYS(recvmsg),
	SCMP_SYS(sendto),
	SCMP_SYS(sendmsg),
	SCMP_SYS(shutdown),
	SCMP_SYS(connect), /* vsock: the guest calls a host service */
	SCMP_SYS(getsockopt),
	SCMP_SYS(fcntl), /* non-blocking mode of sockets */
	/* rng */
	SCMP_SYS(getrandom),
	/* malloc and free of the C library; memory is never executable */
	SCMP_SYS(brk),
	SCMP_SYS(munmap),
	SCMP_SYS(mremap),
	SCMP_SYS(madvise),
	/* locks, and threads that are still starting or ending */
	SCMP_SYS(futex),
	SCMP_SYS(rseq),
	SCMP_SYS(set_robust_list),
	SCMP_SYS(exit),
	SCMP_SYS(rt_sigprocmask),
	SCMP_SYS(rt_sigreturn),
	SCMP_SYS(sched_yield),
	SCMP_SYS(restart_syscall),
	/* vcpu: the kick */
	SCMP_SYS(tgkill),
	SCMP_SYS(getpid),
	SCMP_SYS(gettid),
	/* the end: status file into place, exit */
	SCMP_SYS(renameat),
	SCMP_SYS(renameat2),
	SCMP_SYS(exit_group),
};

/* ioctls by request. */
static const unsigned long ioctls[] = {
	KVM_RUN, /* vcpu */
	KVM_SIGNAL_MSI, /* every device's interrupt */
	KVM_IOEVENTFD, /* a driver comes or goes */
	KVM_KVMCLOCK_CTRL, /* resume */
	KVM_GET_REGS, /* where a vCPU failed */
	TCGETS, /* the terminal, at the end */
	TCSETS,
	TUNSETOFFLOAD, /* net: the driver chose its offloads */
	TUNSETVNETHDRSZ,
};

static int add_rules(scmp_filter_ctx filter)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < ARRAY_LEN(allowed); i++)
		rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, allowed[i], 0);
	for (size_t i = 0; rc == 0 && i < ARRAY_LEN(ioctls); i++)
		rc = seccomp_rule_add(
			filter, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1,
			SCMP_A1_32(SCMP_CMP_EQ, (uint32_t)ioctls[i], 0));
	/* Memory for the C library's heap, never executable. */
	if (rc == 0)
		rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1,
				      SCMP_A2_32(SCMP_CMP_MASKED_EQ, 4, 0));
	if (rc == 0)
		rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW,
				      SCMP_SYS(mprotect), 1,
				      SCMP_A2_32(SCMP_CMP_MASKED_EQ, 4, 0));
	/* vsock: unix sockets only. */
	if (rc == 0)
		rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket),
				      1, SCMP_A0_32(SCMP_CMP_EQ, AF_UNIX, 0));
	return rc;
}

static int failed(struct err *e, int sys, const char *what)
{
	return err_set(e, ERR_INTERNAL, "lockdown_failed", sys,
		       "cannot lock the monitor down: %s: %s", what,
		       strerror(sys));
}

static int filter_calls(struct err *e)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
	const char *what = "building the system call filter";
	int rc;

	if (!filter)
		return failed(e, ENOMEM, what);
	/* All threads, and a lookup by bisection instead of a long chain. */
	rc = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
	if (rc == 0)
		rc = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	if (rc == 0)
		rc = add_rules(filter);
	if (rc == 0) {
		what = "installing the system call filter";
		rc = seccomp_load(filter);
	}
	seccomp_release(filter);
	return rc < 0 ? failed(e, -rc, what) : 0;
}

int lockdown_enter(struct err *e)
{
	/* The C library reads /etc/localtime when it is first asked for a
	 * date: a log record after lock-down must not be that. */
	tzset();
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		return failed(e, errno, "no_new_privs");
	capng_clear(CAPNG_SELECT_ALL);
	/* An ordinary user has no bounding set to lower: that is fine. */
	if (capng_apply(CAPNG_SELECT_CAPS) != 0)
		return failed(e, errno ? errno : EPERM,
			      "dropping capabilities");
	return filter_calls(e);
}
