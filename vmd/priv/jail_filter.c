/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Build-time program: the system calls of programs that are not ours, in their
 * jails (jails.c), as C arrays on stdout. What is not on the list does not exist
 * there (ENOSYS), so that a C library falls back to what is.
 *
 * The lists are wide: these programs add narrower filters themselves as soon as
 * they have started (QEMU -sandbox; passt). What counts is what is absent: other
 * namespaces, mounts, keys, tracing, other processes' memory, BPF, io_uring,
 * userfaultfd, performance events, modules, clocks, the whole System V IPC, and
 * socket families that are no part of a network namespace or of any use.
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <seccomp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/filter_print.h"

enum {
	QEMU = 1,
	PASST = 2,
	BOTH = QEMU | PASST,
	/* The filter must fit into one program of the kernel. */
	OPS_MAX = 4096
};

/* With any arguments. */
static const struct {
	unsigned who;
	int call;
} calls[] = {
	/* files */
	{ BOTH, SCMP_SYS(read) },
	{ BOTH, SCMP_SYS(write) },
	{ BOTH, SCMP_SYS(readv) },
	{ BOTH, SCMP_SYS(writev) },
	{ BOTH, SCMP_SYS(pread64) },
	{ BOTH, SCMP_SYS(pwrite64) },
	{ BOTH, SCMP_SYS(preadv) },
	{ BOTH, SCMP_SYS(pwritev) },
	{ BOTH, SCMP_SYS(preadv2) },
	{ BOTH, SCMP_SYS(pwritev2) },
	{ BOTH, SCMP_SYS(open) },
	{ BOTH, SCMP_SYS(openat) },
	{ BOTH, SCMP_SYS(close) },
	{ BOTH, SCMP_SYS(close_range) },
	{ BOTH, SCMP_SYS(lseek) },
	{ BOTH, SCMP_SYS(stat) },
	{ BOTH, SCMP_SYS(lstat) },
	{ BOTH, SCMP_SYS(fstat) },
	{ BOTH, SCMP_SYS(newfstatat) },
	{ BOTH, SCMP_SYS(statx) },
	{ BOTH, SCMP_SYS(statfs) },
	{ BOTH, SCMP_SYS(fstatfs) },
	{ BOTH, SCMP_SYS(access) },
	{ BOTH, SCMP_SYS(faccessat) },
	{ BOTH, SCMP_SYS(faccessat2) },
	{ BOTH, SCMP_SYS(readlink) },
	{ BOTH, SCMP_SYS(readlinkat) },
	{ BOTH, SCMP_SYS(getcwd) },
	{ BOTH, SCMP_SYS(chdir) },
	{ BOTH, SCMP_SYS(getdents64) },
	{ BOTH, SCMP_SYS(dup) },
	{ BOTH, SCMP_SYS(dup2) },
	{ BOTH, SCMP_SYS(dup3) },
	{ BOTH, SCMP_SYS(pipe) },
	{ BOTH, SCMP_SYS(pipe2) },
	{ BOTH, SCMP_SYS(umask) },
	{ BOTH, SCMP_SYS(fcntl) },
	{ QEMU, SCMP_SYS(flock) },
	{ QEMU, SCMP_SYS(fsync) },
	{ QEMU, SCMP_SYS(fdatasync) },
	{ QEMU, SCMP_SYS(sync_file_range) },
	{ QEMU, SCMP_SYS(fallocate) },
	{ QEMU, SCMP_SYS(ftruncate) },
	{ QEMU, SCMP_SYS(fadvise64) },
	{ QEMU, SCMP_SYS(copy_file_range) },
	{ QEMU, SCMP_SYS(io_setup) }, /* aio=native of a disk */
	{ QEMU, SCMP_SYS(io_submit) },
	{ QEMU, SCMP_SYS(io_getevents) },
	{ QEMU, SCMP_SYS(io_pgetevents) },
	{ QEMU, SCMP_SYS(io_destroy) },
	{ QEMU, SCMP_SYS(io_cancel) },
	/* waiting and time */
	{ BOTH, SCMP_SYS(poll) },
	{ BOTH, SCMP_SYS(ppoll) },
	{ BOTH, SCMP_SYS(select) },
	{ BOTH, SCMP_SYS(pselect6) },
	{ BOTH, SCMP_SYS(epoll_create) },
	{ BOTH, SCMP_SYS(epoll_create1) },
	{ BOTH, SCMP_SYS(epoll_ctl) },
	{ BOTH, SCMP_SYS(epoll_wait) },
	{ BOTH, SCMP_SYS(epoll_pwait) },
	{ BOTH, SCMP_SYS(epoll_pwait2) },
	{ BOTH, SCMP_SYS(eventfd) },
	{ BOTH, SCMP_SYS(eventfd2) },
	{ BOTH, SCMP_SYS(signalfd) },
	{ BOTH, SCMP_SYS(signalfd4) },
	{ BOTH, SCMP_SYS(timerfd_create) },
	{ BOTH, SCMP_SYS(timerfd_settime) },
	{ BOTH, SCMP_SYS(timerfd_gettime) },
	{ QEMU, SCMP_SYS(timer_create) },
	{ QEMU, SCMP_SYS(timer_settime) },
	{ QEMU, SCMP_SYS(timer_gettime) },
	{ QEMU, SCMP_SYS(timer_delete) },
	{ BOTH, SCMP_SYS(clock_gettime) },
	{ BOTH, SCMP_SYS(clock_getres) },
	{ BOTH, SCMP_SYS(clock_nanosleep) },
	{ BOTH, SCMP_SYS(nanosleep) },
	{ BOTH, SCMP_SYS(gettimeofday) },
	{ BOTH, SCMP_SYS(time) },
	/* sockets that are open, or of the families below */
	{ BOTH, SCMP_SYS(bind) },
	{ BOTH, SCMP_SYS(listen) },
	{ BOTH, SCMP_SYS(connect) },
	{ BOTH, SCMP_SYS(accept) },
	{ BOTH, SCMP_SYS(accept4) },
	{ BOTH, SCMP_SYS(getsockname) },
	{ BOTH, SCMP_SYS(getpeername) },
	{ BOTH, SCMP_SYS(getsockopt) },
	{ BOTH, SCMP_SYS(setsockopt) },
	{ BOTH, SCMP_SYS(sendto) },
	{ BOTH, SCMP_SYS(sendmsg) },
	{ BOTH, SCMP_SYS(sendmmsg) },
	{ BOTH, SCMP_SYS(recvfrom) },
	{ BOTH, SCMP_SYS(recvmsg) },
	{ BOTH, SCMP_SYS(recvmmsg) },
	{ BOTH, SCMP_SYS(shutdown) },
	{ PASST, SCMP_SYS(splice) },
	/* memory */
	{ BOTH, SCMP_SYS(brk) },
	{ BOTH, SCMP_SYS(mmap) },
	{ BOTH, SCMP_SYS(munmap) },
	{ BOTH, SCMP_SYS(mremap) },
	{ BOTH, SCMP_SYS(mprotect) },
	{ BOTH, SCMP_SYS(madvise) },
	{ BOTH, SCMP_SYS(mincore) },
	{ BOTH, SCMP_SYS(membarrier) },
	{ QEMU, SCMP_SYS(msync) },
	{ QEMU, SCMP_SYS(mbind) }, /* its own memory's place */
	/* threads, signals to itself: there is nobody else */
	{ BOTH, SCMP_SYS(futex) },
	{ BOTH, SCMP_SYS(set_tid_address) },
	{ BOTH, SCMP_SYS(set_robust_list) },
	{ BOTH, SCMP_SYS(get_robust_list) },
	{ BOTH, SCMP_SYS(rseq) },
	{ BOTH, SCMP_SYS(sched_yield) },
	{ BOTH, SCMP_SYS(sched_getaffinity) },
	{ BOTH, SCMP_SYS(sched_getparam) },
	{ BOTH, SCMP_SYS(sched_getscheduler) },
	{ BOTH, SCMP_SYS(rt_sigaction) },
	{ BOTH, SCMP_SYS(rt_sigprocmask) },
	{ BOTH, SCMP_SYS(rt_sigreturn) },
	{ BOTH, SCMP_SYS(rt_sigpending) },
	{ BOTH, SCMP_SYS(rt_sigtimedwait) },
	{ BOTH, SCMP_SYS(rt_sigsuspend) },
	{ BOTH, SCMP_SYS(sigaltstack) },
	{ BOTH, SCMP_SYS(restart_syscall) },
	{ BOTH, SCMP_SYS(kill) },
	{ BOTH, SCMP_SYS(tgkill) },
	{ BOTH, SCMP_SYS(wait4) },
	{ BOTH, SCMP_SYS(waitid) },
	{ BOTH, SCMP_SYS(exit) },
	{ BOTH, SCMP_SYS(exit_group) },
	/* itself */
	{ BOTH, SCMP_SYS(arch_prctl) },
	{ BOTH, SCMP_SYS(prctl) },
	{ BOTH, SCMP_SYS(seccomp) },
	{ BOTH, SCMP_SYS(getpid) },
	{ BOTH, SCMP_SYS(gettid) },
	{ BOTH, SCMP_SYS(getppid) },
	{ BOTH, SCMP_SYS(getpgrp) },
	{ BOTH, SCMP_SYS(getpgid) },
	{ BOTH, SCMP_SYS(getsid) },
	{ BOTH, SCMP_SYS(getuid) },
	{ BOTH, SCMP_SYS(geteuid) },
	{ BOTH, SCMP_SYS(getgid) },
	{ BOTH, SCMP_SYS(getegid) },
	{ BOTH, SCMP_SYS(getresuid) },
	{ BOTH, SCMP_SYS(getresgid) },
	{ BOTH, SCMP_SYS(getgroups) },
	{ BOTH, SCMP_SYS(capget) },
	{ BOTH, SCMP_SYS(capset) },
	{ BOTH, SCMP_SYS(uname) },
	{ BOTH, SCMP_SYS(sysinfo) },
	{ BOTH, SCMP_SYS(getrlimit) },
	{ BOTH, SCMP_SYS(setrlimit) },
	{ BOTH, SCMP_SYS(prlimit64) },
	{ BOTH, SCMP_SYS(getrusage) },
	{ BOTH, SCMP_SYS(times) },
	{ BOTH, SCMP_SYS(getrandom) },
	{ BOTH, SCMP_SYS(getcpu) },
	/* The jail's own exec. Their filters take it away. */
	{ BOTH, SCMP_SYS(execve) },
	{ BOTH, SCMP_SYS(execveat) },
	/* passt shuts itself up once more, in namespaces inside of these. */
	{ PASST, SCMP_SYS(unshare) },
	{ PASST, SCMP_SYS(mount) },
	{ PASST, SCMP_SYS(umount2) },
	{ PASST, SCMP_SYS(pivot_root) },
	{ PASST, SCMP_SYS(setgroups) },
	{ PASST, SCMP_SYS(setuid) },
	{ PASST, SCMP_SYS(setgid) },
	{ PASST, SCMP_SYS(setresuid) },
	{ PASST, SCMP_SYS(setresgid) },
	{ PASST, SCMP_SYS(setsid) },
};

