/* SPDX-License-Identifier: Apache-2.0 */
/* The lists of call_table.h as filters: its rows, and the calls of which an argument
 * decides. */
#include <errno.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/call_table.h"
#include "base/checked.h"
#include "base/filter_print.h"

enum {
	QEMU = CALLS_QEMU,
	PASST = CALLS_PASST,
	BUILD = CALLS_BUILD,
	PRIV = CALLS_PRIV,
	ALL = QEMU | PASST | BUILD,
	/* The filter must fit into one program of the kernel. */
	OPS_MAX = 4096
};

#define NAMESPACES                                                     \
	(CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | \
	 CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET)

/* By one argument, of which some bits must be so. */
static const struct {
	unsigned who;
	int call;
	unsigned index;
	uint64_t mask, want;
} by_bits[] = {
	/* Threads, and children while there may be any; clone3 hides its flags
	 * from a filter, and a C library does without it. What is made inside of a
	 * user namespace is bounded by it; another one would have all capabilities
	 * again. */
	{ QEMU | PASST, SCMP_SYS(clone), 0, NAMESPACES, 0 },
	{ BUILD, SCMP_SYS(clone), 0, CLONE_NEWUSER, 0 },
	{ PRIV, SCMP_SYS(clone), 0, 0, 0 },
	{ BUILD, SCMP_SYS(unshare), 0, CLONE_NEWUSER, 0 },
	{ PASST | PRIV, SCMP_SYS(unshare), 0, 0, 0 },
	/* What was attached read-only stays so. */
	{ BUILD, SCMP_SYS(mount), 3, MS_REMOUNT, 0 },
	{ BUILD, SCMP_SYS(mount), 3, MS_REMOUNT | MS_RDONLY,
	  MS_REMOUNT | MS_RDONLY },
	{ PASST | PRIV, SCMP_SYS(mount), 0, 0, 0 },
};

/* Socket families: an abstract socket is of the network namespace, AF_VSOCK is
 * of none. */
static const struct {
	unsigned who;
	int family;
} families[] = {
	{ ALL, AF_UNIX },
	{ PASST | BUILD, AF_INET },
	{ PASST | BUILD, AF_INET6 },
	{ PASST | BUILD, AF_NETLINK },
};

/* What a 32-bit or an older program asks for; not those that make an address
 * space easier to attack. */
static const uint32_t personalities[] = { PER_LINUX, PER_LINUX32, UNAME26,
					  PER_LINUX32 | UNAME26, UINT32_MAX };

static bool has(unsigned row, unsigned who)
{
	return who == PRIV || (row & who);
}

/* ioctl by exclusion, KVM alone has a hundred: not TIOCSTI and TIOCLINUX, by which
 * a user's typing is invented, nor TIOCSCTTY, by which their terminal is taken
 * (a package manager has one of its own). */
static int add_ioctl(scmp_filter_ctx filter, unsigned who)
{
	enum {
		FIRST = 0x540e, /* TIOCSCTTY */
		STI = 0x5412,
		LAST = 0x541c /* TIOCLINUX */
	};
	uint32_t first = has(BUILD, who) ? FIRST + 1 : FIRST;
	int rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1,
				  SCMP_A1_32(SCMP_CMP_LT, first, 0));

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

static int add_by_argument(scmp_filter_ctx filter, unsigned who)
{
	int rc = add_ioctl(filter, who);

	for (size_t i = 0; rc == 0 && i < ARRAY_LEN(by_bits); i++) {
		/* The wider row of vmd-priv stands for the others. */
		bool any = by_bits[i].mask == 0;

		if (who == PRIV ? !any : !(by_bits[i].who & who))
			continue;
		rc = any ? seccomp_rule_add(filter, SCMP_ACT_ALLOW,
					    by_bits[i].call, 0)
			 : seccomp_rule_add(filter, SCMP_ACT_ALLOW,
					    by_bits[i].call, 1,
					    SCMP_CMP64(by_bits[i].index,
						       SCMP_CMP_MASKED_EQ,
						       by_bits[i].mask,
						       by_bits[i].want));
	}
	for (size_t i = 0; rc == 0 && i < ARRAY_LEN(families); i++)
		if (has(families[i].who, who))
			rc = seccomp_rule_add(
				filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1,
				SCMP_A0_32(SCMP_CMP_EQ,
					   (uint32_t)families[i].family, 0));
	for (size_t i = 0;
	     rc == 0 && has(BUILD, who) && i < ARRAY_LEN(personalities); i++)
		rc = seccomp_rule_add(
			filter, SCMP_ACT_ALLOW, SCMP_SYS(personality), 1,
			SCMP_A0_32(SCMP_CMP_EQ, personalities[i], 0));
	if (rc == 0)
		rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW,
				      SCMP_SYS(socketpair), 1,
				      SCMP_A0_32(SCMP_CMP_EQ, AF_UNIX, 0));
	return rc;
}

static int make(scmp_filter_ctx filter, unsigned who)
{
	/* A lookup by bisection instead of a long chain. */
	int rc = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);

	/* The calls of another architecture would go around the list. Tools of a
	 * foreign package may ask for them: they do not exist. */
	if (rc == 0)
		rc = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH,
				      has(BUILD, who) ? SCMP_ACT_ERRNO(ENOSYS)
						      : SCMP_ACT_KILL_PROCESS);
	if (rc == 0)
		rc = add_by_argument(filter, who);
	for (size_t i = 0; rc == 0 && i < call_row_count; i++)
		if (has(call_rows[i].who, who))
			rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW,
					      call_rows[i].call, 0);
	return rc;
}

int call_table_print(unsigned who, const char *name)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(ENOSYS));
	int fd = memfd_create("filter", MFD_CLOEXEC);
	int rc;

	if (!filter || fd < 0)
		return -1;
	rc = make(filter, who);
	if (rc == 0)
		rc = seccomp_export_bpf(filter, fd);
	if (rc == 0 &&
	    printf("static const struct sock_filter %s[] = {\n", name) < 0)
		rc = -1;
	if (rc == 0)
		rc = filter_print(fd, OPS_MAX - 1);
	if (rc == 0 && puts("};") < 0)
		rc = -1;
	seccomp_release(filter);
	(void)close(fd);
	return rc == 0 ? 0 : -1;
}
