/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Admission: whether the host has room for a VM. Memory that was promised to
 * VMs but that they have not touched yet is not free, although the kernel
 * counts it so; it is taken off MemAvailable.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/sysinfo.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/parse.h"
#include "base/process.h"
#include "vmd/ports/vm_ports.h"
#include "vmd/priv/privops.h"
#include "vmd/vm/vm.h"

#define MIB (UINT64_C(1) << 20)

/* Reading it of thousands would keep the loop: so many at a time, not often. */
enum {
	RESIDENT_MS = 1000,
	RESIDENT_VMS = 256
};

int host_memory_available(uint64_t *ret_bytes, struct err *e)
{
	AUTO(file) FILE *f = fopen("/proc/meminfo", "re");
	char line[128];
	unsigned long long kib;

	if (!f)
		return err_sys(e, errno, "reading /proc/meminfo");
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "MemAvailable: %llu kB", &kib) == 1) {
			*ret_bytes = (uint64_t)kib * 1024;
			return 0;
		}
	}
	return err_set(e, ERR_INTERNAL, "meminfo_unreadable", 0,
		       "/proc/meminfo has no line MemAvailable");
}

/* Measured: the monitor 2 MiB and its page tables; QEMU with KVM about 60 MiB;
 * software emulation also holds its translation cache. */
static uint64_t overhead_bytes(const struct vm *vm)
{
	if (strcmp(vm->row.engine, "microvm") == 0)
		return 4 * MIB;
	return vm->row.emulated ? 192 * MIB : 64 * MIB;
}

/* What the processes of a VM have touched, read again when that is long ago. */
static uint64_t touched(struct vm *vm, uint64_t now_ms, unsigned *left)
{
	if (*left && now_ms - vm->resident_ms >= RESIDENT_MS) {
		vm->resident_ms = now_ms;
		vm->resident_bytes = 0;
		for (size_t i = 0; i < vm->process_count; i++)
			vm->resident_bytes +=
				process_resident_bytes(vm->processes[i].pid);
		(*left)--;
	}
	return vm->resident_bytes;
}

uint64_t memory_promised(struct daemon *d, const struct vm *except)
{
	uint64_t sum = 0, now = clock_mono_ms();
	unsigned left = RESIDENT_VMS;
	struct vm *vm;
	size_t at = 0;

	LIST_FOREACH(vm, &d->vms, link) {
		uint64_t promised, used;
		/* The next look begins where this one had to leave off. */
		bool turn = at++ >= d->resident_next;
		unsigned none = 0;

		if (vm == except || !vm_is_active(vm))
			continue;
		promised = vm->row.memory_bytes + overhead_bytes(vm);
		if (turn && left == 1)
			d->resident_next = at;
		used = touched(vm, now, turn ? &left : &none);
		sum += promised > used ? promised - used : 0;
	}
	if (left)
		d->resident_next = 0;
	return sum;
}

/* The refusal as data. */
static int no_memory(struct err *e, int rc, const struct vm *vm, uint64_t limit,
		     uint64_t available)
{
	(void)err_field(e, rc, "memory_bytes");
	(void)err_subject(e, rc, vm->row.name, NULL);
	return err_amounts(e, rc, vm->row.memory_bytes, limit, available);
}

int admit_memory(struct daemon *d, const struct vm *vm, struct err *e)
{
	uint64_t available, promised, overhead = overhead_bytes(vm);
	uint64_t free_bytes, fitting, asked = vm->row.memory_bytes + overhead;
	char want[24], extra[24], have[24], fits[24];
	int rc = d->config->memory_available(&available, e);

	if (rc < 0)
		return rc;
	promised = memory_promised(d, vm);
	free_bytes = available > promised ? available - promised : 0;
	if (asked <= free_bytes)
		return 0;
	fitting =
		free_bytes > overhead ? (free_bytes - overhead) / MIB * MIB : 0;
	rc = err_set(
		e, ERR_LIMIT, "no_memory", 0,
		"VM '%s' asks for %s of memory (and %s for the engine), %s are "
		"free on this host: %s would fit; give it less or stop "
		"another VM",
		vm->row.name, format_size(vm->row.memory_bytes, want),
		format_size(overhead, extra), format_size(free_bytes, have),
		format_size(fitting, fits));
	return no_memory(e, rc, vm, ERR_UNKNOWN, fitting);
}