/* Socket families: an abstract socket is of the network namespace, AF_VSOCK is
 * of none. */
static const struct {
	unsigned who;
	int family;
} families[] = {
	{ BOTH, AF_UNIX },
	{ PASST, AF_INET },
	{ PASST, AF_INET6 },
	{ PASST, AF_NETLINK },
};

#define NAMESPACES                                                     \
	(CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | \
	 CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET)

/* ioctl by exclusion, KVM alone has a hundred: not TIOCSCTTY, TIOCSTI and
 * TIOCLINUX, by which a terminal is taken and its user's typing invented. */
static int add_ioctl(scmp_filter_ctx filter)
{
	enum {
		FIRST = 0x540e, /* TIOCSCTTY */
		STI = 0x5412,
		LAST = 0x541c /* TIOCLINUX */
	};
	int rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1,
				  SCMP_A1_32(SCMP_CMP_LT, FIRST, 0));

	if (rc == 0)
		rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(ioctl),
				      1, SCMP_A1_32(SCMP_CMP_GT, LAST, 0));
	for (uint32_t n = FIRST + 1; rc == 0 && n < LAST; n++)
		if (n != STI)
			rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW,
					      SCMP_SYS(ioctl), 1,
					      SCMP_A1_32(SCMP_CMP_EQ, n, 0));
	return rc;
}

