/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checks without a daemon: device nodes, programs, memory, disk. Whether KVM
 * really runs guests is asked of vmd-monitor, which times one.
 */
#include "vmctl/host_checks.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/parse.h"
#include "base/process.h"

/* A VM of the default size, and its overhead. */
#define MEMORY_LEAST (UINT64_C(384) << 20)
#define DISK_LEAST   (UINT64_C(2) << 30)
enum {
	PROBE_MS = 5000,
	PROBE_TEXT_MAX = 4096
};

static void add(json_t *checks, const char *name, bool ok, const char *detail,
		const char *fix)
{
	(void)json_array_append_new(checks,
				    json_pack("{s:s, s:b, s:s, s:s?}", "name",
					      name, "ok", ok, "detail", detail,
					      "fix", ok ? NULL : fix));
}

static void check_device(json_t *checks, const char *name, const char *path,
			 const char *missing_fix, const char *denied_fix)
{
	AUTO(fd) int fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
	int sys = fd < 0 ? errno : 0;
	char detail[160];

	(void)snprintf(detail, sizeof(detail), "%s %s%s", path,
		       sys ? "cannot be opened: " : "can be opened",
		       sys ? strerrordesc_np(sys) : "");
	add(checks, name, sys == 0, detail,
	    sys == EACCES || sys == EPERM ? denied_fix : missing_fix);
}

static void check_program(json_t *checks, const char *name, const char *program,
			  const char *fix)
{
	AUTO(free) char *path = process_find_program(program);
	char detail[300];

	if (path)
		(void)snprintf(detail, sizeof(detail), "%.280s", path);
	else
		(void)snprintf(detail, sizeof(detail), "no program %s",
			       program);
	add(checks, name, path != NULL, detail, fix);
}

static void check_capacity(json_t *checks)
{
	AUTO(file) FILE *f = fopen("/proc/meminfo", "re");
	char size[24], detail[96], line[128];
	struct statvfs disk;
	uint64_t bytes, kib = 0;

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "MemAvailable: %" SCNu64 " kB", &kib) == 1)
			break;
	(void)snprintf(detail, sizeof(detail), "%s available",
		       format_size(kib * 1024, size));
	add(checks, "memory", kib * 1024 >= MEMORY_LEAST, detail,
	    "end programs that use memory");
	if (statvfs("/var/lib", &disk) == 0) {
		bytes = (uint64_t)disk.f_bavail * disk.f_frsize;
		(void)snprintf(detail, sizeof(detail), "%s free in /var/lib",
			       format_size(bytes, size));
		add(checks, "disk", bytes >= DISK_LEAST, detail,
		    "free some space, or use vmd --state-dir elsewhere");
	}
}

/* Output of `vmd-monitor --probe-kvm` within the time limit, or "". */
static void run_probe(const char *program, char out[static PROBE_TEXT_MAX])
{
	const char *const argv[] = { program, "--probe-kvm", NULL };
	struct process p = PROCESS_INIT;
	struct process_exit end;
	uint64_t deadline = clock_mono_ms() + PROBE_MS, now;
	size_t len = 0;
	int fds[2];

	out[0] = '\0';
	if (pipe2(fds, O_CLOEXEC) < 0)
		return;
	{
		AUTO(fd) int in = fds[0];
		AUTO(fd) int to = fds[1];
		const struct process_fd map = { .from = to, .to = 1 };
		const struct process_spec spec = { .argv = argv,
						   .fds = &map,
						   .fd_count = 1,
						   .die_with_parent = true };

		if (process_spawn(&spec, &p, NULL) < 0)
			return;
		close_fd(&to);
		while (len < PROBE_TEXT_MAX - 1 &&
		       (now = clock_mono_ms()) < deadline) {
			struct pollfd ready = { in, POLLIN, 0 };
			ssize_t n = 0;

			if (poll(&ready, 1, (int)(deadline - now)) > 0)
				n = read(in, out + len,
					 PROBE_TEXT_MAX - 1 - len);
			if (n <= 0)
				break;
			len += (size_t)n;
		}
	}
	out[len] = '\0';
	if (process_wait(&p, 500, &end) < 0) {
		(void)process_signal(&p, SIGKILL);
		(void)process_wait(&p, 2000, &end);
	}
	process_close(&p);
}

static void check_speed(json_t *checks)
{
	AUTO(free) char *program = process_find_program("vmd-monitor");
	char text[PROBE_TEXT_MAX], detail[300];
	AUTO(json) json_t *probe = NULL;
	const char *reason;
	bool usable;

	if (!program)
		return;
	run_probe(program, text);
	if (json_parse_strict(text, strlen(text), "probe", &probe, NULL) < 0)
		return;
	reason = json_string_value(json_object_get(probe, "reason"));
	usable = json_is_true(json_object_get(probe, "usable"));
	if (usable)
		(void)snprintf(
			detail, sizeof(detail), "%.0f million instructions/s",
			json_number_value(json_object_get(probe, "mips")));
	else
		(void)snprintf(detail, sizeof(detail),
			       "%.200s; QEMU emulates, slower",
			       reason ? reason : "KVM cannot be used");
	add(checks, "kvm speed", usable, detail, NULL);
}

json_t *host_checks_new(void)
{
	json_t *host = json_pack("{s:[], s:[]}", "engines", "checks");
	json_t *checks = json_object_get(host, "checks");

	if (!host)
		return NULL;
	check_device(checks, "kvm", "/dev/kvm", "sudo modprobe kvm",
		     "sudo usermod -aG kvm $USER, then log in again");
	check_speed(checks);
	check_program(checks, "qemu", "qemu-system-x86_64",
		      "sudo apt install qemu-system-x86");
	check_program(checks, "passt", "passt", "sudo apt install passt");
	check_device(checks, "tun", "/dev/net/tun", "sudo modprobe tun", NULL);
	check_program(checks, "vmd", "vmd", "sudo meson install -C build");
	check_program(checks, "vmd-monitor", "vmd-monitor",
		      "sudo meson install -C build");
	check_program(checks, "mmdebstrap", "mmdebstrap",
		      "sudo apt install mmdebstrap");
	add(checks, "cgroup",
	    access("/sys/fs/cgroup/cgroup.controllers", R_OK) == 0,
	    "version 2 in /sys/fs/cgroup",
	    "boot with systemd.unified_cgroup_hierarchy=1");
	check_capacity(checks);
	return host;
}
