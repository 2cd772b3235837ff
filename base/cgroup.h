/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control groups of the kernel, version 2: where its tree is, what it can
 * limit, and one group with its limits. A group is an open directory; nothing here
 * takes a path from outside. Source: the kernel's
 * Documentation/admin-guide/cgroup-v2.rst.
 */
#ifndef BASE_CGROUP_H
#define BASE_CGROUP_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

/* What can be limited or counted; a set of them. */
enum cgroup_controller {
	CGROUP_MEMORY = 1 << 0,
	CGROUP_PIDS = 1 << 1,
	CGROUP_CPU = 1 << 2,
	CGROUP_IO = 1 << 3, /* counted, and writeback told apart by group */
};

enum {
	CGROUP_LIMITING = CGROUP_MEMORY | CGROUP_PIDS | CGROUP_CPU
};

/* A limit of 0 leaves the kernel's own, which is none. */
struct cgroup_limits {
	uint64_t memory_max; /* bytes: above it the group is ended */
	uint64_t memory_high; /* bytes: above it the group is slowed down */
	uint64_t swap_max; /* bytes, besides memory_max; 0: no swap */
	uint32_t pids_max; /* processes and threads */
	uint32_t cpu_percent; /* of one CPU */
};

/* How often memory was out, since the group was made. */
struct cgroup_oom {
	uint64_t
		limit; /* its own limit was reached and nothing could be freed */
	uint64_t killed; /* processes of it that were killed for want of memory,
			  * its own or the host's */
};

/* The mount point of the tree as this process sees it: 0, or -ENOENT. Where only
 * a part of the tree is mounted, ret_root is that part, else "/". */
int cgroup_mount(char ret[static PATH_MAX], char ret_root[static PATH_MAX]);
/* The group of this process, from the root of the tree: 0, or -ENOENT. */
int cgroup_own(char ret[static PATH_MAX]);

/* What this group can use: those that the one above hands down. */
unsigned cgroup_available(int fd);
/* Hands controllers down to the groups below; those that cannot be are left out.
 * Returns what is handed down then. */
unsigned cgroup_enable(int fd, unsigned wanted);

/* Sets the limits for which there is a controller; one that cannot be set is an
 * error that names it. */
int cgroup_limit(int fd, unsigned have, const struct cgroup_limits *limits,
		 struct err *e);
/*
 * Makes a group with its limits. A limit that cannot be set is an error, and the
 * group is gone again. EEXIST: there is one. *ret_fd is owned by the caller.
 */
int cgroup_make(int parent_fd, const char *name, unsigned have,
		const struct cgroup_limits *limits, int *ret_fd, struct err *e);
int cgroup_open(int parent_fd, const char *name, int *ret_fd);
/* Zeros where nothing counts it. */
void cgroup_oom(int fd, struct cgroup_oom *ret);
/* Kills what is in it and removes it, with groups that were made in it. 0 also
 * when there is none; -EBUSY: what was killed has not ended yet. */
int cgroup_remove(int parent_fd, const char *name);
/* Names of the controllers, for people: "memory, pids". Returns buf. */
const char *cgroup_names(unsigned which, char buf[static 32]);

#endif
