/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An engine runs virtual machines: "microvm" (vmd-monitor on KVM) or "qemu".
 * The daemon above it knows nothing of KVM, QMP or command lines; an engine
 * knows nothing of the API, the database or other VMs.
 *
 * All functions and callbacks run on the daemon's loop thread. Nothing blocks.
 * A VM's processes outlive the daemon: engine_ops.adopt() takes over from the
 * run directory and the process records alone.
 */
#ifndef VMD_ENGINE_H
#define VMD_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/loop.h"

enum {
	VM_PROCESSES_MAX = 4
};

/* Everything an engine needs; borrowed for the duration of start(). */
struct vm_launch {
	const char *id; /* 26 characters, safe in file names */
	const char *name;
	uint32_t vcpus;
	uint64_t memory_bytes;
	const char *kernel_path;
	const char *initrd_path; /* NULL: none */
	const char *root_path; /* writable raw disk, NULL: none (initramfs) */
	const char *cmdline; /* the manifest's and the user's part */
	bool network; /* user-mode by passt, or none */
	int run_dirfd; /* the VM's run directory, private to it */
	const char *run_path; /* its absolute path */
	bool emulate; /* qemu: TCG even if KVM works */
	bool jailed; /* processes are shut up, see jails.h */
	uint32_t uid_slot; /* whom they become: of the range of privops.h */
};

/* A process that belongs to a VM, as journalled by the daemon. */
struct vm_process {
	char role[16]; /* "monitor", "qemu", "passt" */
	pid_t pid;
	uint64_t start_time;
};

enum vm_end {
	VM_END_POWEROFF, /* the guest powered itself off */
	VM_END_RESET, /* the guest asked for a reset (not restarted) */
	VM_END_CRASH, /* triple fault, KVM internal error, guest panic */
	VM_END_KILLED, /* we forced it */
	VM_END_FAILED, /* the engine could not start or lost it: see err */
	VM_END_OOM, /* the kernel ended it for want of memory; no engine says so */
};

struct engine_events {
	/*
	 * A process exists: journal it now, before the VM runs. Called once per
	 * process during start(), and again when another one takes its role.
	 */
	void (*process)(void *ctx, const struct vm_process *p);
	/* The guest's CPUs run. */
	void (*running)(void *ctx);
	/* A byte stream to the agent (wire.h), opened from our side; fd is owned
	 * by the receiver. Called again after every reconnect that agent_connect()
	 * asked for; one that comes while a session lives is refused. */
	void (*agent)(void *ctx, int fd);
	/* Console output, as the guest wrote it. */
	void (*console)(void *ctx, const void *data, size_t len);
	/* The VM is gone and its processes are reaped; always the last call. e
	 * holds the reason when end is CRASH or FAILED (else kind ERR_NONE). The
	 * handle stays valid until engine_ops.release(), which may be called
	 * from here. */
	void (*ended)(void *ctx, enum vm_end end, const struct err *e);
	/* The VM goes on, but something of it is lost (its network). May be
	 * NULL. */
	void (*warning)(void *ctx, const struct err *e);
	/* The host stopped the guest's CPUs, with nothing lost ("disk full":
	 * what the guest was writing waits), until engine_ops.resume(); told
	 * again when that did not help. why NULL: they run again. May be NULL. */
	void (*paused)(void *ctx, const char *why);
	/* What warning() told of is there again. May be NULL. */
	void (*recovered)(void *ctx);
	/* How a process that joins a running VM is shut up: sets jailed and
	 * uid_slot as for start(). May be NULL: not at all. */
	void (*jail)(void *ctx, struct vm_launch *ret);
};

struct engine_vm; /* opaque, one per running VM */

/* What a probe found; kept by the daemon and shown by `vmctl doctor`. */
struct engine_status {
	bool usable;
	char detail[256]; /* version and acceleration, or why not */
	char fix[256]; /* the command that would make it usable, or "" */
};

struct engine_ops {
	const char *name;
	/* Cheap after the first call (the host module caches probe results). */
	void (*probe)(struct engine_status *ret);
	/* 0, or an error that says why this engine cannot run that VM. */
	int (*can_run)(const struct vm_launch *launch, struct err *e);
	/* Begins a start; failures after this call come as ended(FAILED). */
	int (*start)(struct loop *loop, const struct vm_launch *launch,
		     const struct engine_events *events, void *ctx,
		     struct engine_vm **ret, struct err *e);
	/* Takes over a VM of an earlier daemon: -ESRCH when it has ended (the end
	 * is then in *ret_end and *e, read from the run directory). */
	int (*adopt)(struct loop *loop, const char *id, int run_dirfd,
		     const char *run_path, const struct vm_process *processes,
		     size_t process_count, const struct engine_events *events,
		     void *ctx, struct engine_vm **ret, enum vm_end *ret_end,
		     struct err *e);
	/* Asks the guest to power off (ACPI button where there is one). */
	int (*shutdown)(struct engine_vm *vm, struct err *e);
	/* After paused(): tries again what the guest was writing; paused()
	 * follows, with or without a reason. */
	void (*resume)(struct engine_vm *vm);
	/* Ends it now; ended() follows. */
	void (*kill)(struct engine_vm *vm);
	/* Input for the guest's console. Bytes taken (0: full), or -errno. */
	ssize_t (*console_write)(struct engine_vm *vm, const void *data,
				 size_t len);
	/* Frees the handle; a running VM keeps running, without further events.
	 * The daemon calls it exactly once per handle: also after (or from within)
	 * ended(), which frees nothing by itself. */
	void (*release)(struct engine_vm *vm);
	/*
	 * Asks for a new connection to the agent after a session was lost while
	 * the VM runs; agent() follows when there is one (retried inside).
	 */
	void (*agent_connect)(struct engine_vm *vm);
};

extern const struct engine_ops engine_microvm;
extern const struct engine_ops engine_qemu;

/* Table of engines, in order of preference; ends with NULL. */
extern const struct engine_ops *const engines[];

/*
 * The engine for a VM: `wanted` is "auto", "microvm" or "qemu". ret_reason gets
 * the written reason of the choice ("KVM on this host interprets guests (1.3
 * MIPS): software emulation by QEMU").
 */
int engine_choose(const char *wanted, const struct vm_launch *launch,
		  const struct engine_ops **ret, char ret_reason[static 256],
		  struct err *e);

const struct engine_ops *engine_by_name(const char *name);
const char *vm_end_name(enum vm_end end);

#endif