static int add_rules(scmp_filter_ctx filter, unsigned who)
{
	int rc = add_ioctl(filter);

	for (size_t i = 0; rc == 0 && i < ARRAY_LEN(calls); i++)
		if (calls[i].who & who)
			rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW,
					      calls[i].call, 0);
	for (size_t i = 0; rc == 0 && i < ARRAY_LEN(families); i++)
		if (families[i].who & who)
			rc = seccomp_rule_add(
				filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1,
				SCMP_A0_32(SCMP_CMP_EQ,
					   (uint32_t)families[i].family, 0));
	if (rc == 0)
		rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW,
				      SCMP_SYS(socketpair), 1,
				      SCMP_A0_32(SCMP_CMP_EQ, AF_UNIX, 0));
	/* Threads, and children while there may be any; clone3 hides its flags
	 * from a filter, and a C library does without it. */
	if (rc == 0)
		rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(clone),
				      1,
				      SCMP_A0_64(SCMP_CMP_MASKED_EQ,
						 (uint64_t)NAMESPACES, 0));
	return rc;
}

/* The filter in fd as an array of struct sock_filter. */
static int print_filter(int fd, const char *name)
{
	int rc;

	(void)printf("static const struct sock_filter filter_%s[] = {\n", name);
	rc = filter_print(fd, OPS_MAX - 1);
	return puts("};") < 0 ? -1 : rc;
}

static int make(unsigned who, const char *name)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(ENOSYS));
	int fd = memfd_create("filter", MFD_CLOEXEC);
	int rc;

	if (!filter || fd < 0)
		return -1;
	/* A lookup by bisection instead of a long chain. */
	rc = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	/* Calls of another architecture are none of theirs. */
	if (rc == 0)
		rc = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH,
				      SCMP_ACT_KILL_PROCESS);
	if (rc == 0)
		rc = add_rules(filter, who);
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
	if (make(QEMU, "qemu") != 0 || make(PASST, "passt") != 0)
		return EXIT_FAILURE;
	return EXIT_SUCCESS;
}
