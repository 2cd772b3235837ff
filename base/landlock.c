/* SPDX-License-Identifier: Apache-2.0 */
/* See landlock.h. The numbers are Linux's: headers may be older than kernels. */
#include "base/landlock.h"

#include <errno.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/checked.h"

/* struct landlock_ruleset_attr of ABI 6; older kernels take a prefix. */
struct ruleset {
	uint64_t fs, net, scoped;
};

enum {
	VERSION = 1 << 0, /* LANDLOCK_CREATE_RULESET_VERSION */
	NET_ALL = 0x3, /* bind and connect to TCP ports, ABI 4 */
	SCOPED_ALL = 0x3, /* abstract sockets and signals, ABI 6 */
};

/* File rights known to each ABI, and how much of the struct it reads. */
static const struct {
	uint64_t fs;
	size_t size;
} abis[] = {
	{ 0, 0 }, /* there is no ABI 0 */
	{ 0x1fff, 8 }, /* what open, unlink, mkdir, ... need */
	{ 0x3fff, 8 }, /* REFER */
	{ 0x7fff, 8 }, /* TRUNCATE */
	{ 0x7fff, 16 }, /* TCP ports */
	{ 0xffff, 16 }, /* ioctl on devices opened from now on */
	{ 0xffff, 24 }, /* scopes */
};

int landlock_restrict(enum landlock_what what)
{
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, VERSION);
	struct ruleset rules = { .scoped = SCOPED_ALL };
	int fd, rc;

	if (abi <= 0)
		return 0; /* not built in, or switched off */
	if (abi >= (long)ARRAY_LEN(abis))
		abi = (long)ARRAY_LEN(abis) - 1;
	if (what == LANDLOCK_SCOPES && abis[abi].size < sizeof(rules))
		return 0;
	if (what == LANDLOCK_ALL) {
		rules.fs = abis[abi].fs;
		rules.net = NET_ALL;
	}
	fd = (int)syscall(SYS_landlock_create_ruleset, &rules, abis[abi].size,
			  0);
	if (fd < 0)
		return -errno;
	rc = syscall(SYS_landlock_restrict_self, fd, 0) != 0 ? -errno
							     : (int)abi;
	(void)close(fd);
	return rc;
}
