/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Build-time program: turns the table of allowed system calls into the filters
 * that lockdown.c installs, as C arrays on stdout. libseccomp needs 0.4 ms for
 * that; at build time it costs a start of the monitor nothing.
 *
 * One row for each call, with the roles that have it and who needs it. A role's
 * list is all that stands between a taken-over thread and the host's kernel;
 * threads share memory, so no list is longer for being another thread's.
 */
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/fs.h>
#include <linux/if_tun.h>
#include <linux/kvm.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/filter_print.h"
#include "monitor/lockdown/lockdown.h"
#include "monitor/lockdown/lockdown_self.h"

/* Sets of roles. */
enum {
	LOOP = 1 << LOCKDOWN_LOOP,
	BROKER = 1 << LOCKDOWN_BROKER,
	VCPU = 1 << LOCKDOWN_VCPU,
	DISK = 1 << LOCKDOWN_DISK,
	RING = 1 << LOCKDOWN_RING,
	GUEST = LOOP | VCPU, /* serve registers and queues of all devices */
	ALL = GUEST | DISK | RING,
};

struct row {
	int call;
	unsigned roles;
	/* The argument that decides: (value & mask) must be want. */
	struct {
		unsigned index; /* from 1; 0: any arguments */
		uint32_t mask, want;
	} arg[2];
};

#define EXACT UINT32_MAX
#define ARG(n, mask, want)                        \
	{                                         \
		(n) + 1, (mask), (uint32_t)(want) \
	}

static const struct row rows[] = {
	/* Waiting, timers, wake-ups. A register may arm a device's timer. */
	{ SCMP_SYS(poll), GUEST, { { 0 } } }, /* serial on stdout: room? */
	{ SCMP_SYS(epoll_wait), LOOP | DISK | RING, { { 0 } } },
	{ SCMP_SYS(epoll_pwait), LOOP | DISK | RING, { { 0 } } },
	{ SCMP_SYS(epoll_ctl), GUEST, { { 0 } } },
	{ SCMP_SYS(timerfd_settime), ALL, { { 0 } } },
	/* Where the vDSO has no clock. */
	{ SCMP_SYS(clock_gettime), ALL, { { 0 } } },
	/* eventfds, serial output, console log, log: on open descriptors. */
	{ SCMP_SYS(read), GUEST, { { 0 } } },
	{ SCMP_SYS(write), ALL, { { 0 } } },
	{ SCMP_SYS(readv), GUEST, { { 0 } } },
	{ SCMP_SYS(writev), GUEST, { { 0 } } },
	/* A reset of the socket device by its register ends connections. */
	{ SCMP_SYS(close), GUEST, { { 0 } } },
	{ SCMP_SYS(shutdown), GUEST, { { 0 } } },
	/* serial: to its client, without waiting; the log stays bounded. */
	{ SCMP_SYS(sendto), GUEST, { { 0 } } },
	{ SCMP_SYS(fallocate), ALL, { { 0 } } },
	{ SCMP_SYS(ftruncate), GUEST, { { 0 } } },
	/* Disks: nobody else waits for a file. */
	{ SCMP_SYS(pread64), DISK, { { 0 } } },
	{ SCMP_SYS(pwrite64), DISK, { { 0 } } },
	{ SCMP_SYS(preadv), DISK, { { 0 } } },
	{ SCMP_SYS(pwritev), DISK, { { 0 } } },
	{ SCMP_SYS(preadv2), DISK, { { 0 } } },
	{ SCMP_SYS(pwritev2), DISK, { { 0 } } },
	/* Gives operations to the ring; what it takes, the ring itself knows
	 * (virtio/blk/uring.c). No flags, nothing to wait for, no signals. */
	{ SCMP_SYS(io_uring_enter),
	  RING,
	  { ARG(2, EXACT, 0), ARG(3, EXACT, 0) } },
	{ SCMP_SYS(lseek), ALL, { { 0 } } },
	{ SCMP_SYS(fsync), DISK, { { 0 } } },
	{ SCMP_SYS(fdatasync), DISK, { { 0 } } },
	/* blk: has the disk grown? In the C library a stat of "" with a flag;
	 * a path given beside the flag meets landlock and the empty root. */
	{ SCMP_SYS(fstat), GUEST, { { 0 } } },
	{ SCMP_SYS(newfstatat), GUEST, { ARG(3, EXACT, 0x1000) } },
	/* net, vsock: packets and bytes of open sockets. */
	{ SCMP_SYS(recvfrom), GUEST, { { 0 } } },
	{ SCMP_SYS(recvmsg), GUEST, { { 0 } } },
	{ SCMP_SYS(sendmsg), GUEST, { { 0 } } },
	{ SCMP_SYS(getsockopt), GUEST, { { 0 } } },
	/* Clients of serial, control and vsock come. */
	{ SCMP_SYS(accept4), LOOP, { { 0 } } },
	/* The guest calls a service of the host: a question, a connect, an answer. */
	{ SCMP_SYS(socket), BROKER, { ARG(0, EXACT, AF_UNIX) } },
	{ SCMP_SYS(connect), BROKER, { { 0 } } },
	{ SCMP_SYS(recvfrom), BROKER, { { 0 } } },
	{ SCMP_SYS(sendmsg), BROKER, { { 0 } } },
	{ SCMP_SYS(close), BROKER, { { 0 } } },
	{ SCMP_SYS(exit_group), BROKER, { { 0 } } },
	{ SCMP_SYS(restart_syscall), BROKER, { { 0 } } },
	/* rng */
	{ SCMP_SYS(getrandom), GUEST, { { 0 } } },
	/* malloc and free of the C library; memory is never executable. */
	{ SCMP_SYS(brk), ALL, { { 0 } } },
	{ SCMP_SYS(munmap), ALL, { { 0 } } },
	{ SCMP_SYS(mremap), ALL, { { 0 } } },
	{ SCMP_SYS(madvise), ALL, { { 0 } } },
	{ SCMP_SYS(mmap), ALL, { ARG(2, PROT_EXEC, 0) } },
	{ SCMP_SYS(mprotect), ALL, { ARG(2, PROT_EXEC, 0) } },
	/* Locks, and threads that are still starting or ending. */
	{ SCMP_SYS(futex), ALL, { { 0 } } },
	{ SCMP_SYS(rseq), ALL, { { 0 } } },
	{ SCMP_SYS(set_robust_list), ALL, { { 0 } } },
	{ SCMP_SYS(exit), ALL, { { 0 } } },
	{ SCMP_SYS(rt_sigprocmask), ALL, { { 0 } } },
	{ SCMP_SYS(rt_sigreturn), ALL, { { 0 } } },
	{ SCMP_SYS(sched_yield), ALL, { { 0 } } },
	{ SCMP_SYS(restart_syscall), ALL, { { 0 } } },
	/* The kick of a vCPU; the end by a broken assertion. */
	{ SCMP_SYS(tgkill),
	  LOOP,
	  { ARG(0, EXACT, LOCKDOWN_SELF), ARG(2, EXACT, SIGUSR1) } },
	{ SCMP_SYS(tgkill),
	  ALL,
	  { ARG(0, EXACT, LOCKDOWN_SELF), ARG(2, EXACT, SIGABRT) } },
	{ SCMP_SYS(getpid), ALL, { { 0 } } },
	{ SCMP_SYS(gettid), ALL, { { 0 } } },
	/* The end. */
	{ SCMP_SYS(exit_group), ALL, { { 0 } } }, /* bus_error: any thread */
	/* vcpu; where a vCPU failed */
	{ SCMP_SYS(ioctl), VCPU, { ARG(1, EXACT, KVM_RUN) } },
	{ SCMP_SYS(ioctl), VCPU, { ARG(1, EXACT, KVM_GET_REGS) } },
	{ SCMP_SYS(ioctl), VCPU, { ARG(1, EXACT, KVM_GET_SREGS) } },
	/* blk: has the block device grown? */
	{ SCMP_SYS(ioctl), GUEST, { ARG(1, EXACT, BLKGETSIZE64) } },
	/* Every device's interrupt. */
	{ SCMP_SYS(ioctl), ALL, { ARG(1, EXACT, KVM_SIGNAL_MSI) } },
	/* A driver comes or goes: by a register, by breaking a rule. */
	{ SCMP_SYS(ioctl), ALL, { ARG(1, EXACT, KVM_IOEVENTFD) } },
	/* net: the driver chose its offloads. */
	{ SCMP_SYS(ioctl), GUEST, { ARG(1, EXACT, TUNSETOFFLOAD) } },
	{ SCMP_SYS(ioctl), GUEST, { ARG(1, EXACT, TUNSETVNETHDRSZ) } },
	/* Resume. */
	{ SCMP_SYS(ioctl), LOOP, { ARG(1, EXACT, KVM_KVMCLOCK_CTRL) } },
	/* The terminal, at the end. */
	{ SCMP_SYS(ioctl), LOOP, { ARG(1, EXACT, TCGETS) } },
	{ SCMP_SYS(ioctl), LOOP, { ARG(1, EXACT, TCSETS) } },
};