int admit_memory_ever(const struct vm *vm, struct err *e)
{
	struct sysinfo info;
	uint64_t total;
	char want[24], have[24];

	if (sysinfo(&info) < 0)
		return err_sys(e, errno, "asking for the host's memory");
	total = (uint64_t)info.totalram * info.mem_unit;
	if (vm->row.memory_bytes <= total &&
	    overhead_bytes(vm) <= total - vm->row.memory_bytes)
		return 0;
	return no_memory(
		e,
		err_set(e, ERR_LIMIT, "no_memory", 0,
			"VM '%s' asks for %s of memory, this host has %s "
			"altogether: give it less",
			vm->row.name, format_size(vm->row.memory_bytes, want),
			format_size(total, have)),
		vm, total, ERR_UNKNOWN);
}

int admit_disk(struct daemon *d, uint64_t bytes, struct err *e)
{
	char want[24], have[24];
	uint64_t free_bytes;
	int rc = file_free_bytes(d->state_vms_fd, &free_bytes, e);

	if (rc < 0)
		return rc;
	if (bytes <= free_bytes)
		return 0;
	rc = err_set(e, ERR_NO_SPACE, "disk_full", ENOSPC,
		     "the disk of the VM needs %s in %s, where %s are free: "
		     "remove VMs or images",
		     format_size(bytes, want), d->config->state_dir,
		     format_size(free_bytes, have));
	(void)err_field(e, rc, "disk_bytes");
	return err_amounts(e, rc, bytes, ERR_UNKNOWN, free_bytes);
}

static const char *port_text(const json_t *port, const char *field)
{
	return json_string_value(json_object_get(port, field));
}

static bool is_wildcard(const char *address)
{
	return strcmp(address, "0.0.0.0") == 0 || strcmp(address, "::") == 0;
}

/* Whether both cannot be listened on at the same time. */
static bool ports_clash(const json_t *a, const json_t *b)
{
	const char *one = port_text(a, "host_address"),
		   *two = port_text(b, "host_address");

	if (strcmp(port_text(a, "protocol"), port_text(b, "protocol")) != 0 ||
	    !json_equal(json_object_get(a, "host_port"),
			json_object_get(b, "host_port")))
		return false;
	if (strcmp(one, two) == 0)
		return true;
	return !strchr(one, ':') == !strchr(two, ':') &&
	       (is_wildcard(one) || is_wildcard(two));
}

/* The ports of one VM among each other; nobody listens on them yet. */
static int check_twice(const json_t *ports, struct err *e)
{
	for (size_t i = 1; i < json_array_size(ports); i++) {
		const json_t *port = json_array_get(ports, i);
		char field[48];

		(void)snprintf(field, sizeof(field), "network.ports[%zu]", i);
		for (size_t j = 0; j < i; j++)
			if (ports_clash(port, json_array_get(ports, j)))
				return err_field(
					e,
					err_set(e, ERR_INVALID, "bad_value", 0,
						"%s: port %s:%d/%s of the host "
						"is published twice",
						field,
						port_text(port, "host_address"),
						(int)json_integer_value(
							json_object_get(
								port,
								"host_port")),
						port_text(port, "protocol")),
					field);
	}
	return 0;
}

int admit_ports(const struct vm *vm, struct err *e)
{
	const json_t *ports = json_object_get(
		json_object_get(vm_spec(vm), "network"), "ports");
	json_t *port;
	size_t i;

	if (check_twice(ports, e) < 0)
		return -EINVAL;

	json_array_foreach((json_t *)(uintptr_t)ports, i, port) {
		struct port_spec spec;
		AUTO(fd) int fd = -1;
		int rc;

		port_spec_read(port, &spec);
		rc = privops_port_bind(&spec, &fd, e);
		if (rc < 0)
			return rc;
	}
	return 0;
}
