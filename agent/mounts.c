/* SPDX-License-Identifier: Apache-2.0 */
/* Kernel file systems, modules, and the switch from the initramfs. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/agent.h"

enum {
	RAMFS_TYPE = 0x858458f6u & 0x7fffffff, /* compared masked, see below */
	TMPFS_TYPE = 0x01021994,
	DELETE_DEPTH_MAX = 64,
};

struct mount_row {
	const char *type, *target;
	unsigned long flags;
	const char *options;
	mode_t mode;
};

static void mount_all(const struct mount_row *rows, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const struct mount_row *m = &rows[i];

		(void)mkdir(m->target, m->mode);
		/* EBUSY: it is there already (CONFIG_DEVTMPFS_MOUNT). */
		if (mount(m->type, m->target, m->type, m->flags, m->options) <
			    0 &&
		    errno != EBUSY)
			say("cannot mount %s: %s", m->target, strerror(errno));
	}
}

bool boot_in_initramfs(void)
{
	struct statfs fs;

	if (statfs("/", &fs) < 0)
		return false;
	/* f_type is signed on some machines and not on others. */
	return ((uint32_t)fs.f_type & 0x7fffffff) == RAMFS_TYPE ||
	       (uint32_t)fs.f_type == TMPFS_TYPE;
}

void mounts_early(void)
{
	static const struct mount_row rows[] = {
		{ "devtmpfs", "/dev", MS_NOSUID, "mode=0755", 0755 },
		{ "proc", "/proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL,
		  0555 },
		{ "sysfs", "/sys", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL,
		  0555 },
		{ "tmpfs", "/run", MS_NOSUID | MS_NODEV, "mode=0755", 0755 },
	};

	mount_all(rows, sizeof(rows) / sizeof(rows[0]));
}

void mounts_late(bool initramfs_is_root)
{
	static const struct mount_row rows[] = {
		{ "devpts", "/dev/pts", MS_NOSUID | MS_NOEXEC,
		  "mode=0620,gid=5,ptmxmode=0666", 0755 },
		{ "tmpfs", "/dev/shm", MS_NOSUID | MS_NODEV, "mode=1777",
		  01777 },
		{ "cgroup2", "/sys/fs/cgroup", MS_NOSUID | MS_NODEV | MS_NOEXEC,
		  NULL, 0555 },
	};
	static const struct mount_row tmp = { "tmpfs", "/tmp",
					      MS_NOSUID | MS_NODEV, "mode=1777",
					      01777 };

	mount_all(rows, sizeof(rows) / sizeof(rows[0]));
	if (initramfs_is_root)
		mount_all(&tmp, 1);
	(void)!symlink("/proc/self/fd", "/dev/fd");
	(void)!symlink("/proc/self/fd/0", "/dev/stdin");
	(void)!symlink("/proc/self/fd/1", "/dev/stdout");
	(void)!symlink("/proc/self/fd/2", "/dev/stderr");
}

static int only_modules(const struct dirent *d)
{
	size_t len = strlen(d->d_name);

	return len > 3 && strcmp(d->d_name + len - 3, ".ko") == 0;
}

void modules_load(const char *dir)
{
	struct dirent **list = NULL;
	int n = scandir(dir, &list, only_modules, alphasort);

	for (int i = 0; i < n; i++) {
		char path[300];
		int fd;

		(void)snprintf(path, sizeof(path), "%s/%.200s", dir,
			       list[i]->d_name);
		fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
		if (fd < 0 || (syscall(SYS_finit_module, fd, "", 0) < 0 &&
			       errno != EEXIST && errno != ENODEV))
			say("module %s: %s", path, strerror(errno));
		if (fd >= 0)
			(void)close(fd);
		free(list[i]);
	}
	free(list);
}

/* Empties a directory of the initramfs; stays on its file system. */
static void delete_below(int dirfd_taken, dev_t dev, int depth)
{
	DIR *dir = fdopendir(dirfd_taken);
	const struct dirent *d;

	while (dir && depth < DELETE_DEPTH_MAX && (d = readdir(dir))) {
		struct stat st;
		bool is_dir;

		if (!strcmp(d->d_name, ".") || !strcmp(d->d_name, "..") ||
		    fstatat(dirfd(dir), d->d_name, &st, AT_SYMLINK_NOFOLLOW) ||
		    st.st_dev != dev)
			continue;
		is_dir = S_ISDIR(st.st_mode);
		if (is_dir) {
			int fd = openat(dirfd(dir), d->d_name,
					O_RDONLY | O_DIRECTORY | O_CLOEXEC);

			if (fd >= 0)
				delete_below(fd, dev, depth + 1);
		}
		(void)unlinkat(dirfd(dir), d->d_name,
			       is_dir ? AT_REMOVEDIR : 0);
	}
	if (dir)
		(void)closedir(dir);
}

bool root_switch(void)
{
	static const char *const kept[] = { "/dev", "/proc", "/sys", "/run" };
	char target[32];
	struct stat st;
	int old = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++) {
		(void)snprintf(target, sizeof(target), "/newroot%s", kept[i]);
		(void)mkdir(target, 0755);
		if (mount(kept[i], target, NULL, MS_MOVE, NULL) < 0)
			say("cannot move %s: %s", kept[i], strerror(errno));
	}
	if (old < 0 || fstat(old, &st) < 0 || chdir("/newroot") < 0)
		return false;
	/* Only now, and only what is on the initramfs itself. */
	delete_below(old, st.st_dev, 0);
	return mount(".", "/", NULL, MS_MOVE, NULL) == 0 && chroot(".") == 0 &&
	       chdir("/") == 0;
}
