/* SPDX-License-Identifier: Apache-2.0 */
/* See cgroups.h. */
#include "vmd/priv/cgroups.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "api/names.h"
#include "base/cleanup.h"
#include "base/log.h"

#define SELF   "vmd-daemon"
#define HOLDER "hold"

enum {
	/* What was killed ends within microseconds, or hangs in the kernel. */
	ENTER_TRIES = 10,
	ENTER_WAIT_NS = 2000000
};

#define SAY(field, ...) (void)snprintf(field, sizeof(field), __VA_ARGS__)

void priv_cgroups_init(struct priv_cgroups *c)
{
	*c = (struct priv_cgroups){ .base_fd = -1, .fd = -1, .run_vms_fd = -1 };
	SAY(c->text, "this vmd makes no cgroups");
}

void priv_cgroups_close(struct priv_cgroups *c)
{
	/* What still runs keeps it: then this fails, and the next one finds it. */
	if (c->base_fd >= 0)
		(void)unlinkat(c->base_fd, c->name, AT_REMOVEDIR);
	if (c->base_ours)
		(void)unlinkat(c->base_fd, "../vmd", AT_REMOVEDIR);
	close_fd(&c->fd);
	close_fd(&c->base_fd);
	priv_cgroups_init(c);
}

/* Where the tree is for us: the path of a group below the mount point. */
struct tree {
	int root_fd;
	char mount[PATH_MAX], own[PATH_MAX]; /* own: without the first "/" */
};

