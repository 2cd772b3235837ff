/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See recipe_jail.h. Whose ids the recipe has follows from who we are:
 *
 *  root of the host    some that nobody has: IMAGE_UID_FIRST and up
 *  root of a user      those of it, without our own: vmd-priv starts builds so,
 *  namespace           and recipe_jail_get_ids() a normal user's
 *  anybody else        only their own, as 0: enough for what needs no owners
 *
 * The network is the host's: packages come through it, by the proxy and resolver
 * that are set up there, which may be on the loopback. Abstract sockets of others
 * are out of reach by landlock where there is Linux 6.12.
 */
#include "images/recipe_jail.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/cleanup.h"

/* filter_build: see recipe_filter.c */
#include "images/recipe_filter.inc"

enum {
	/* Above the ids that systemd gives to containers; the half of vmd-priv's
	 * default range that is for image builds (vmd/priv/user.h). */
	IMAGE_UID_FIRST = 0x70010000,
	IMAGE_UIDS = 65535,
	OOM_SCORE = 300,
	PROBE_MS = 5000
};

#define CAP(name) (UINT64_C(1) << (CAP_##name))

/* In its user namespace: the owners, modes and attributes of the files of an
 * image, a chroot with mounts, scripts that become somebody else. */
static const uint64_t capabilities =
	CAP(CHOWN) | CAP(DAC_OVERRIDE) | CAP(DAC_READ_SEARCH) | CAP(FOWNER) |
	CAP(FSETID) | CAP(KILL) | CAP(SETGID) | CAP(SETUID) | CAP(SETPCAP) |
	CAP(SYS_CHROOT) | CAP(SYS_ADMIN) | CAP(SETFCAP);

/* What the tools read: whom to ask for names, names of users, the archive's
 * addresses, keys and passwords, certificates, and settings of programs. */
static const char *const readable[] = {
	"/etc/alternatives",
	"/etc/apt",
	"/etc/ca-certificates",
	"/etc/debian_version",
	"/etc/depmod.d",
	"/etc/dpkg",
	"/etc/gai.conf",
	"/etc/group",
	"/etc/host.conf",
	"/etc/hosts",
	"/etc/ld.so.conf",
	"/etc/ld.so.conf.d",
	"/etc/localtime",
	"/etc/mke2fs.conf",
	"/etc/modprobe.d",
	"/etc/nsswitch.conf",
	"/etc/os-release",
	"/etc/passwd",
	"/etc/perl",
	"/etc/protocols",
	"/etc/resolv.conf",
	"/etc/services",
	"/etc/ssl",
	/* Saves most of a download; see apt_update in recipes/lib.sh. */
	"/var/lib/apt/lists",
};

static_assert(sizeof(readable) / sizeof(readable[0]) + 3 <= JAIL_BINDS_MAX,
	      "binds");

/* How many ids there are from 0 on in our user namespace. */
static uint64_t count_ids(const char *path)
{
	AUTO(file) FILE *f = fopen(path, "re");
	uint64_t inside, outside, count, next = 0;

	while (f &&
	       fscanf(f, "%" SCNu64 " %" SCNu64 " %" SCNu64, &inside, &outside,
		      &count) == 3 &&
	       inside == next)
		next += count;
	return next;
}

/* True with a range of ids for the recipe. */
static bool find_ids(struct process_identity *ret)
{
	uint64_t uids = count_ids("/proc/self/uid_map");
	uint64_t gids = count_ids("/proc/self/gid_map");
	uint64_t ids = uids < gids ? uids : gids;

	if (geteuid() != 0 || ids < 3)
		return false;
	if (ids > INT32_MAX) {
		ret->uid = IMAGE_UID_FIRST;
		ids = IMAGE_UIDS;
	} else {
		/* 0 is ourselves. */
		ret->uid = 1;
		ids = ids - 1 < IMAGE_UIDS ? ids - 1 : IMAGE_UIDS;
	}
	ret->gid = ret->uid;
	ret->sub_first = ret->uid + 1;
	ret->sub_count = (uint32_t)ids - 1;
	return true;
}

