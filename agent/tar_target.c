/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the one tree of an archive goes, as with cp(1): into the destination when
 * that is a directory, else under its name. Only the path that was named is
 * followed through links; below it nothing is (tar_place.c).
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/tar.h"

void tar_place_done(struct tar_place *p)
{
	if (p->root >= 0)
		(void)close(p->root);
	free(p->path);
	free(p->name);
	free(p->target);
}

static int refuse(struct tar_place *p, int sys, const char *what)
{
	size_t len = strlen(p->path);

	(void)snprintf(p->error, sizeof(p->error), "cannot copy to %s%.80s: %s",
		       len > 80 ? "..." : "",
		       len > 80 ? p->path + len - 80 : p->path, what);
	return -sys;
}

static int refuse_sys(struct tar_place *p, int sys)
{
	return refuse(p, sys, strerror(sys));
}

/* The directory of path becomes the root, its last component the top's name. */
static int set_root(struct tar_place *p, const char *path)
{
	const char *end = path + strlen(path), *base;
	char parent[PATH_MAX];
	size_t len;

	while (end > path + 1 && end[-1] == '/')
		end--;
	for (base = end; base > path && base[-1] != '/'; base--)
		;
	len = (size_t)(base - path);
	if (len >= sizeof(parent) - 1)
		return refuse_sys(p, ENAMETOOLONG);
	memcpy(parent, len ? path : ".", len ? len : 1);
	parent[len ? len : 1] = 0;
	p->root = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (p->root < 0)
		return refuse_sys(p, errno);
	p->target = strndup(base, (size_t)(end - base));
	return p->target ? 0 : refuse_sys(p, ENOMEM);
}

static int set_existing_file(struct tar_place *p, const struct tar_entry *e)
{
	/* A link is written through: what it leads to is replaced. */
	char *real = realpath(p->path, NULL);
	struct stat named, found;
	int rc;

	if (!real)
		return refuse_sys(p, errno);
	/* A link of /proc may lead to a file that has lost its name. */
	if (stat(p->path, &named) < 0 || stat(real, &found) < 0 ||
	    named.st_dev != found.st_dev || named.st_ino != found.st_ino) {
		free(real);
		return refuse_sys(p, ENOENT);
	}
	if (e->type == '5')
		rc = refuse(p, ENOTDIR,
			    "it is a file, and a directory was to be copied");
	else
		rc = set_root(p, real);
	free(real);
	return rc;
}

/* A pipe, a device or a socket was named. */
static int set_special(struct tar_place *p, const struct tar_entry *e,
		       mode_t mode)
{
	bool stream = S_ISFIFO(mode) || S_ISCHR(mode);
	bool file = e->type == 0 || e->type == '0' || e->type == '7' ||
		    e->type == 'S';

	if (!p->policy.through || !stream || !file)
		return refuse(p, EEXIST,
			      S_ISFIFO(mode)   ? "it is a named pipe"
			      : S_ISSOCK(mode) ? "it is a socket"
					       : "it is a device");
	return 0; /* tar_read.c writes into it */
}

static int set_absent(struct tar_place *p, const struct tar_entry *e)
{
	struct stat st;

	if (lstat(p->path, &st) == 0)
		return refuse(p, ENOENT, "it is a link that leads nowhere");
	if (e->type != '5' && p->path[strlen(p->path) - 1] == '/')
		return refuse(p, ENOENT, "there is no such directory");
	return set_root(p, p->path);
}

/* At the first entry, which says whether a directory or a file comes. */
static int resolve(struct tar_place *p, const struct tar_entry *e)
{
	struct stat st;

	if (stat(p->path, &st) < 0)
		return errno == ENOENT ? set_absent(p, e)
				       : refuse_sys(p, errno);
	if (S_ISREG(st.st_mode))
		return set_existing_file(p, e);
	if (!S_ISDIR(st.st_mode))
		return set_special(p, e, st.st_mode);
	p->root = open(p->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (p->root < 0)
		return refuse_sys(p, errno);
	if (p->name && strcmp(p->name, ".") != 0) {
		p->target = strdup(p->name);
		return p->target ? 0 : refuse_sys(p, ENOMEM);
	}
	return 0;
}

/* name: its top component goes, or becomes the target's name. */
static int rename_one(struct tar_place *p, char name[static TAR_NAME_MAX])
{
	char first[256], rest[TAR_NAME_MAX];
	const char *at = name;
	int rc = 1, n;

	if (!p->into_dot) {
		rc = tar_next_component(&at, first);
		if (rc < 0)
			return tar_place_fail(p, -rc, name, "cannot create");
		if (rc == 0 || strcmp(first, p->top) != 0) {
			(void)snprintf(
				p->error, sizeof(p->error),
				"malformed archive: '%.40s' does not lie "
				"in '%.40s', the one to be copied",
				name, p->top);
			return -EPROTO;
		}
	}
	if (!p->target)
		return 0;
	while (*at == '/')
		at++;
	(void)snprintf(rest, sizeof(rest), "%s", at);
	n = snprintf(name, TAR_NAME_MAX, "%s%s%s", p->target, *rest ? "/" : "",
		     rest);
	return n < TAR_NAME_MAX
		       ? 0
		       : tar_place_fail(p, ENAMETOOLONG, name, "cannot create");
}

int tar_place_rename(struct tar_place *p, struct tar_entry *e)
{
	const char *at = e->name;
	int rc = 0;

	if (!p->path)
		return 0;
	if (e->name[0] == '/')
		return tar_place_fail(p, EPERM, e->name, "cannot create");
	if (!p->top[0] && !p->into_dot) {
		rc = tar_next_component(&at, p->top);
		if (rc < 0)
			return tar_place_fail(p, -rc, e->name, "cannot create");
		p->into_dot = rc == 0;
		rc = resolve(p, e);
	}
	if (rc == 0 && p->root >= 0)
		rc = rename_one(p, e->name);
	if (rc == 0 && p->root >= 0 && e->type == '1')
		rc = rename_one(p, e->link);
	return rc;
}
