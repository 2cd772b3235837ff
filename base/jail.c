/* SPDX-License-Identifier: Apache-2.0 */
/* What can be computed before the clone; see jail.h. */
#include "base/jail.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <linux/sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/file.h"

static const struct {
	unsigned bit;
	const char *name, *source;
} devices[] = {
	{ JAIL_DEV_NULL, "null", "/dev/null" },
	{ JAIL_DEV_ZERO, "zero", "/dev/zero" },
	{ JAIL_DEV_URANDOM, "urandom", "/dev/urandom" },
	{ JAIL_DEV_KVM, "kvm", "/dev/kvm" },
	{ JAIL_DEV_TUN, "net/tun", "/dev/net/tun" },
	{ JAIL_DEV_FULL, "full", "/dev/full" },
	{ JAIL_DEV_RANDOM, "random", "/dev/random" },
};

/* What a dynamic program of this host may load. Where /lib is a link, as on
 * merged systems, it is one in the jail. */
static const char *const libraries[] = { "/usr", "/lib", "/lib64", "/lib32",
					 "/libx32" };
static const char *const programs[] = { "/bin", "/sbin" };
static const char *const standard[][2] = {
	{ "dev/fd", "/proc/self/fd" },
	{ "dev/stdin", "/proc/self/fd/0" },
	{ "dev/stdout", "/proc/self/fd/1" },
	{ "dev/stderr", "/proc/self/fd/2" },
};

static int failed(struct err *e, int sys, const char *what)
{
	return err_set(e, ERR_INTERNAL, "jail_failed", sys,
		       "cannot prepare the jail: %s: %s", what, strerror(sys));
}

static int plan_devices(struct jail_plan *p, struct err *e)
{
	for (size_t i = 0; i < ARRAY_LEN(devices); i++) {
		struct stat st;

		if (!(p->spec->devices & devices[i].bit))
			continue;
		if (stat(devices[i].source, &st) < 0 || !S_ISCHR(st.st_mode))
			return failed(e, errno ? errno : ENODEV,
				      devices[i].source);
		p->nodes[p->node_count++] =
			(struct jail_node){ devices[i].name, devices[i].source,
					    st.st_rdev };
		/* Where no node can be made the host's is used, by its group. */
		if ((st.st_mode & 0006) != 0006 &&
		    (st.st_mode & 0060) == 0060 &&
		    p->group_count < ARRAY_LEN(p->groups))
			p->groups[p->group_count++] = st.st_gid;
	}
	return 0;
}

static void plan_host_dir(struct jail_plan *p, const char *path)
{
	struct jail_link *link = &p->links[p->link_count];
	ssize_t n = readlink(path, link->target, sizeof(link->target) - 1);

	if (n > 0) {
		link->target[n] = '\0';
		(void)snprintf(link->name, sizeof(link->name), "%s", path + 1);
		p->link_count++;
		return;
	}
	p->library_binds[p->library_bind_count++] = (struct jail_bind){
		.source = path, .target = path + 1, .fd = -1, .optional = true
	};
}

static void plan_libraries(struct jail_plan *p)
{
	for (size_t i = 0; i < ARRAY_LEN(libraries); i++)
		plan_host_dir(p, libraries[i]);
	/* Its index of them: without it every name is searched for. */
	p->library_binds[p->library_bind_count++] =
		(struct jail_bind){ .source = "/etc/ld.so.cache",
				    .target = "etc/ld.so.cache",
				    .fd = -1,
				    .optional = true };
}

static void plan_programs(struct jail_plan *p)
{
	for (size_t i = 0; i < ARRAY_LEN(programs); i++)
		plan_host_dir(p, programs[i]);
	for (size_t i = 0; i < ARRAY_LEN(standard); i++) {
		struct jail_link *link = &p->links[p->link_count++];

		(void)snprintf(link->name, sizeof(link->name), "%s",
			       standard[i][0]);
		(void)snprintf(link->target, sizeof(link->target), "%s",
			       standard[i][1]);
	}
}

enum {
	LIBRARIES = sizeof(libraries) / sizeof(libraries[0]),
	PROGRAMS = sizeof(programs) / sizeof(programs[0]),
	STANDARD = sizeof(standard) / sizeof(standard[0]),
};
static_assert(LIBRARIES + PROGRAMS + STANDARD <= JAIL_LINKS_MAX, "links");
static_assert(LIBRARIES + 1 + PROGRAMS <= JAIL_LIBRARIES_MAX, "binds");

static unsigned last_capability(void)
{
	unsigned last = 40; /* of Linux 5.9: more than there are is harmless */
	FILE *f = fopen("/proc/sys/kernel/cap_last_cap", "re");

	if (f && (fscanf(f, "%u", &last) != 1 || last > 63))
		last = 63;
	if (f)
		(void)fclose(f);
	return last;
}

int jail_prepare(const struct jail_spec *spec, struct jail_plan *ret,
		 struct err *e)
{
	static unsigned capability;
	int rc;

	*ret = (struct jail_plan){ .spec = spec,
				   .user_namespace = spec->keep_user ||
						     spec->inside_root ||
						     geteuid() != 0,
				   .mapped_fd = -1 };
	if (!ret->user_namespace && spec->uid == 0)
		return failed(e, EINVAL, "it has no user");
	if (!capability)
		capability = last_capability();
	ret->last_capability = capability;
	ret->clone_flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC |
			   CLONE_NEWUTS | (spec->keep_net ? 0u : CLONE_NEWNET) |
			   (ret->user_namespace ? CLONE_NEWUSER : 0u);
	/* The id stays what it is: who has no other cannot be given one. */
	(void)snprintf(ret->uid_map, sizeof(ret->uid_map), "%u %u 1",
		       spec->inside_root ? 0 : (unsigned)geteuid(),
		       (unsigned)geteuid());
	(void)snprintf(ret->gid_map, sizeof(ret->gid_map), "%u %u 1",
		       spec->inside_root ? 0 : (unsigned)getegid(),
		       (unsigned)getegid());
	(void)snprintf(ret->oom_score, sizeof(ret->oom_score), "%d",
		       spec->oom_score_adj);
	/* Directories and nodes only; never data. */
	(void)snprintf(ret->mount_options, sizeof(ret->mount_options),
		       "mode=0755,size=256k,nr_inodes=128");
	ret->tmp_options = spec->inside_root
				   ? "mode=1777,size=64m,nr_inodes=4096"
				   : "mode=1777,size=1m,nr_inodes=64";
	if (spec->bind_count > JAIL_BINDS_MAX)
		return failed(e, E2BIG, "its files");
	rc = plan_devices(ret, e);
	if (rc == 0 && spec->libraries)
		plan_libraries(ret);
	if (rc == 0 && spec->programs)
		plan_programs(ret);
	return rc;
}
