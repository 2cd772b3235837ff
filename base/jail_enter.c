/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The child's side of jail.h, in stages:
 *
 *  1 ids        in rootless mode: the user namespace gets its one id
 *  2 root       a small tmpfs; what the jail holds is attached to it; it becomes
 *               the root, the host's is detached, nothing can be written to it
 *  3 limits     before privilege, which some need
 *  4 privilege  all groups, ids, capabilities, the bounding set, and the right
 *               to gain any; after it nothing above can be undone
 *  5 filter     last: the stages need calls that it forbids
 *
 * Only system calls: the child shares its memory image with a process that may
 * have held any lock when it was cloned.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/mount.h>
#include <linux/seccomp.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/jail.h"
#include "base/landlock.h"

/* The tmpfs is attached here until it is the root: there is one everywhere. */
#define STAGE "/proc"

static int write_file(const char *path, const char *text)
{
	size_t len = strlen(text);
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -1;
	n = write(fd, text, len);
	(void)close(fd);
	return n == (ssize_t)len ? 0 : -1;
}

static int enter_ids(const struct jail_plan *p)
{
	if (!p->user_namespace)
		return 0;
	/* Or its files in /proc are root's. The exec decides anew. */
	if (prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) < 0)
		return -1;
	/* Without this an ordinary user may not map a group. */
	if (write_file("/proc/self/setgroups", "deny") < 0 ||
	    write_file("/proc/self/uid_map", p->uid_map) < 0 ||
	    write_file("/proc/self/gid_map", p->gid_map) < 0)
		return -1;
	return 0;
}

/* --- the root --- */

/* Makes the directories above the last component of a path below root. */
static int make_parents(int root, const char *path)
{
	char part[256];
	size_t len = strlen(path);

	if (len >= sizeof(part)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	for (size_t i = 0; i < len; i++) {
		if (path[i] == '/') {
			part[i] = '\0';
			if (mkdirat(root, part, 0755) < 0 && errno != EEXIST)
				return -1;
		}
		part[i] = path[i];
	}
	return 0;
}

/* An empty file or directory to attach something to. */
static int make_target(int root, const char *path, bool directory)
{
	int fd;

	if (make_parents(root, path) < 0)
		return -1;
	if (directory)
		return mkdirat(root, path, 0755) < 0 && errno != EEXIST ? -1
									: 0;
	fd = openat(root, path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW,
		    0644);
	return fd < 0 ? -1 : close(fd);
}

static bool same_file(const struct stat *a, int fd)
{
	struct stat b;

	return fstat(fd, &b) == 0 && a->st_dev == b.st_dev &&
	       a->st_ino == b.st_ino;
}

static int attach(int root, const struct jail_bind *bind, uint64_t attributes)
{
	struct mount_attr attr = { .attr_set = attributes };
	struct stat st;
	int tree = open_tree(AT_FDCWD, bind->source,
			     OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC |
				     (unsigned)AT_RECURSIVE);
	int rc = -1;

	if (tree < 0)
		return bind->optional && errno == ENOENT ? 0 : -1;
	if (fstat(tree, &st) < 0) {
		(void)close(tree);
		return -1;
	}
	if (bind->fd >= 0 && !same_file(&st, bind->fd))
		errno = ESTALE;
	else if (mount_setattr(tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &attr,
			       sizeof(attr)) == 0 &&
		 make_target(root, bind->target, S_ISDIR(st.st_mode)) == 0)
		rc = move_mount(tree, "", root, bind->target,
				MOVE_MOUNT_F_EMPTY_PATH);
	(void)close(tree);
	return rc;
}

static int attach_all(int root, const struct jail_bind *binds, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		uint64_t ro = binds[i].writable ? 0 : MOUNT_ATTR_RDONLY;

		if (attach(root, &binds[i],
			   MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | ro) < 0)
			return -1;
	}
	return 0;
}

/* A node of the user's own; where none may be made (user namespaces, some
 * containers) the host's is attached. */
static int add_node(const struct jail_plan *p, int root,
		    const struct jail_node *node, bool *ret_borrowed)
{
	char path[32] = "dev/";
	struct jail_bind bind = { .source = node->source,
				  .target = path,
				  .fd = -1,
				  .writable = true };

	(void)strncat(path, node->name, sizeof(path) - 5);
	if (make_parents(root, path) < 0)
		return -1;
	if (!p->user_namespace &&
	    mknodat(root, path, S_IFCHR | 0600, node->rdev) == 0)
		return fchownat(root, path, p->spec->uid, p->spec->gid,
				AT_SYMLINK_NOFOLLOW);
	*ret_borrowed = true;
	return attach(root, &bind, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC);
}

static int mount_tmp(void)
{
	return mount("tmpfs", "tmp", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC,
		     "mode=1777,size=1m,nr_inodes=64");
}

/*
 * A new /proc shows the jail's processes only. Where the kernel allows none,
 * because parts of the host's are covered up, the host's own is attached: what
 * it shows of others is what it shows any user.
 */
static int mount_proc(int root, int host_proc)
{
	if (mkdirat(root, "proc", 0555) < 0)
		return -1;
	if (mount("proc", "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC,
		  NULL) == 0)
		return 0;
	return errno == EPERM ? move_mount(host_proc, "", root, "proc",
					   MOVE_MOUNT_F_EMPTY_PATH)
			      : -1;
}

