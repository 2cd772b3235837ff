/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The child's side of jail.h, in stages:
 *
 *  1 files      what the jail will hold is looked up as who starts it
 *  2 ids        in rootless mode: the user namespace gets its one id; with a
 *               range: it becomes root of it
 *  3 root       a small tmpfs; what the jail holds is attached to it; it becomes
 *               the root, the host's is detached, nothing can be written to it
 *  4 limits     before privilege, which some need
 *  5 privilege  all groups, ids, capabilities, the bounding set, and the right
 *               to gain any; after it nothing above can be undone
 *  6 filter     last: the stages need calls that it forbids
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
#include "base/process_identity.h"

/* What was looked up: a tree of mounts for each, or -1. */
struct trees {
	int library[JAIL_LIBRARIES_MAX], bind[JAIL_BINDS_MAX];
	int node[JAIL_NODES_MAX];
	int host_proc;
	bool borrowed; /* a node of the host, used by its group */
};

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
	if (p->identity)
		return process_become(p->identity, p->mapped_fd);
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

/* A copy of the mounts at bind's source, attached nowhere yet. It is -1, and that
 * no error, when there may be none. */
static int take_tree(const struct jail_bind *bind, uint64_t attributes,
		     int *ret_tree)
{
	struct mount_attr attr = { .attr_set = attributes };
	struct stat st;
	int tree = open_tree(AT_FDCWD, bind->source,
			     OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC |
				     (unsigned)AT_RECURSIVE);

	*ret_tree = -1;
	if (tree < 0)
		return bind->optional && errno == ENOENT ? 0 : -1;
	if (fstat(tree, &st) == 0) {
		if (bind->fd >= 0 && !same_file(&st, bind->fd))
			errno = ESTALE;
		else if (mount_setattr(tree, "", AT_EMPTY_PATH | AT_RECURSIVE,
				       &attr, sizeof(attr)) == 0) {
			*ret_tree = tree;
			return 0;
		}
	}
	(void)close(tree);
	return -1;
}

static int take_all(const struct jail_bind *binds, size_t count, int *trees)
{
	for (size_t i = 0; i < count; i++) {
		uint64_t ro = binds[i].writable ? 0 : MOUNT_ATTR_RDONLY;

		if (take_tree(&binds[i],
			      MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | ro,
			      &trees[i]) < 0)
			return -1;
	}
	return 0;
}

