/* SPDX-License-Identifier: Apache-2.0 */
/* The list behind `vmctl doctor`: what there is, what is missing, what to do. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "base/process.h"
#include "vmd/engines/host.h"
#include "vmd/priv/privops.h"

/* Under these a first guest would not fit, or only just. */
#define MEMORY_MIN_BYTES (512ull << 20)
#define DISK_MIN_BYTES	 (2ull << 30)

struct list {
	struct host_check *at;
	size_t count;
};

static struct host_check *add(struct list *l, const char *name, bool required)
{
	struct host_check *c = &l->at[l->count++];

	*c = (struct host_check){ .required = required };
	(void)snprintf(c->name, sizeof(c->name), "%s", name);
	return c;
}

#define SAY(field, ...) (void)snprintf(field, sizeof(field), __VA_ARGS__)

static void check_engines(struct list *l)
{
	const struct host_kvm *k = host_kvm();
	const struct host_qemu *q = host_qemu();
	struct host_check *c = add(l, "kvm", false);

	c->ok = k->usable;
	SAY(c->detail, "%s", k->reason);
	SAY(c->fix, "%s", k->fix);
	c = add(l, "vmd-monitor", false);
	c->ok = host_monitor();
	SAY(c->detail, "%s", c->ok ? host_monitor() : "not found");
	if (!c->ok)
		SAY(c->fix, "sudo meson install -C build");
	/* Without KVM it is the only engine. */
	c = add(l, "qemu", !k->usable);
	c->ok = q->usable;
	SAY(c->detail, "%s", q->reason);
	SAY(c->fix, "%s", q->fix);
}

static void check_program(struct list *l, const char *name, const char *program,
			  const char *package, const char *without)
{
	AUTO(free) char *path = process_find_program(program);
	struct host_check *c = add(l, name, false);

	c->ok = path;
	if (path) {
		SAY(c->detail, "%.200s", path);
		return;
	}
	SAY(c->detail, "%s is not installed: %s", program, without);
	SAY(c->fix, "sudo apt install %s", package);
}

static void check_cgroups(struct list *l)
{
	struct host_check *c = add(l, "cgroups", false);
	const char *text, *fix;

	c->ok = privops_cgroups(&text, &fix);
	SAY(c->detail, "%s%.200s",
	    c->ok ? "" : "what VMs use of the host is not limited: ", text);
	SAY(c->fix, "%s", fix);
}

static void check_tun(struct list *l)
{
	struct host_check *c = add(l, "tun", false);
	AUTO(fd) int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	unsigned int features = 0;

	/* Opening proves little: the driver must answer. */
	c->ok = fd >= 0 && ioctl(fd, TUNGETFEATURES, &features) == 0 &&
		(features & IFF_TAP);
	if (c->ok) {
		SAY(c->detail, "tap devices can be made");
		return;
	}
	SAY(c->detail,
	    "/dev/net/tun does not work (%s): no tap networks; user-mode "
	    "networks need none",
	    strerror(errno));
	if (fd < 0 && errno != EACCES && errno != EPERM)
		SAY(c->fix, "sudo modprobe tun");
}

static void check_memory(struct list *l)
{
	struct host_check *c = add(l, "memory", true);
	AUTO(file) FILE *f = fopen("/proc/meminfo", "re");
	uint64_t kib = 0;
	char line[128], size[24];

	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "MemAvailable: %" SCNu64 " kB", &kib) == 1)
			break;
	}
	c->ok = kib * 1024 >= MEMORY_MIN_BYTES;
	SAY(c->detail, "%s available", format_size(kib * 1024, size));
	if (!c->ok)
		SAY(c->fix, "stop something, or add memory: a guest takes "
			    "256 MiB and more");
}

static void check_disk(struct list *l, const char *state_path)
{
	struct host_check *c = add(l, "disk", true);
	struct statvfs st;
	char size[24];
	uint64_t free_bytes;

	if (!state_path || statvfs(state_path, &st) < 0) {
		SAY(c->detail, "the state directory %.150s cannot be used: %s",
		    state_path ? state_path : "(none)", strerror(errno));
		return;
	}
	free_bytes = (uint64_t)st.f_bavail * st.f_frsize;
	c->ok = free_bytes >= DISK_MIN_BYTES;
	SAY(c->detail, "%s free in %.180s", format_size(free_bytes, size),
	    state_path);
	if (!c->ok)
		SAY(c->fix, "vmctl image rm what is not needed, or use "
			    "--state-dir on a larger disk");
}

size_t host_checks(const char *state_path,
		   struct host_check ret[static HOST_CHECKS_MAX])
{
	struct list l = { .at = ret };

	check_engines(&l);
	check_program(&l, "passt", "passt", "passt",
		      "VMs get no network (only --net none works)");
	check_tun(&l);
	check_cgroups(&l);
	check_program(&l, "mmdebstrap", "mmdebstrap", "mmdebstrap",
		      "the debian image cannot be built");
	check_program(&l, "e2fsprogs", "mke2fs", "e2fsprogs",
		      "images with a root disk cannot be built");
	check_memory(&l);
	check_disk(&l, state_path);
	return l.count;
}
