/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See qemu_args.h. The choices and their measurements are in
 * docs/qemu-engine.md; QEMU 7.2 is the oldest version served.
 */
#include "vmd/engines/qemu/qemu_args.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/wire.h"
#include "base/cleanup.h"
#include "base/json.h"
#include "vmd/engines/passt.h"
#include "vmd/priv/jails.h"

typedef bool when_fn(const struct qemu_args *a);
/* malloc'd value, NULL: out of memory. */
typedef char *value_fn(const struct qemu_args *a);

static bool with_kvm(const struct qemu_args *a)
{
	return a->kvm;
}

static bool with_tcg(const struct qemu_args *a)
{
	return !a->kvm;
}

static bool with_initrd(const struct qemu_args *a)
{
	return a->launch->initrd_path;
}

static bool with_disk(const struct qemu_args *a)
{
	return a->launch->root_path;
}

static bool with_net(const struct qemu_args *a)
{
	return a->launch->network;
}

static char *text(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static char *text(const char *fmt, ...)
{
	char *s = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&s, fmt, ap) < 0)
		s = NULL;
	va_end(ap);
	return s;
}

static char *name_value(const struct qemu_args *a)
{
	/* A comma would begin another option; names of ours have none. */
	const char *name = a->launch->name ? a->launch->name : a->launch->id;

	return text("guest=%s,debug-threads=on",
		    strchr(name, ',') ? a->launch->id : name);
}

static char *memory_value(const struct qemu_args *a)
{
	return text("size=%lluk",
		    (unsigned long long)(a->launch->memory_bytes / 1024));
}

static char *smp_value(const struct qemu_args *a)
{
	return text("%u", a->launch->vcpus);
}

static char *kernel_value(const struct qemu_args *a)
{
	return strdup(a->launch->jailed ? JAIL_KERNEL : a->launch->kernel_path);
}

static char *initrd_value(const struct qemu_args *a)
{
	return strdup(a->launch->jailed ? JAIL_INITRD : a->launch->initrd_path);
}

static char *append_value(const struct qemu_args *a)
{
	return qemu_cmdline(a->launch, a->kvm);
}

static char *disk_value(const struct qemu_args *a)
{
	(void)a;
	AUTO(json)
	json_t *j = json_pack("{s:s, s:s, s:s, s:{s:s, s:s, s:s}}", "driver",
			      "raw", "node-name", "root", "discard", "unmap",
			      "file", "driver", "file", "filename",
			      "/dev/fdset/3", "discard", "unmap");

	return j ? json_to_text(j) : NULL;
}

#define SOCKET(id, fd) "socket,id=" id ",server=on,wait=off,fd=" fd

/* One option: when NULL always; the value is fixed text, or comes from fn. */
static const struct row {
	when_fn *when;
	const char *option;
	const char *value;
	value_fn *fn;
} rows[] = {
	{ NULL, "-nodefaults", NULL, NULL },
	{ NULL, "-no-user-config", NULL, NULL },
	{ NULL, "-display", "none", NULL },
	/* Nothing runs before the checks are through. */
	{ NULL, "-S", NULL, NULL },
	{ NULL, "-sandbox",
	  "on,obsolete=deny,elevateprivileges=deny,spawn=deny,"
	  "resourcecontrol=deny",
	  NULL },
	/* Stay for questions after the end, whoever asks and whenever. */
	{ NULL, "-action", "shutdown=pause,panic=pause,reboot=shutdown", NULL },
	{ NULL, "-msg", "timestamp=on", NULL },
	{ NULL, "-name", NULL, name_value },
	{ NULL, "-machine", "q35,hpet=off,vmport=off", NULL },
	{ NULL, "-global", "ICH9-LPC.disable_s3=1", NULL },
	{ NULL, "-global", "ICH9-LPC.disable_s4=1", NULL },
	{ with_kvm, "-accel", "kvm", NULL },
	{ with_kvm, "-cpu", "host", NULL },
	{ with_tcg, "-accel", "tcg,thread=multi,tb-size=256", NULL },
	/* Emulated, "fast" string instructions are the slow ones. */
	{ with_tcg, "-cpu", "max,erms=off,fsrm=off", NULL },
	{ NULL, "-m", NULL, memory_value },
	{ NULL, "-smp", NULL, smp_value },
	{ NULL, "-kernel", NULL, kernel_value },
	{ with_initrd, "-initrd", NULL, initrd_value },
	{ NULL, "-append", NULL, append_value },
	/* The log keeps events that nobody was connected for: engine_qemu.c
	 * reads the reason of an end from it. */
	{ NULL, "-add-fd", "fd=7,set=1", NULL },
	{ NULL, "-chardev",
	  SOCKET("qmp", "3") ",logfile=/dev/fdset/1,logappend=on", NULL },
	{ NULL, "-mon", "chardev=qmp,mode=control", NULL },
	{ NULL, "-add-fd", "fd=8,set=2", NULL },
	{ NULL, "-chardev",
	  SOCKET("serial", "4") ",logfile=/dev/fdset/2,logappend=on", NULL },
	{ NULL, "-device", "{\"driver\":\"isa-serial\",\"chardev\":\"serial\"}",
	  NULL },
	{ NULL, "-chardev", SOCKET("agent", "5"), NULL },
	{ NULL, "-device",
	  "{\"driver\":\"virtio-serial-pci\",\"id\":\"vserial\","
	  "\"max_ports\":2}",
	  NULL },
	/* Without an id there is no VSERPORT_CHANGE. */
	{ NULL, "-device",
	  "{\"driver\":\"virtserialport\",\"id\":\"agent\","
	  "\"chardev\":\"agent\",\"bus\":\"vserial.0\",\"nr\":1,"
	  "\"name\":\"" WIRE_PORT_NAME "\"}",
	  NULL },
	{ NULL, "-object", "rng-random,id=rng,filename=/dev/urandom", NULL },
	{ NULL, "-device", "{\"driver\":\"virtio-rng-pci\",\"rng\":\"rng\"}",
	  NULL },
	{ with_disk, "-add-fd", "fd=9,set=3", NULL },
	{ with_disk, "-blockdev", NULL, disk_value },
	{ with_disk, "-device",
	  "{\"driver\":\"virtio-blk-pci\",\"drive\":\"root\","
	  "\"serial\":\"root\",\"werror\":\"stop\"}",
	  NULL },
	{ with_net, "-netdev",
	  "stream,id=net,server=on,addr.type=fd,addr.str=6", NULL },
	{ with_net, "-device",
	  "{\"driver\":\"virtio-net-pci\",\"netdev\":\"net\",\"mac\":"
	  "\"" PASST_GUEST_MAC "\",\"romfile\":\"\"}",
	  NULL },
};

