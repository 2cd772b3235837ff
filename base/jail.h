/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A jail around a child process: namespaces of its own, an empty root with just
 * the files it is given, another user without any privilege, limits, and a list
 * of system calls. Everything is in force before the program's first
 * instruction, so the program need not be trusted to shut itself up.
 *
 * Two ways, told apart by who starts it: root becomes the user of the jail
 * (system mode); anybody else makes a user namespace in which only their own
 * id exists (rootless mode). A third is for what has to make the files of many
 * owners (inside_root): root of a user namespace, whoever starts it. What they
 * promise is in docs/threat-model.md.
 *
 * Stages in the child, between clone3 and exec, async-signal-safe throughout
 * (jail_enter.c): files, ids, root, limits, privilege, filter. What they need is
 * computed before the clone by jail_prepare().
 */
#ifndef BASE_JAIL_H
#define BASE_JAIL_H

#include <linux/filter.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

enum {
	JAIL_BINDS_MAX = 48,
	JAIL_NODES_MAX = 8,
	JAIL_LINKS_MAX = 12,
	JAIL_LIBRARIES_MAX = 12,
	JAIL_ENVIRONMENT_MAX = 8,
};

/* Device nodes; a set of them. */
enum jail_device {
	JAIL_DEV_NULL = 1 << 0,
	JAIL_DEV_ZERO = 1 << 1,
	JAIL_DEV_URANDOM = 1 << 2,
	JAIL_DEV_KVM = 1 << 3,
	JAIL_DEV_TUN = 1 << 4,
	JAIL_DEV_FULL = 1 << 5,
	JAIL_DEV_RANDOM = 1 << 6,
};

/* A file or directory of the host, at the same place or another in the jail. */
struct jail_bind {
	const char *source; /* absolute */
	const char *target; /* below the root, without a leading '/' */
	int fd; /* >= 0: source must still be the file that this is */
	bool writable;
	bool optional; /* left out when it is not there */
};

struct jail_limits {
	uint64_t files; /* RLIMIT_NOFILE */
	uint64_t processes; /* RLIMIT_NPROC: threads count */
	uint64_t locked_bytes; /* RLIMIT_MEMLOCK */
	uint64_t file_bytes; /* RLIMIT_FSIZE; 0: unlimited */
};

struct jail_spec {
	const char *name; /* host name in the jail */
	/* System mode: who it becomes, not 0. Rootless: not looked at. */
	uid_t uid;
	gid_t gid;
	/* System mode, not 0: another id that is only its own. It is the effective
	 * group at the exec, by which the kernel makes a process that cannot be dumped,
	 * traced or looked into by its own user (fs/exec.c, begin_new_exec); Linux
	 * before 6.16 puts gid in its place then, since no new privileges are had.
	 * Not for who writes into its own files of /proc. */
	gid_t undumpable_gid;
	/* Not another user, also when root starts it: a user namespace in which
	 * there is only the starter's id, to use its files and no power of its.
	 * uid and gid are not looked at. */
	bool keep_user;
	/* Root of its user namespace, with `capabilities` (1 << CAP_...) that count
	 * in there only. The ids are those of process_spec.identity, a range; without
	 * one 0 is the starter and there is nobody else. uid and gid are not looked
	 * at. */
	bool inside_root;
	uint64_t capabilities;
	bool keep_net; /* the host's network namespace */
	bool libraries; /* what a dynamic program needs: /usr, /lib*, read-only */
	bool programs; /* /bin, /sbin, and /dev/fd, stdin, stdout, stderr, too */
	bool proc; /* /proc of the jail's own processes */
	bool tmp; /* an empty /tmp */
	const char *cwd; /* where it begins; NULL: / */
	unsigned devices; /* of enum jail_device */
	const struct jail_bind *binds;
	size_t bind_count;
	struct jail_limits limits;
	int oom_score_adj; /* 0 to 1000: the kernel's choice when memory is out */
	/* System calls, or NULL. Async-signal-safe calls up to exec, exec and
	 * what a C library does at its start must be on it. */
	const struct sock_filter *filter;
	size_t filter_len;
};

/* What the child needs, computed; no pointers are owned. */
struct jail_plan {
	const struct jail_spec *spec;
	bool user_namespace; /* rootless, keep_user, or inside_root */
	/* inside_root: whose ids there are, or NULL; readable at its end when they
	 * are there. process_spawn() sets them. */
	const struct process_identity *identity;
	int mapped_fd;
	uint64_t clone_flags;
	char uid_map[64], gid_map[64], oom_score[16], mount_options[64];
	const char *tmp_options;
	gid_t groups[2]; /* of devices that the user may use by a group only */
	size_t group_count;
	struct jail_node {
		const char *name; /* "kvm", "net/tun" */
		const char *source; /* "/dev/kvm" */
		dev_t rdev;
	} nodes[JAIL_NODES_MAX];
	size_t node_count;
	struct jail_link {
		char name[16], target[32];
	} links[JAIL_LINKS_MAX]; /* /lib -> usr/lib */
	size_t link_count;
	struct jail_bind library_binds[JAIL_LIBRARIES_MAX];
	size_t library_bind_count;
	unsigned last_capability;
};

/* Code jail_failed. The plan points to spec. */
int jail_prepare(const struct jail_spec *spec, struct jail_plan *ret,
		 struct err *e);

/*
 * In the child: everything, or the errno and, in *ret_step, what failed. What is
 * open stays open. After it nothing but exec is left.
 */
int jail_enter(const struct jail_plan *plan, const char **ret_step);

#endif