static int attach(int root, int tree, const char *target)
{
	struct stat st;

	if (tree < 0)
		return 0;
	if (fstat(tree, &st) < 0 ||
	    make_target(root, target, S_ISDIR(st.st_mode)) < 0 ||
	    move_mount(tree, "", root, target, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return -1;
	return close(tree);
}

static int attach_all(int root, const struct jail_bind *binds, size_t count,
		      const int *trees)
{
	for (size_t i = 0; i < count; i++)
		if (attach(root, trees[i], binds[i].target) < 0)
			return -1;
	return 0;
}

static int take_node(const struct jail_node *node, int *ret_tree)
{
	struct jail_bind bind = { .source = node->source, .fd = -1 };

	return take_tree(&bind, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC,
			 ret_tree);
}

/* A node of the user's own; where none may be made (user namespaces, some
 * containers) the host's is attached. */
static int add_node(const struct jail_plan *p, int root,
		    const struct jail_node *node, struct trees *trees, int tree)
{
	char path[32] = "dev/";

	(void)strncat(path, node->name, sizeof(path) - 5);
	if (make_parents(root, path) < 0)
		return -1;
	if (!p->user_namespace &&
	    mknodat(root, path, S_IFCHR | 0600, node->rdev) == 0)
		return fchownat(root, path, p->spec->uid, p->spec->gid,
				AT_SYMLINK_NOFOLLOW);
	trees->borrowed = true;
	if (tree < 0 && take_node(node, &tree) < 0)
		return -1;
	return attach(root, tree, path);
}

static int mount_tmp(const struct jail_plan *p)
{
	return mount("tmpfs", "tmp", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC,
		     p->tmp_options);
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

static int fill_root(const struct jail_plan *p, int root, struct trees *trees)
{
	const struct jail_spec *spec = p->spec;

	for (size_t i = 0; i < p->link_count; i++)
		if (make_parents(root, p->links[i].name) < 0 ||
		    symlinkat(p->links[i].target, root, p->links[i].name) < 0)
			return -1;
	for (size_t i = 0; i < p->node_count; i++)
		if (add_node(p, root, &p->nodes[i], trees, trees->node[i]) < 0)
			return -1;
	if (spec->tmp && (mkdirat(root, "tmp", 01777) < 0 || mount_tmp(p) < 0))
		return -1;
	if (attach_all(root, p->library_binds, p->library_bind_count,
		       trees->library) < 0)
		return -1;
	return attach_all(root, spec->binds, spec->bind_count, trees->bind);
}

/* Before it changes its ids: what the jail is given need not be in reach of who
 * lives in it. */
static int take_files(const struct jail_plan *p, struct trees *trees)
{
	/* Nothing done from here on may reach the host. */
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return -1;
	trees->host_proc = -1;
	if (p->spec->proc)
		trees->host_proc =
			open_tree(AT_FDCWD, "/proc",
				  OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC |
					  (unsigned)AT_RECURSIVE);
	for (size_t i = 0; i < p->node_count; i++) {
		trees->node[i] = -1;
		if (p->user_namespace &&
		    take_node(&p->nodes[i], &trees->node[i]) < 0)
			return -1;
	}
	if (take_all(p->library_binds, p->library_bind_count, trees->library) <
	    0)
		return -1;
	return take_all(p->spec->binds, p->spec->bind_count, trees->bind);
}

static int open_stage(const struct jail_plan *p)
{
	/* Over /proc itself, which is of use until here: what is attached is
	 * looked up below the descriptor, everything else by its path. */
	if (mount("tmpfs", STAGE, "tmpfs",
		  MS_NOSUID | MS_NOEXEC | (p->node_count ? 0 : MS_NODEV),
		  p->mount_options) < 0)
		return -1;
	return open(STAGE, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

static int enter_root(const struct jail_plan *p, struct trees *trees)
{
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_RDONLY };
	int host = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	int root, rc;

	if (host < 0)
		return -1;
	root = open_stage(p);
	if (root < 0 || fchdir(root) < 0)
		return -1;
	(void)umask(0);
	rc = p->spec->proc ? mount_proc(root, trees->host_proc) : 0;
	if (rc == 0)
		rc = fill_root(p, root, trees);
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
	if (rc == 0)
		rc = chdir("/");
	return rc == 0 && p->spec->cwd ? chdir(p->spec->cwd) : rc;
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
	/* Of its user namespace, or none. */
	uint64_t kept = p->spec->inside_root ? p->spec->capabilities : 0;
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {
		{ .effective = (uint32_t)kept, .permitted = (uint32_t)kept },
		{ .effective = (uint32_t)(kept >> 32),
		  .permitted = (uint32_t)(kept >> 32) },
	};

	/* First, while CAP_SETPCAP is there. */
	for (unsigned i = 0; i <= p->last_capability; i++)
		if (!(kept >> i & 1) &&
		    prctl(PR_CAPBSET_DROP, i, 0, 0, 0) < 0 && errno != EINVAL)
			return -1;
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
		return -1;
	/* Raw calls: the C library's would tell all threads of the parent. */
	if (!p->user_namespace &&
	    (syscall(SYS_setgroups, borrowed ? p->group_count : 0, p->groups) <
		     0 ||
	     syscall(SYS_setresgid, p->spec->gid,
		     p->spec->undumpable_gid ? p->spec->undumpable_gid
					     : p->spec->gid,
		     p->spec->gid) < 0 ||
	     syscall(SYS_setresuid, p->spec->uid, p->spec->uid, p->spec->uid) <
		     0))
		return -1;
	if (syscall(SYS_capset, &header, data) < 0 ||
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
	struct trees trees = { .borrowed = false };

	*ret_step = "its files";
	if (take_files(p, &trees) < 0)
		return errno;
	*ret_step = "the priority when memory is out";
	/* Or its files in /proc are root's. The exec decides anew. */
	if (p->user_namespace && prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) < 0)
		return errno;
	/* Whoever started us may have more already: it can only be raised. */
	if (write_file("/proc/self/oom_score_adj", p->oom_score) < 0 &&
	    errno != EACCES)
		return errno;
	*ret_step = "the user namespace";
	if (enter_ids(p) < 0)
		return errno;
	*ret_step = "its root";
	if (enter_root(p, &trees) < 0)
		return errno;
	*ret_step = "limits";
	if (enter_limits(p->spec) < 0)
		return errno;
	*ret_step = "dropping privilege";
	if (enter_privilege(p, trees.borrowed) < 0)
		return errno;
	*ret_step = "the system call filter";
	if (enter_filter(p->spec) < 0)
		return errno;
	return 0;
}
