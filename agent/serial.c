/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finding a virtio-serial port by its name, without udev: the kernel lists the
 * ports in sysfs and announces them, a little after the module is loaded, by a
 * uevent on netlink.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/agent.h"

enum {
	NETLINK_UEVENTS = 15
};

/* struct sockaddr_nl of netlink(7). */
struct netlink_address {
	sa_family_t family;
	uint16_t pad;
	uint32_t pid, groups;
};

int uevents_open(void)
{
	struct netlink_address at = { .family = AF_NETLINK, .groups = 1 };
	int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
			NETLINK_UEVENTS);

	if (fd >= 0 && bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0) {
		(void)close(fd);
		fd = -1;
	}
	return fd;
}

static bool port_is_named(int dir, const char *port, const char *name)
{
	char path[300], text[128];
	ssize_t n;
	int fd;

	(void)snprintf(path, sizeof(path), "%.255s/name", port);
	fd = openat(dir, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = read(fd, text, sizeof(text) - 1);
	(void)close(fd);
	if (n <= 0)
		return false;
	text[n] = 0;
	text[strcspn(text, "\n")] = 0;
	return strcmp(text, name) == 0;
}

int serial_open(const char *name)
{
	DIR *dir = opendir("/sys/class/virtio-ports");
	const struct dirent *d;
	char path[300];
	int fd = -1;

	while (dir && fd < 0 && (d = readdir(dir))) {
		if (d->d_name[0] == '.' ||
		    !port_is_named(dirfd(dir), d->d_name, name))
			continue;
		(void)snprintf(path, sizeof(path), "/dev/%.255s", d->d_name);
		fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
		if (fd < 0)
			say("cannot open %s: %s", path, strerror(errno));
	}
	if (dir)
		(void)closedir(dir);
	return fd;
}
