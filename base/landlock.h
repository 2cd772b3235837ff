/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Landlock: a process takes rights from itself and its children for good. A
 * second wall behind namespaces and system call filters; where the kernel has
 * none, or an old one, less is taken and nothing fails.
 * Source: Documentation/userspace-api/landlock.rst, ABI 1 (5.13) to 6 (6.12).
 */
#ifndef BASE_LANDLOCK_H
#define BASE_LANDLOCK_H

enum landlock_what {
	/* Everything: no path is opened, made, removed or renamed, no TCP port
	 * bound or connected to. What is open stays as it is. */
	LANDLOCK_ALL,
	/* No signal to, and no abstract socket of, a process outside. */
	LANDLOCK_SCOPES,
};

/*
 * For the calling thread and those that it makes later. no_new_privs must be
 * set. Returns the ABI that took part (0: the kernel has none), or -errno.
 * Async-signal-safe.
 */
int landlock_restrict(enum landlock_what what);

#endif
