/* SPDX-License-Identifier: Apache-2.0 */
/* See cgroup.h. */
#include "base/cgroup.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/cleanup.h"

enum {
	PERIOD_US = 100000, /* the kernel's default */
	DEPTH_MAX = 8 /* of groups that a group's own processes made */
};

static const struct {
	const char *name;
	enum cgroup_controller bit;
} controllers[] = {
	{ "memory", CGROUP_MEMORY },
	{ "pids", CGROUP_PIDS },
	{ "cpu", CGROUP_CPU },
	{ "io", CGROUP_IO },
};

/* A line of /proc/self/mountinfo: "36 35 98:0 /root /mount options - type ..." */
static bool is_tree(const char *line, char mount[static PATH_MAX],
		    char root[static PATH_MAX])
{
	const char *type = strstr(line, " - ");

	static_assert(PATH_MAX == 4096, "as in the format");
	return type && strncmp(type + 3, "cgroup2 ", 8) == 0 &&
	       sscanf(line, "%*s %*s %*s %4095s %4095s", root, mount) == 2;
}

int cgroup_mount(char ret[static PATH_MAX], char ret_root[static PATH_MAX])
{
	AUTO(file) FILE *f = fopen("/proc/self/mountinfo", "re");
	AUTO(free) char *line = NULL;
	size_t room = 0;

	while (f && getline(&line, &room, f) > 0)
		if (is_tree(line, ret, ret_root))
			return 0;
	return -ENOENT;
}

int cgroup_own(char ret[static PATH_MAX])
{
	AUTO(file) FILE *f = fopen("/proc/self/cgroup", "re");
	AUTO(free) char *line = NULL;
	size_t room = 0;

	while (f && getline(&line, &room, f) > 0) {
		line[strcspn(line, "\n")] = '\0';
		if (strncmp(line, "0::/", 4) != 0 ||
		    strlen(line + 3) >= PATH_MAX)
			continue;
		memcpy(ret, line + 3, strlen(line + 3) + 1);
		return 0;
	}
	return -ENOENT;
}

