/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See limits.h. The numbers bound what somebody does who has taken a process over,
 * so they lie well above what a right one needs; docs/daemon.md has what was
 * measured. Nothing is reserved by them: admission counts with what is used.
 *
 *   memory  the guest's, and beside it
 *           its page tables, the host's and the processor's: 1/512 of it each
 *           and as much again where KVM has shadow tables; 1/64
 *           the engine and, with a network, passt with its socket buffers
 *           the page cache of the disk, which counts, too: 64 MiB, above which the
 *           kernel takes back what is oldest; where the disk lies in memory
 *           (tmpfs) nothing can be taken back, so it counts whole
 *   high    from 16 MiB below that on the group is slowed down and freed by
 *           force: writes to a slow disk wait before they are out of memory
 *   swap    as much as the guest has: a host that is short may put an idle guest
 *           aside; a process that only takes gets no more than twice its share
 *   pids    vCPUs, and the pool of threads that does the engine's I/O
 *   cpu     each vCPU one CPU, and one for devices and network together
 */
#include "vmd/priv/limits.h"

#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#define MIB (UINT64_C(1) << 20)

enum {
	PASST_MIB = 96,
	CACHE_MIB = 64,
	HIGH_BELOW_MIB = 16
};

static const struct row {
	uint64_t fixed_mib, per_vcpu_mib;
	uint32_t threads; /* besides the vCPUs */
} monitor = { 32, 2, 48 }, qemu_kvm = { 128, 4, 128 },
  /* A translation cache of 256 MiB, and each vCPU's table of addresses. */
	qemu_tcg = { 448, 64, 128 };

static uint64_t bytes_in_memory(const char *disk)
{
	struct statfs fs;
	struct stat st;

	if (!disk || statfs(disk, &fs) < 0 || stat(disk, &st) < 0 ||
	    (fs.f_type != TMPFS_MAGIC && fs.f_type != RAMFS_MAGIC))
		return 0;
	return (uint64_t)st.st_size;
}

void limits_of(const struct vm_launch *launch, enum priv_role role, bool kvm,
	       struct cgroup_limits *ret)
{
	const struct row *r = role == PRIV_ROLE_MONITOR ? &monitor
			      : kvm			? &qemu_kvm
							: &qemu_tcg;
	uint64_t memory = launch->memory_bytes;

	ret->memory_max = memory + memory / 64 +
			  (r->fixed_mib + r->per_vcpu_mib * launch->vcpus +
			   (launch->network ? PASST_MIB : 0) + CACHE_MIB) *
				  MIB +
			  bytes_in_memory(launch->root_path);
	ret->memory_high = ret->memory_max - HIGH_BELOW_MIB * MIB;
	ret->swap_max = memory;
	ret->pids_max = launch->vcpus + r->threads;
	ret->cpu_percent = 100 * (launch->vcpus + 1);
}
