/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The machine: VM, vCPUs, buses and devices put together from a configuration,
 * and its life from "built" to "ended".
 *
 * Threads: the loop thread builds it, runs host-side events and requests; each
 * vCPU thread brings the exits of its vCPU. All device code runs under the one
 * machine lock. Waiting (for events, for the guest) is done outside of it.
 */
#ifndef MONITOR_MACHINE_H
#define MONITOR_MACHINE_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/loop.h"
#include "monitor/backend.h"
#include "monitor/boot/boot.h"
#include "monitor/bus.h"
#include "monitor/chips/power.h"
#include "monitor/chips/rtc.h"
#include "monitor/chips/serial.h"
#include "monitor/config/config.h"
#include "monitor/kvm.h"
#include "monitor/layout.h"
#include "monitor/lockdown/lockdown.h"
#include "monitor/vcpu.h"
#include "monitor/vm.h"
#include "monitor/x86/ioapic.h"
#include "virtio/mmio.h"

enum {
	MACHINE_VIRTIO_MAX = 16
};

/* Why the machine ended; see the exit statuses in status.h. */
enum machine_end {
	MACHINE_END_POWEROFF,
	MACHINE_END_RESET,
	MACHINE_END_CRASH,
	MACHINE_END_KILLED,
	MACHINE_END_DEBUG_EXIT,
	MACHINE_END_ERROR, /* the host's fault */
};

enum machine_state {
	MACHINE_BUILT,
	MACHINE_RUNNING,
	MACHINE_PAUSING, /* until no vCPU runs and no request is in flight */
	MACHINE_PAUSED,
	MACHINE_RESUMING /* until what a full disk refused was tried again */
};

struct machine;

/* What a thread of this role does first, on itself: lockdown_enter(). */
typedef int machine_enter_fn(enum lockdown_role role, struct err *e);

/* A virtio device in its slot on the MMIO bus. */
struct machine_slot {
	struct machine *machine;
	unsigned index;
	unsigned gsi;
	struct virtio_device *dev;
	struct virtio_mmio mmio;
	unsigned instance; /* among devices of the same kind */
	int kick_fds[VIRTIO_QUEUES_MAX];
	struct loop_source kicks[VIRTIO_QUEUES_MAX];
	bool kicks_on; /* ioeventfds are registered */
};

/* What a drive's callback needs to know. */
struct machine_drive {
	struct machine *machine;
	const struct config_drive *config;
	struct virtio_device *dev; /* once it is plugged */
};

struct machine {
	const struct config *config;
	struct loop *loop; /* requests, signals, consoles; not owned */
	/*
	 * The host side of virtio devices: kicks, sockets, taps, timers. Not run
	 * while the machine is paused: nothing reaches the guest's memory then,
	 * and nothing is lost, for it waits in the host's kernel.
	 */
	struct loop *devices;
	pthread_mutex_t lock;
	pthread_cond_t drained; /* a queue, or all is at its end */
	struct kvm kvm;
	struct vm vm;
	struct vcpu vcpus[VCPUS_MAX];
	unsigned vcpu_count; /* built so far */
	struct bus ports, mmio;
	struct machine_slot slots[MACHINE_VIRTIO_MAX];
	unsigned slot_count;
	struct machine_drive drives[CONFIG_DRIVES_MAX];
	struct ioapic ioapic;
	uint8_t pic_masks[2];
	struct serial serial;
	struct backend serial_backend;
	struct power power;
	struct rtc rtc;
	struct backend console_backend;
	struct virtio_device *console; /* or NULL */
	struct virtio_device *balloon; /* or NULL */
	enum machine_state state;
	/*
	 * A drive keeps a request because the host's disk is full: the guest is
	 * paused until somebody resumes it, which tries the request again.
	 */
	bool disk_full;
	struct loop_timer pause_soon; /* not from within a device */
	bool tell_pause; /* it came by itself */
	void (*state_changed)(void *ctx); /* by itself; may be NULL */
	void (*settled)(void *ctx); /* what was asked for is decided */
	void *control_ctx;
	uint64_t paused_ms; /* clock_mono_ms() of the pause; 0: not paused */
	bool loaded; /* from a saved state; its devices wait to go on */
	machine_enter_fn *enter_thread;
	uint64_t started_ms;
	uint64_t stray_accesses;
	/*
	 * Whoever ends it first takes `ending`, writes why, and sets `ended`,
	 * after which the rest is constant.
	 */
	atomic_bool ending, ended;
	enum machine_end end;
	uint8_t debug_exit_value;
	char end_text[256];
};

/* Opens all host resources and builds everything but the guest's software. */
int machine_new(const struct config *config, struct loop *loop,
		struct machine **ret, struct err *e);

/* Stops the vCPUs, flushes and releases everything. NULL is fine. */
void machine_free(struct machine *m);

/* Firmware tables and the kernel; sets the registers of vCPU 0. */
int machine_load_guest(struct machine *m, struct err *e);

/*
 * vCPU threads and those of the drives, still paused: nothing of the guest has
 * run. Each has called enter (NULL: nothing) with its role before this returns.
 */
int machine_start_threads(struct machine *m, machine_enter_fn *enter,
			  struct err *e);

/* Runs until the machine ends. */
int machine_run(struct machine *m, struct err *e);
/* One turn of that: waits up to timeout_ms (-1: no limit) for host events. */
int machine_turn(struct machine *m, int timeout_ms, struct err *e);

/* Any thread. The first call decides. text may be NULL. */
void machine_end(struct machine *m, enum machine_end why, const char *text);

/*
 * The state of everything but guest memory (that is m->vm.mem_fd). save: the
 * machine is paused or was never run. load: into a machine built from the same
 * configuration that was never run, with the guest's memory in place; on
 * failure it can only be freed. Its devices go on when it is run.
 */
int machine_save(struct machine *m, struct state_writer *w, struct err *e);
int machine_load(struct machine *m, struct state_reader *r, struct err *e);

/*
 * Requests; loop thread, machine lock held. -EALREADY when it is so already; 0:
 * begun, and done when m->state says so, which may be at once and is told by
 * m->settled. Resuming ends a pause that is not done yet, and the other way
 * round. Paused: no vCPU runs and no device acts, whatever happens on the host;
 * input for the guest waits.
 */
int machine_pause(struct machine *m);
int machine_resume(struct machine *m);
/* Once in each turn of the loop: goes on with either. */
void machine_settle(struct machine *m);
/* Once, in machine_new(). */
void machine_init_pause(struct machine *m);
/* From a device, on any thread with the machine lock: pauses soon. */
void machine_disk_full(struct machine *m);
/* Presses the ACPI power button: the guest shuts down if it listens. */
void machine_press_power_button(struct machine *m);

#endif