static int add_row(scmp_filter_ctx filter, const struct row *row)
{
	struct scmp_arg_cmp cmp[2];
	unsigned count = 0;

	for (; count < 2 && row->arg[count].index; count++)
		cmp[count] =
			SCMP_CMP64(row->arg[count].index - 1,
				   SCMP_CMP_MASKED_EQ, row->arg[count].mask,
				   row->arg[count].want);
	return seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, row->call, count,
				      cmp);
}

/* The filter in fd as an array of struct sock_filter. */
static int print_filter(int fd, const char *name)
{
	int rc;

	(void)printf("static const struct sock_filter filter_%s[] = {\n", name);
	rc = filter_print(fd, LOCKDOWN_FILTER_MAX);
	return puts("};") < 0 ? -1 : rc;
}

static int make(enum lockdown_role role, const char *name)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
	int fd = memfd_create("filter", MFD_CLOEXEC);
	int rc;

	if (!filter || fd < 0)
		return -1;
	/* A lookup by bisection instead of a long chain. */
	rc = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	for (size_t i = 0; rc == 0 && i < ARRAY_LEN(rows); i++)
		if (rows[i].roles & 1u << role)
			rc = add_row(filter, &rows[i]);
	if (rc == 0)
		rc = seccomp_export_bpf(filter, fd);
	if (rc == 0)
		rc = print_filter(fd, name);
	seccomp_release(filter);
	(void)close(fd);
	return rc;
}

int main(void)
{
	static const char *const names[LOCKDOWN_ROLES] = {
		[LOCKDOWN_LOOP] = "loop", [LOCKDOWN_BROKER] = "broker",
		[LOCKDOWN_VCPU] = "vcpu", [LOCKDOWN_DISK] = "disk",
		[LOCKDOWN_RING] = "ring",
	};

	for (int role = 0; role < LOCKDOWN_ROLES; role++)
		if (make((enum lockdown_role)role, names[role]) != 0)
			return EXIT_FAILURE;
	return EXIT_SUCCESS;
}
