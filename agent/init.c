/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PID 1 from the kernel's hand to a ready guest; the order is that of
 * docs/boot.md. What cannot go wrong without the guest being useless ends the
 * machine with a line on the console; everything else is told and passed over.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/agent.h"

enum {
	ROOT_WAIT_MS = 10000,
	/* What TCP knows how to announce, from one small segment on. */
	WINDOW_MIN = 536,
	WINDOW_MAX = 1 << 29,
};

/* Copies a value that must fit whole; otherwise it is told and left out. */
static void take(char *out, size_t size, const char *word, const char *value)
{
	if (!*value || strlen(value) >= size)
		say("%s: bad value \"%.64s\" ignored", word, value);
	else
		(void)snprintf(out, size, "%s", value);
}

static void take_window(uint32_t *ret, const char *value)
{
	char *end;
	unsigned long n = strtoul(value, &end, 10);

	if (*value < '0' || *value > '9' || *end || n < WINDOW_MIN ||
	    n > WINDOW_MAX)
		say("vmd.window: bad value \"%.64s\" ignored", value);
	else
		*ret = (uint32_t)n;
}

static void take_word(struct boot *b, const char *word)
{
	const char *value = strchr(word, '=');

	if (strcmp(word, "ro") == 0)
		b->read_only = true;
	if (strncmp(word, "vmd.", 4) != 0 || !value)
		return;
	value++;
	if (strncmp(word, "vmd.root=", 9) == 0)
		take(b->root, sizeof(b->root), "vmd.root", value);
	else if (strncmp(word, "vmd.rootfs=", 11) == 0)
		take(b->rootfs, sizeof(b->rootfs), "vmd.rootfs", value);
	else if (strncmp(word, "vmd.net=", 8) == 0)
		take(b->net, sizeof(b->net), "vmd.net", value);
	else if (strncmp(word, "vmd.window=", 11) == 0)
		take_window(&b->window, value);
	else if (strncmp(word, "vmd.hostname=", 13) == 0)
		take(b->hostname, sizeof(b->hostname), "vmd.hostname", value);
	else if (strncmp(word, "vmd.agent=", 10) == 0)
		take(b->agent, sizeof(b->agent), "vmd.agent", value);
	else if (strncmp(word, "vmd.init=", 9) == 0)
		b->system = strcmp(value, "system") == 0;
	else if (strncmp(word, "vmd.debug=", 10) == 0)
		b->debug = strcmp(value, "1") == 0;
}

void boot_parse(char *cmdline, struct boot *ret)
{
	char *save = NULL;

	memset(ret, 0, sizeof(*ret));
	(void)snprintf(ret->rootfs, sizeof(ret->rootfs), "ext4");
	for (char *w = strtok_r(cmdline, " \t\n", &save); w;
	     w = strtok_r(NULL, " \t\n", &save))
		take_word(ret, w);
}

static void read_cmdline(struct boot *ret)
{
	char text[4096] = "";
	int fd = open("/proc/cmdline", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (fd >= 0)
		(void)close(fd);
	text[n > 0 ? n : 0] = 0;
	boot_parse(text, ret);
}

static void cannot_boot(const char *what, const char *name, int sys)
{
	say("cannot boot: %s %s: %s", what, name, strerror(sys));
	power_now(WIRE_POWEROFF);
}

/* Stdio on the console: the kernel gives none when the initramfs had no node. */
static void open_console(void)
{
	/* It may become one of the three itself, and stay open over exec. */
	/* NOLINTNEXTLINE(android-cloexec-open) */
	int fd = open("/dev/console", O_RDWR | O_NOCTTY);

	for (int i = 0; fd >= 0 && i < 3; i++)
		(void)dup2(fd, i);
	if (fd > 2)
		(void)close(fd);
}

/* Devices are found by their drivers in their own time. */
static bool wait_for(const char *path)
{
	int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	uint64_t end = now_ms() + ROOT_WAIT_MS;
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char events[4096];
	bool found;

	(void)inotify_add_watch(fd, "/dev", IN_CREATE);
	while (!(found = access(path, F_OK) == 0) && now_ms() < end) {
		(void)poll(&p, 1, (int)(end - now_ms()));
		if (read(fd, events, sizeof(events)) < 0 && errno != EAGAIN)
			break;
	}
	(void)close(fd);
	return found;
}

static void mount_root(const struct boot *b)
{
	unsigned long flags = b->read_only ? MS_RDONLY : 0;

	if (!wait_for(b->root))
		cannot_boot("no root device", b->root, ENOENT);
	(void)mkdir("/newroot", 0755);
	if (mount(b->root, "/newroot", b->rootfs, flags | MS_NOATIME, NULL) < 0)
		cannot_boot("cannot mount the root", b->root, errno);
	if (!root_switch())
		cannot_boot("cannot switch to the root", b->root, errno);
	say_debug("root is %s", b->root);
}

static void set_up_net(const char *text, uint32_t window)
{
	struct wire_net n;
	struct failure f;

	if (!net_parse(text, &n)) {
		say("vmd.net: bad value \"%.64s\" ignored", text);
		return;
	}
	if (!net_setup(&n, window, &f))
		say("network: %s", f.msg);
}

/* The running program into a file on tmpfs. */
static bool copy_self(const char *path)
{
	char block[16384];
	int in = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	int out = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);
	ssize_t n = -1;

	while (in >= 0 && out >= 0 && (n = read(in, block, sizeof(block))) > 0)
		if (write(out, block, (size_t)n) != n) {
			n = -1;
			break;
		}
	if (in >= 0)
		(void)close(in);
	if (out >= 0)
		(void)close(out);
	return n == 0;
}

static void become_system(void)
{
	static const char *const inits[] = { "/sbin/init",
					     "/lib/systemd/systemd",
					     "/usr/lib/systemd/systemd" };

	(void)mkdir("/run/vmd", 0755);
	if (!copy_self("/run/vmd/vmd-agent"))
		say("cannot copy the agent to /run/vmd: %s", strerror(errno));
	for (size_t i = 0; i < sizeof(inits) / sizeof(inits[0]); i++)
		(void)execl(inits[i], inits[i], (char *)NULL);
	say("vmd.init=system: no /sbin/init (%s); staying in its place",
	    strerror(errno));
}

void boot_machine(struct boot *ret)
{
	bool initramfs = boot_in_initramfs();

	(void)setsid();
	(void)umask(022);
	mounts_early();
	open_console();
	(void)reboot(RB_DISABLE_CAD);
	read_cmdline(ret);
	say_verbose = ret->debug;
	if (initramfs) {
		modules_load("/modules");
		if (ret->root[0])
			mount_root(ret);
	}
	if (ret->hostname[0])
		hostname_set(ret->hostname);
	net_loopback();
	if (ret->net[0])
		set_up_net(ret->net, ret->window);
	if (ret->system && ret->root[0])
		become_system();
	mounts_late(initramfs && !ret->root[0]);
	(void)!chdir("/");
}