/* The content of a small file, as a string; "" when it cannot be read. */
static void read_small(int fd, const char *name, char *buf, size_t size)
{
	AUTO(fd) int file = openat(fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	ssize_t n = file < 0 ? -1 : read(file, buf, size - 1);

	buf[n > 0 ? n : 0] = '\0';
}

static int write_small(int fd, const char *name, const char *text)
{
	AUTO(fd) int file = openat(fd, name, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
	size_t len = strlen(text);
	ssize_t n;

	if (file < 0)
		return -errno;
	n = write(file, text, len);
	return n == (ssize_t)len ? 0 : n < 0 ? -errno : -EIO;
}

/* The words of a list of controllers. */
static unsigned controllers_in(int fd, const char *name)
{
	char text[256], *save = NULL;
	unsigned found = 0;

	read_small(fd, name, text, sizeof(text));
	for (char *word = strtok_r(text, " \n", &save); word;
	     word = strtok_r(NULL, " \n", &save))
		for (size_t i = 0; i < ARRAY_LEN(controllers); i++)
			if (strcmp(word, controllers[i].name) == 0)
				found |= controllers[i].bit;
	return found;
}

unsigned cgroup_available(int fd)
{
	return controllers_in(fd, "cgroup.controllers");
}

unsigned cgroup_enable(int fd, unsigned wanted)
{
	unsigned there = controllers_in(fd, "cgroup.subtree_control");

	/* One by one: a write is all or nothing. */
	for (size_t i = 0; i < ARRAY_LEN(controllers); i++) {
		char text[16];

		if (!(wanted & ~there & controllers[i].bit))
			continue;
		(void)snprintf(text, sizeof(text), "+%s", controllers[i].name);
		(void)write_small(fd, "cgroup.subtree_control", text);
	}
	return controllers_in(fd, "cgroup.subtree_control") & wanted;
}

static int set(int fd, const char *name, uint64_t value)
{
	char text[24];

	(void)snprintf(text, sizeof(text), "%" PRIu64, value);
	return write_small(fd, name, text);
}

static int limit_memory(int fd, const struct cgroup_limits *l,
			const char **ret_what)
{
	int rc;

	/* What is in it is one thing: without the monitor the rest is of no
	 * use, and half a VM is worse than none. */
	rc = set(fd, *ret_what = "memory.oom.group", 1);
	if (rc == 0 && l->memory_high)
		rc = set(fd, *ret_what = "memory.high", l->memory_high);
	if (rc < 0)
		return rc;
	/* Not there on a kernel without swap. */
	rc = set(fd, *ret_what = "memory.swap.max", l->swap_max);
	if (rc < 0 && rc != -ENOENT)
		return rc;
	return l->memory_max ? set(fd, *ret_what = "memory.max", l->memory_max)
			     : 0;
}

int cgroup_limit(int fd, unsigned have, const struct cgroup_limits *l,
		 struct err *e)
{
	const char *what = "";
	char text[32];
	int rc = have & CGROUP_MEMORY ? limit_memory(fd, l, &what) : 0;

	if (rc == 0 && have & CGROUP_PIDS && l->pids_max)
		rc = set(fd, what = "pids.max", l->pids_max);
	if (rc == 0 && have & CGROUP_CPU && l->cpu_percent) {
		(void)snprintf(text, sizeof(text), "%" PRIu64 " %d",
			       (uint64_t)l->cpu_percent * (PERIOD_US / 100),
			       PERIOD_US);
		rc = write_small(fd, what = "cpu.max", text);
	}
	return rc < 0 ? err_sys(e, -rc, "setting %s", what) : 0;
}

int cgroup_make(int parent_fd, const char *name, unsigned have,
		const struct cgroup_limits *limits, int *ret_fd, struct err *e)
{
	AUTO(fd) int fd = -1;
	int rc;

	if (mkdirat(parent_fd, name, 0755) < 0)
		return err_sys(e, errno, "making the cgroup %s", name);
	rc = cgroup_open(parent_fd, name, &fd);
	rc = rc < 0 ? err_sys(e, -rc, "opening it")
		    : cgroup_limit(fd, have, limits, e);
	if (rc < 0) {
		(void)unlinkat(parent_fd, name, AT_REMOVEDIR);
		return err_wrap(e, rc, "cgroup %s", name);
	}
	*ret_fd = take_fd(&fd);
	return 0;
}

int cgroup_open(int parent_fd, const char *name, int *ret_fd)
{
	*ret_fd = openat(parent_fd, name,
			 O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return *ret_fd < 0 ? -errno : 0;
}

static uint64_t event(const char *text, const char *name)
{
	size_t len = strlen(name);

	for (const char *line = text; line && *line;
	     line = strchr(line, '\n'), line += line ? 1 : 0) {
		uint64_t value;

		if (strncmp(line, name, len) == 0 && line[len] == ' ' &&
		    sscanf(line + len, "%" SCNu64, &value) == 1)
			return value;
	}
	return 0;
}

void cgroup_oom(int fd, struct cgroup_oom *ret)
{
	char text[256];

	read_small(fd, "memory.events", text, sizeof(text));
	ret->limit = event(text, "oom");
	ret->killed = event(text, "oom_kill");
}

static int remove_below(int parent_fd, const char *name, int depth)
{
	int fd = -1, rc = cgroup_open(parent_fd, name, &fd);
	struct dirent *entry;
	DIR *dir;

	if (rc < 0)
		return rc == -ENOENT ? 0 : rc;
	/* Whoever works for a VM may not make groups; others who may, might. */
	dir = depth ? fdopendir(fd) : NULL;
	if (!dir)
		close_fd(&fd);
	while (dir && (entry = readdir(dir)))
		if (entry->d_type == DT_DIR && entry->d_name[0] != '.')
			(void)remove_below(dirfd(dir), entry->d_name,
					   depth - 1);
	if (dir)
		(void)closedir(dir);
	if (unlinkat(parent_fd, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
		return 0;
	return -errno;
}

int cgroup_remove(int parent_fd, const char *name)
{
	AUTO(fd) int fd = -1;
	int rc;

	if (unlinkat(parent_fd, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
		return 0;
	rc = cgroup_open(parent_fd, name, &fd);
	if (rc < 0)
		return rc == -ENOENT ? 0 : rc;
	(void)write_small(fd, "cgroup.kill", "1");
	return remove_below(parent_fd, name, DEPTH_MAX);
}

const char *cgroup_names(unsigned which, char buf[static 32])
{
	size_t used = 0;

	buf[0] = '\0';
	for (size_t i = 0; i < ARRAY_LEN(controllers); i++)
		if (which & controllers[i].bit)
			used += (size_t)snprintf(buf + used, 32 - used, "%s%s",
						 used ? ", " : "",
						 controllers[i].name);
	return buf;
}
