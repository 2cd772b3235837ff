/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Build-time program: turns the list of allowed system calls into the filter
 * that lockdown.c installs, as C initialisers on stdout. libseccomp needs 0.4 ms
 * for that; at build time it costs a start of the monitor nothing.
 *
 * The list is by number and, where one argument decides, by argument; each entry
 * names who needs it.
 */
#include <linux/filter.h>
#include <linux/if_tun.h>
#include <linux/kvm.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/checked.h"

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
	SCMP_SYS(ftruncate), /* where it cannot be bounded by holes */
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

/* The filter in fd as initialisers of struct sock_filter. */
static int print_filter(int fd)
{
	struct sock_filter op;

	if (lseek(fd, 0, SEEK_SET) != 0)
		return -1;
	while (read(fd, &op, sizeof(op)) == sizeof(op))
		if (printf("{ %#x, %u, %u, %#x },\n", op.code, op.jt, op.jf,
			   op.k) < 0)
			return -1;
	return fflush(stdout);
}

int main(void)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
	int fd = memfd_create("filter", MFD_CLOEXEC);

	if (!filter || fd < 0)
		return EXIT_FAILURE;
	/* A lookup by bisection instead of a long chain. */
	if (seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2) != 0 ||
	    add_rules(filter) != 0 || seccomp_export_bpf(filter, fd) != 0 ||
	    print_filter(fd) != 0)
		return EXIT_FAILURE;
	seccomp_release(filter);
	(void)close(fd);
	return EXIT_SUCCESS;
}