static int fill_root(const struct jail_plan *p, int root, bool *ret_borrowed)
{
	const struct jail_spec *spec = p->spec;

	for (size_t i = 0; i < p->link_count; i++)
		if (symlinkat(p->links[i].target, root, p->links[i].name) < 0)
			return -1;
	for (size_t i = 0; i < p->node_count; i++)
		if (add_node(p, root, &p->nodes[i], ret_borrowed) < 0)
			return -1;
	if (spec->tmp && (mkdirat(root, "tmp", 01777) < 0 || mount_tmp() < 0))
		return -1;
	if (attach_all(root, p->library_binds, p->library_bind_count) < 0)
		return -1;
	return attach_all(root, spec->binds, spec->bind_count);
}

static int open_stage(const struct jail_plan *p)
{
	/* Nothing done here may reach the host. */
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return -1;
	/* Over /proc itself, which is of use until here: what is attached is
	 * looked up below the descriptor, everything else by its path. */
	if (mount("tmpfs", STAGE, "tmpfs",
		  MS_NOSUID | MS_NOEXEC | (p->node_count ? 0 : MS_NODEV),
		  p->mount_options) < 0)
		return -1;
	return open(STAGE, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

static int enter_root(const struct jail_plan *p, bool *ret_borrowed)
{
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_RDONLY };
	int host = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	int host_proc = -1, root, rc;

	if (host < 0)
		return -1;
	/* While it can be reached. */
	if (p->spec->proc)
		host_proc = open_tree(AT_FDCWD, "/proc",
				      OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC |
					      (unsigned)AT_RECURSIVE);
	root = open_stage(p);
	if (root < 0 || fchdir(root) < 0)
		return -1;
	(void)umask(0);
	rc = p->spec->proc ? mount_proc(root, host_proc) : 0;
	if (rc == 0)
		rc = fill_root(p, root, ret_borrowed);
	(void)umask(0077);
	if (rc == 0)
		rc = mount_setattr(root, "", AT_EMPTY_PATH, &attr,
				   sizeof(attr));
	(void)close(root);
	/* The old root lies on the new one, and goes. */
	if (rc == 0)
		rc = (int)syscall(SYS_pivot_root, ".", ".");
	if (rc == 0)
		rc = fchdir(host);
	if (rc == 0)
		rc = umount2(".", MNT_DETACH);
	(void)close(host);
	return rc == 0 ? chdir("/") : -1;
}

/* --- limits and privilege --- */

static int limit(__rlimit_resource_t what, uint64_t value)
{
	struct rlimit now, want = { value, value };

	/* Without privilege a limit can be lowered only. */
	if (getrlimit(what, &now) == 0 && now.rlim_max < value)
		want.rlim_cur = want.rlim_max = now.rlim_max;
	return setrlimit(what, &want);
}

static int enter_limits(const struct jail_spec *spec)
{
	const struct jail_limits *l = &spec->limits;

	/* systemd's ProtectHostname forbids it by a filter: then the name is
	 * the host's, which is no secret worth a start. */
	if (sethostname(spec->name, strlen(spec->name)) < 0 && errno != EPERM)
		return -1;
	/* 1, not 0: a core_pattern with a pipe minds no other value. */
	if (limit(RLIMIT_CORE, 1) < 0 || limit(RLIMIT_NOFILE, l->files) < 0 ||
	    limit(RLIMIT_MEMLOCK, l->locked_bytes) < 0 ||
	    limit(RLIMIT_MSGQUEUE, 0) < 0 || limit(RLIMIT_RTPRIO, 0) < 0 ||
	    limit(RLIMIT_NPROC, l->processes) < 0)
		return -1;
	return l->file_bytes ? limit(RLIMIT_FSIZE, l->file_bytes) : 0;
}

static int enter_privilege(const struct jail_plan *p, bool borrowed)
{
	struct __user_cap_header_struct header = {
		.version = _LINUX_CAPABILITY_VERSION_3
	};
	struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {
		{ .effective = 0 }
	};

	/* First, while CAP_SETPCAP is there. */
	for (unsigned i = 0; i <= p->last_capability; i++)
		if (prctl(PR_CAPBSET_DROP, i, 0, 0, 0) < 0 && errno != EINVAL)
			return -1;
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
		return -1;
	/* Raw calls: the C library's would tell all threads of the parent. */
	if (!p->user_namespace &&
	    (syscall(SYS_setgroups, borrowed ? p->group_count : 0, p->groups) <
		     0 ||
	     syscall(SYS_setresgid, p->spec->gid, p->spec->gid, p->spec->gid) <
		     0 ||
	     syscall(SYS_setresuid, p->spec->uid, p->spec->uid, p->spec->uid) <
		     0))
		return -1;
	if (syscall(SYS_capset, &header, none) < 0 ||
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -1;
	return landlock_restrict(LANDLOCK_SCOPES) < 0 ? -1 : 0;
}

static int enter_filter(const struct jail_spec *spec)
{
	struct sock_fprog program = {
		.len = (unsigned short)spec->filter_len,
		.filter = (struct sock_filter *)(uintptr_t)spec->filter
	};

	if (!spec->filter)
		return 0;
	return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program);
}

int jail_enter(const struct jail_plan *p, const char **ret_step)
{
	bool borrowed = false; /* a node of the host, used by its group */

	*ret_step = "the user namespace";
	if (enter_ids(p) < 0)
		return errno;
	*ret_step = "the priority when memory is out";
	/* Whoever started us may have more already: it can only be raised. */
	if (write_file("/proc/self/oom_score_adj", p->oom_score) < 0 &&
	    errno != EACCES)
		return errno;
	*ret_step = "its root";
	if (enter_root(p, &borrowed) < 0)
		return errno;
	*ret_step = "limits";
	if (enter_limits(p->spec) < 0)
		return errno;
	*ret_step = "dropping privilege";
	if (enter_privilege(p, borrowed) < 0)
		return errno;
	*ret_step = "the system call filter";
	if (enter_filter(p->spec) < 0)
		return errno;
	return 0;
}