static bool find_tree(struct priv_cgroups *c, struct tree *t)
{
	char root[PATH_MAX];
	size_t len;

	if (cgroup_mount(t->mount, root) < 0 || cgroup_own(t->own) < 0) {
		SAY(c->text, "this host has no cgroup v2");
		SAY(c->fix, "boot with systemd.unified_cgroup_hierarchy=1");
		return false;
	}
	len = strcmp(root, "/") == 0 ? 0 : strlen(root);
	if (strncmp(t->own, root, len) != 0) {
		SAY(c->text, "our cgroup is not in the tree at %.200s",
		    t->mount);
		return false;
	}
	while (t->own[len] == '/')
		len++;
	memmove(t->own, t->own + len, strlen(t->own + len) + 1);
	t->root_fd =
		open(t->mount, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (t->root_fd < 0) {
		SAY(c->text, "%.200s: %s", t->mount, strerror(errno));
		return false;
	}
	if (cgroup_available(t->root_fd) & CGROUP_LIMITING)
		return true;
	SAY(c->text,
	    "the cgroup v2 tree at %.200s has no controllers: memory, "
	    "pids and cpu are with cgroup v1",
	    t->mount);
	SAY(c->fix, "boot with systemd.unified_cgroup_hierarchy=1");
	return false;
}

static int open_below(int fd, const char *path)
{
	return openat(fd, path[0] ? path : ".",
		      O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

static bool ours_to_write(int fd)
{
	return faccessat(fd, ".", W_OK, AT_EACCESS) == 0 &&
	       faccessat(fd, "cgroup.procs", W_OK, AT_EACCESS) == 0 &&
	       faccessat(fd, "cgroup.subtree_control", W_OK, AT_EACCESS) == 0;
}

/* The unit beside ours. */
static bool find_unit(struct priv_cgroups *c, const struct tree *t, char *path)
{
	char copy[PATH_MAX];

	(void)snprintf(copy, sizeof(copy), "%s", t->own);
	(void)snprintf(path, PATH_MAX, "%.3800s/%s", dirname(copy),
		       PRIV_CGROUP_UNIT);
	c->base_fd = open_below(t->root_fd, path);
	if (c->base_fd >= 0 && !ours_to_write(c->base_fd))
		close_fd(&c->base_fd);
	return c->base_fd >= 0;
}

static bool make_at_root(struct priv_cgroups *c, const struct tree *t,
			 char *path)
{
	(void)cgroup_enable(t->root_fd, CGROUP_LIMITING | CGROUP_IO);
	if (mkdirat(t->root_fd, "vmd", 0755) < 0 && errno != EEXIST) {
		SAY(c->text, "%.200s/vmd cannot be made: %s", t->mount,
		    strerror(errno));
		return false;
	}
	c->base_ours = true;
	(void)snprintf(path, PATH_MAX, "vmd");
	c->base_fd = open_below(t->root_fd, path);
	return c->base_fd >= 0;
}

static int write_procs(int fd, const char *path)
{
	AUTO(fd) int procs = openat(fd, path, O_WRONLY | O_CLOEXEC);

	/* 0 is who writes. */
	return procs < 0 || write(procs, "0", 1) < 0 ? -errno : 0;
}

/* We are in the way of the controllers; who was here before has stepped aside. */
static bool step_aside(struct priv_cgroups *c, const struct tree *t, char *path)
{
	const char *last = strrchr(t->own, '/');
	char copy[PATH_MAX];

	(void)snprintf(copy, sizeof(copy), "%s", t->own);
	(void)snprintf(path, PATH_MAX, "%s",
		       last && strcmp(last + 1, SELF) == 0 ? dirname(copy)
							   : t->own);
	c->base_fd = open_below(t->root_fd, path);
	if (c->base_fd < 0 || !ours_to_write(c->base_fd)) {
		SAY(c->text,
		    "the cgroup of this session (/%.150s) is not its "
		    "user's",
		    path);
		SAY(c->fix, "start it with systemd-run --user --scope -p "
			    "Delegate=yes vmd");
		close_fd(&c->base_fd);
		return false;
	}
	if ((mkdirat(c->base_fd, SELF, 0755) == 0 || errno == EEXIST) &&
	    write_procs(c->base_fd, SELF "/cgroup.procs") == 0 &&
	    cgroup_enable(c->base_fd, CGROUP_LIMITING | CGROUP_IO))
		return true;
	/* As it was. */
	(void)write_procs(c->base_fd, "cgroup.procs");
	(void)unlinkat(c->base_fd, SELF, AT_REMOVEDIR);
	SAY(c->text, "other processes are in our cgroup (/%.150s)", path);
	SAY(c->fix,
	    "start it with systemd-run --user --scope -p Delegate=yes vmd");
	close_fd(&c->base_fd);
	return false;
}

int priv_cgroups_hold(struct err *e)
{
	char mount[PATH_MAX], root[PATH_MAX], own[PATH_MAX], path[PATH_MAX];
	AUTO(fd) int fd = -1;
	int rc;

	if (cgroup_mount(mount, root) < 0 || cgroup_own(own) < 0)
		return 0;
	/* As systemd shows it: its tree is not a part of one. */
	if ((size_t)snprintf(path, sizeof(path), "%s%s", mount, own) >=
	    sizeof(path))
		return err_set(e, ERR_LIMIT, "path_too_long", ENAMETOOLONG,
			       "the cgroup %.60s... has a long path", own);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, errno, "opening the cgroup %s", path);
	if (mkdirat(fd, HOLDER, 0755) < 0 && errno != EEXIST)
		return err_sys(e, errno, "making %s/" HOLDER, path);
	rc = write_procs(fd, HOLDER "/cgroup.procs");
	return rc < 0 ? err_sys(e, -rc, "moving to %s/" HOLDER, path) : 0;
}

/* RUN in BASE, with the controllers for what is in it. */
static void make_run(struct priv_cgroups *c, const char *mount,
		     const char *path, int run_vms_fd)
{
	unsigned have = cgroup_enable(c->base_fd, CGROUP_LIMITING | CGROUP_IO);
	struct stat st;
	char names[32], missing[32];

	if (!(have & CGROUP_LIMITING)) {
		SAY(c->text, "%.150s/%.100s has no controllers to hand down",
		    mount, path);
		return;
	}
	if (fstat(run_vms_fd, &st) < 0)
		return;
	SAY(c->name, "%llx-%llx", (unsigned long long)st.st_dev,
	    (unsigned long long)st.st_ino);
	if ((mkdirat(c->base_fd, c->name, 0755) < 0 && errno != EEXIST) ||
	    cgroup_open(c->base_fd, c->name, &c->fd) < 0) {
		SAY(c->text, "%.150s/%.80s/%s: %s", mount, path, c->name,
		    strerror(errno));
		return;
	}
	c->controllers = cgroup_enable(c->fd, have);
	if (!(c->controllers & CGROUP_LIMITING)) {
		SAY(c->text, "%.150s/%.80s/%s hands no controllers down", mount,
		    path, c->name);
		close_fd(&c->fd);
		return;
	}
	if ((c->controllers & CGROUP_LIMITING) == CGROUP_LIMITING)
		SAY(c->text, "limits of %s by %.100s/%.120s",
		    cgroup_names(c->controllers & CGROUP_LIMITING, names),
		    mount, path);
	else
		SAY(c->text,
		    "limits of %s by %.80s/%.100s, none of %s: no "
		    "such controller there",
		    cgroup_names(c->controllers & CGROUP_LIMITING, names),
		    mount, path,
		    cgroup_names(CGROUP_LIMITING & ~c->controllers, missing));
}

void priv_cgroups_open(struct priv_cgroups *c, int run_vms_fd)
{
	struct tree t = { .root_fd = -1 };
	char path[PATH_MAX];

	priv_cgroups_close(c);
	c->text[0] = '\0';
	c->run_vms_fd = run_vms_fd;
	if (find_tree(c, &t) && (find_unit(c, &t, path) ||
				 (geteuid() == 0 ? make_at_root(c, &t, path)
						 : step_aside(c, &t, path))))
		make_run(c, t.mount, path, run_vms_fd);
	close_fd(&t.root_fd);
}

void priv_cgroups_tell(const struct priv_cgroups *c, struct priv_reply *reply)
{
	SAY(reply->u.hello.cgroup_text, "%s", c->text);
	SAY(reply->u.hello.cgroup_fix, "%s", c->fix);
	reply->u.hello.cgroup_limits =
		(c->controllers & CGROUP_LIMITING) == CGROUP_LIMITING;
}

static int enter(struct priv_cgroups *c, const char *id,
		 const struct cgroup_limits *limits, int *ret_fd, struct err *e)
{
	static const struct timespec wait = { .tv_nsec = ENTER_WAIT_NS };
	int rc = 0;

	*ret_fd = 0;
	if (c->fd < 0)
		return 0;
	if (!limits) {
		if (cgroup_open(c->fd, id, ret_fd) < 0)
			*ret_fd = 0; /* it was started without */
		return 0;
	}
	for (int i = 0; i < ENTER_TRIES; i++) {
		rc = cgroup_remove(c->fd, id);
		if (rc != -EBUSY)
			break;
		(void)nanosleep(&wait, NULL);
	}
	if (rc < 0)
		return err_set(e, ERR_CONFLICT, "cgroup_busy", -rc,
			       "a process of an earlier run of the VM does not "
			       "end: try again");
	rc = cgroup_make(c->fd, id, c->controllers, limits, ret_fd, e);
	if (rc < 0)
		*ret_fd = 0;
	return rc;
}

int priv_cgroups_enter(struct priv_cgroups *c, const char *id,
		       const struct cgroup_limits *limits, int *ret_fd,
		       struct err *e)
{
	int rc = enter(c, id, limits, ret_fd, e);

	/* The unit had ended, and its cgroup with its last VM. */
	if (rc != -ENOENT && rc != -ENODEV)
		return rc;
	if (e)
		err_clear(e);
	log_warn("the cgroup of all VMs is gone: looking for another");
	priv_cgroups_open(c, c->run_vms_fd);
	return enter(c, id, limits, ret_fd, e);
}

int priv_cgroups_end(struct priv_cgroups *c, const char *id,
		     struct cgroup_oom *ret)
{
	AUTO(fd) int fd = -1;

	*ret = (struct cgroup_oom){ 0 };
	if (c->fd < 0 || cgroup_open(c->fd, id, &fd) < 0)
		return 0;
	cgroup_oom(fd, ret);
	return cgroup_remove(c->fd, id);
}

void priv_cgroups_sweep(struct priv_cgroups *c)
{
	int fd = c->fd < 0 ? -1 : open_below(c->fd, ".");
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	if (!dir)
		close_fd(&fd);
	/* One that somebody is in refuses. */
	while (dir && (entry = readdir(dir)))
		if (api_id_ok(entry->d_name))
			(void)unlinkat(c->fd, entry->d_name, AT_REMOVEDIR);
	if (dir)
		(void)closedir(dir);
}