static void add_bind(struct recipe_jail *j, const char *source,
		     const char *target, bool writable, bool optional)
{
	j->binds[j->spec.bind_count++] =
		(struct jail_bind){ .source = source,
				    .target = target + 1,
				    .fd = -1,
				    .writable = writable,
				    .optional = optional };
}

/* The recipe's user is nobody that owns the recipes. */
static int check_readable(const struct recipe *r, struct err *e)
{
	struct stat dir, file;

	if (stat(r->dir, &dir) < 0 || stat(r->path, &file) < 0)
		return err_sys(e, errno, "recipe %s", r->path);
	if ((dir.st_mode & 0005) == 0005 && (file.st_mode & 0004))
		return 0;
	return err_set(e, ERR_PERMISSION, "recipe_unreadable", EACCES,
		       "recipes run as a user of their own, who may not read "
		       "%s: chmod -R a+rX %s",
		       r->path, r->dir);
}

int recipe_jail_fill(struct recipe_jail *j, const struct recipe_run *run,
		     const char *agent, int staging_fd, struct err *e)
{
	*j = (struct recipe_jail){
		.spec = { .name = "build",
			  .inside_root = true,
			  .capabilities = capabilities,
			  .keep_net = true,
			  .libraries = true,
			  .programs = true,
			  .proc = true,
			  .tmp = true,
			  .cwd = RECIPE_JAIL_BUILD,
			  .devices = JAIL_DEV_NULL | JAIL_DEV_ZERO |
				     JAIL_DEV_FULL | JAIL_DEV_RANDOM |
				     JAIL_DEV_URANDOM,
			  .binds = j->binds,
			  .limits = { .files = 4096,
				      .processes = 2048,
				      .locked_bytes = 65536 },
			  .oom_score_adj = OOM_SCORE,
			  .filter = filter_build,
			  .filter_len = ARRAY_LEN(filter_build) }
	};
	for (size_t i = 0; i < ARRAY_LEN(readable); i++)
		add_bind(j, readable[i], readable[i], false, true);
	add_bind(j, run->recipe->dir, RECIPE_JAIL_RECIPES, false, false);
	add_bind(j, run->staging_path, RECIPE_JAIL_BUILD, true, false);
	if (agent)
		add_bind(j, agent, RECIPE_JAIL_AGENT, false, true);
	j->has_identity = find_ids(&j->identity);
	if (j->has_identity && check_readable(run->recipe, e) < 0)
		return -EACCES;
	if (j->has_identity &&
	    fchown(staging_fd, j->identity.uid, j->identity.gid) < 0)
		return err_sys(e, errno,
			       "giving the staging directory to the user of "
			       "the recipe");
	return 0;
}

void recipe_jail_get_ids(char **argv)
{
	static const char *const as_root[] = { "unshare", "--user",
					       "--map-auto",
					       "--map-root-user" };
	const char *all[64];
	const struct process_spec spec = { .argv = all,
					   .die_with_parent = true };
	char self[4096];
	ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
	struct process child = PROCESS_INIT;
	struct process_exit end = { .known = false };
	size_t n = ARRAY_LEN(as_root), count = 0;
	bool ok;

	while (argv[count])
		count++;
	if (geteuid() == 0 || len <= 0 || n + 2 + count > ARRAY_LEN(all))
		return;
	self[len] = '\0';
	memcpy(all, as_root, sizeof(as_root));
	all[n] = "true";
	all[n + 1] = NULL;
	if (process_spawn(&spec, &child, NULL) < 0)
		return;
	ok = process_wait(&child, PROBE_MS, &end) == 0 && end.known &&
	     end.status == 0 && end.signal == 0;
	process_close(&child);
	if (!ok)
		return;
	all[n] = self;
	memcpy(&all[n + 1], &argv[1], count * sizeof(argv[0]));
	(void)execvp(all[0], (char *const *)(uintptr_t)all);
}