_Static_assert(QEMU_FD_QMP == 3 && QEMU_FD_SERIAL == 4 && QEMU_FD_AGENT == 5 &&
		       QEMU_FD_NET == 6 && QEMU_FD_QMP_LOG == 7 &&
		       QEMU_FD_CONSOLE_LOG == 8 && QEMU_FD_DISK == 9,
	       "the table has the numbers as text");
_Static_assert(2 * sizeof(rows) / sizeof(rows[0]) < QEMU_ARGS_MAX,
	       "argv too small");

/*
 * What pays for every stock kernel (docs/qemu-engine.md has the numbers): few
 * lines on the serial port, no self-tests of ciphers, no search for keyboards.
 * Ours come first, so that the image's and the user's arguments win.
 */
#define CMDLINE_ALWAYS                               \
	"console=ttyS0 panic=-1 quiet loglevel=3 "   \
	"cryptomgr.notests i8042.noaux i8042.nokbd " \
	"vmd.agent=serial"
/* The emulated TSC follows the host's clock; calibration only finds noise. */
#define CMDLINE_TCG " tsc=reliable no_timer_check"

char *qemu_cmdline(const struct vm_launch *launch, bool kvm)
{
	const char *own = launch->cmdline ? launch->cmdline : "";
	bool root = launch->root_path && !strstr(own, "vmd.root=");

	return text(CMDLINE_ALWAYS "%s%s%s%s%s%s%s", kvm ? "" : CMDLINE_TCG,
		    launch->network ? " " PASST_CMDLINE : "",
		    launch->name ? " vmd.hostname=" : "",
		    launch->name ? launch->name : "",
		    root ? " vmd.root=/dev/vda" : "", own[0] ? " " : "", own);
}

int qemu_args_build(struct qemu_args *a, struct err *e)
{
	a->argc = a->owned_count = 0;
	a->argv[a->argc++] = a->program;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct row *r = &rows[i];

		if (r->when && !r->when(a))
			continue;
		a->argv[a->argc++] = r->option;
		if (r->value)
			a->argv[a->argc++] = r->value;
		if (!r->fn)
			continue;
		a->owned[a->owned_count] = r->fn(a);
		if (!a->owned[a->owned_count]) {
			qemu_args_done(a);
			return err_sys(e, ENOMEM, "QEMU command line");
		}
		a->argv[a->argc++] = a->owned[a->owned_count++];
	}
	a->argv[a->argc] = NULL;
	return 0;
}

void qemu_args_done(struct qemu_args *a)
{
	for (size_t i = 0; i < a->owned_count; i++)
		free(a->owned[i]);
	a->owned_count = a->argc = 0;
}
