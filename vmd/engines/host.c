/* SPDX-License-Identifier: Apache-2.0 */
/* The probes that engines are chosen by; see host.h. */
#include "vmd/engines/host.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "base/process.h"
#include "base/text.h"
#include "vmd/priv/privops.h"

enum {
	/* The probe takes under half a second; a busy host is slower. */
	PROBE_TIMEOUT_MS = 10000
};

static struct {
	bool kvm_known, qemu_known, monitor_known;
	struct host_kvm kvm;
	struct host_qemu qemu;
	char *monitor;
} cache;

void host_forget(void)
{
	free(cache.monitor);
	cache.monitor = NULL;
	cache.kvm_known = cache.qemu_known = cache.monitor_known = false;
}

const char *host_monitor(void)
{
	if (!cache.monitor_known) {
		cache.monitor = process_find_program("vmd-monitor");
		cache.monitor_known = true;
	}
	return cache.monitor;
}

/* One printable line of a program's output, for a message. */
static void first_line(char *out, size_t size, const char *text)
{
	size_t n = strcspn(text, "\r\n");

	if (n > size - 1)
		n = size - 1;
	for (size_t i = 0; i < n; i++)
		out[i] = text_printable(text[i]) ? text[i] : '?';
	out[n] = '\0';
}

/* Sets reason (and fix) when KVM cannot even be opened. */
static bool open_kvm(struct host_kvm *k, int *ret_fd)
{
	struct err e = ERR_INIT;
	int rc = privops_kvm_open(ret_fd, &e);

	if (rc == 0)
		return true;
	if (rc == -EACCES || rc == -EPERM) {
		(void)snprintf(k->reason, sizeof(k->reason),
			       "no permission to open /dev/kvm");
		(void)snprintf(k->fix, sizeof(k->fix),
			       "sudo usermod -aG kvm $USER, then log in again");
	} else if (rc == -ENOENT) {
		(void)snprintf(k->reason, sizeof(k->reason),
			       "this host has no /dev/kvm: no hardware "
			       "virtualisation, or it is off in the firmware "
			       "or in the hypervisor above");
		(void)snprintf(k->fix, sizeof(k->fix),
			       "sudo modprobe kvm_intel || sudo modprobe "
			       "kvm_amd");
	} else {
		(void)snprintf(k->reason, sizeof(k->reason),
			       "/dev/kvm cannot be opened: %.200s", e.msg);
	}
	return false;
}

static void take_probe(struct host_kvm *k, int status, const char *text)
{
	AUTO(json) json_t *j = NULL;
	/* Warnings on stderr may stand before the object. */
	const char *start = strchr(text, '{');
	const char *end = strrchr(text, '}');
	const char *reason;
	double mips;

	if (status != 0 || !start || !end || end < start ||
	    json_parse_strict(start, (size_t)(end - start) + 1, "probe", &j,
			      NULL) < 0) {
		char line[160];

		first_line(line, sizeof(line), text);
		(void)snprintf(k->reason, sizeof(k->reason),
			       "the KVM probe of vmd-monitor failed (%s %d): "
			       "%s",
			       status < 0 ? "error" : "status",
			       status < 0 ? -status : status,
			       status == -ETIMEDOUT ? "no answer in 10 s"
						    : line);
		return;
	}
	reason = json_string_value(json_object_get(j, "reason"));
	mips = json_number_value(json_object_get(j, "mips"));
	k->mips = mips > 0 && mips < 1e9 ? (uint32_t)mips : 0;
	if (!json_is_true(json_object_get(j, "usable"))) {
		first_line(k->reason, sizeof(k->reason),
			   reason && reason[0] ? reason
					       : "KVM does not run guests");
		return;
	}
	if (mips < HOST_KVM_MIPS_MIN) {
		(void)snprintf(k->reason, sizeof(k->reason),
			       "KVM on this host interprets guests (%.1f "
			       "MIPS; Linux needs %d)",
			       mips, HOST_KVM_MIPS_MIN);
		return;
	}
	k->usable = true;
	(void)snprintf(k->reason, sizeof(k->reason),
		       "KVM runs guests (%u MIPS in the probe)", k->mips);
}

const struct host_kvm *host_kvm(void)
{
	struct host_kvm *k = &cache.kvm;
	const char *argv[] = { host_monitor(), "--probe-kvm", "--kvm", "fd:3",
			       NULL };
	AUTO(fd) int fd = -1;
	char out[4096];

	if (cache.kvm_known)
		return k;
	cache.kvm_known = true;
	*k = (struct host_kvm){ .usable = false };
	if (!open_kvm(k, &fd))
		return k;
	if (!argv[0]) {
		(void)snprintf(k->reason, sizeof(k->reason),
			       "vmd-monitor, which probes KVM, was not found "
			       "beside vmd or in PATH");
		(void)snprintf(k->fix, sizeof(k->fix),
			       "meson install -C build");
		return k;
	}
	take_probe(k, host_run(argv, fd, PROBE_TIMEOUT_MS, out, sizeof(out)),
		   out);
	return k;
}

const struct host_qemu *host_qemu(void)
{
	struct host_qemu *q = &cache.qemu;
	AUTO(free) char *path = NULL;
	char said[1024];
	unsigned int major = 0, minor = 0, micro = 0;
	const char *at;
	int status;

	if (cache.qemu_known)
		return q;
	cache.qemu_known = true;
	*q = (struct host_qemu){ .usable = false };
	(void)snprintf(q->fix, sizeof(q->fix),
		       "sudo apt install --no-install-recommends "
		       "qemu-system-x86");
	path = process_find_program("qemu-system-x86_64");
	if (!path || strlen(path) >= sizeof(q->path)) {
		(void)snprintf(q->reason, sizeof(q->reason),
			       "qemu-system-x86_64 is not installed");
		return q;
	}
	(void)snprintf(q->path, sizeof(q->path), "%s", path);
	const char *argv[] = { path, "--version", NULL };

	status = host_run(argv, -1, PROBE_TIMEOUT_MS, said, sizeof(said));
	at = strstr(said, "version ");
	if (status != 0 || !at ||
	    sscanf(at, "version %u.%u.%u", &major, &minor, &micro) < 2) {
		char line[120];

		first_line(line, sizeof(line), said);
		(void)snprintf(q->reason, sizeof(q->reason),
			       "qemu-system-x86_64 --version failed "
			       "(status %d): %s",
			       status, line);
		return q;
	}
	(void)snprintf(q->version, sizeof(q->version), "%u.%u.%u", major, minor,
		       micro);
	/* -netdev stream came with 7.2. */
	if (major < 7 || (major == 7 && minor < 2)) {
		(void)snprintf(q->reason, sizeof(q->reason),
			       "QEMU %s is too old, 7.2 is needed", q->version);
		return q;
	}
	q->usable = true;
	q->fix[0] = '\0';
	(void)snprintf(q->reason, sizeof(q->reason), "QEMU %s", q->version);
	return q;
}
