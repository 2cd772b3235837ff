/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From root to somebody else, for good (see process.h). The order matters: the
 * bounding set and the groups need capabilities, which the change of user takes.
 */
#include "base/process_identity.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"

static int drop_bounding_set(void)
{
	for (int cap = 0; cap <= CAP_LAST_CAP; cap++) {
		/* EINVAL: this kernel has fewer; EPERM: not ours to drop, as in a
		 * container, and without capabilities nothing is to be gained. */
		if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0 &&
		    errno != EINVAL && errno != EPERM)
			return -1;
	}
	return 0;
}

static int drop_capabilities(void)
{
	struct __user_cap_header_struct header = {
		.version = _LINUX_CAPABILITY_VERSION_3
	};
	struct __user_cap_data_struct data[2];

	memset(data, 0, sizeof(data));
	return (int)syscall(SYS_capset, &header, data);
}

static int become_root_of_namespace(int mapped_fd)
{
	char byte;

	while (read(mapped_fd, &byte, 1) < 0)
		if (errno != EINTR)
			return -1;
	/* Raw calls: the C library's would tell threads that are not here. */
	if (syscall(SYS_setgroups, 0, NULL) < 0 ||
	    syscall(SYS_setresgid, 0, 0, 0) < 0 ||
	    syscall(SYS_setresuid, 0, 0, 0) < 0)
		return -1;
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

int process_become(const struct process_identity *id, int mapped_fd)
{
	if (id->sub_count)
		return become_root_of_namespace(mapped_fd);
	if (drop_bounding_set() < 0 ||
	    syscall(SYS_setgroups, id->group_count, id->groups) < 0 ||
	    syscall(SYS_setresgid, id->gid, id->gid, id->gid) < 0 ||
	    syscall(SYS_setresuid, id->uid, id->uid, id->uid) < 0 ||
	    drop_capabilities() < 0)
		return -1;
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

static int write_map(pid_t pid, const char *which, uint32_t own,
		     const struct process_identity *id)
{
	AUTO(fd) int fd = -1;
	char path[48], map[64];
	int len, rc;

	(void)snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, which);
	len = snprintf(map, sizeof(map), "0 %u 1\n1 %u %u\n", own,
		       id->sub_first, id->sub_count);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	rc = file_write_full(fd, map, (size_t)len);
	if (rc < 0)
		errno = -rc;
	return rc < 0 ? -1 : 0;
}

int process_map_ids(pid_t pid, const struct process_identity *id)
{
	if (write_map(pid, "gid_map", id->gid, id) < 0)
		return -1;
	return write_map(pid, "uid_map", id->uid, id);
}
