/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Namespaces of a test's own, for root and for an ordinary user, who needs a
 * user namespace around them, in which they are who they were: without that
 * nothing can be made on a file system that is mounted there.
 */
#ifndef TESTS_UNIT_NAMESPACES_H
#define TESTS_UNIT_NAMESPACES_H

#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/mount.h>
#include <unistd.h>

static inline bool namespaces_write(const char *path, const char *text)
{
	FILE *file = fopen(path, "we");
	bool ok = file && fputs(text, file) >= 0;

	return file && fclose(file) == 0 && ok;
}

/* flags: of unshare(2). False where the host forbids it. */
static inline bool namespaces_enter(int flags)
{
	char uid[40], gid[40];

	(void)snprintf(uid, sizeof(uid), "%u %u 1", getuid(), getuid());
	(void)snprintf(gid, sizeof(gid), "%u %u 1", getgid(), getgid());
	if (unshare(flags) == 0)
		return true;
	return unshare(flags | CLONE_NEWUSER) == 0 &&
	       namespaces_write("/proc/self/setgroups", "deny") &&
	       namespaces_write("/proc/self/uid_map", uid) &&
	       namespaces_write("/proc/self/gid_map", gid);
}

/* Mounts that nobody else sees. */
static inline bool namespaces_enter_mounts(void)
{
	return namespaces_enter(CLONE_NEWNS) &&
	       mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
}

#endif
