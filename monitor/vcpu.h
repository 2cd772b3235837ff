/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A vCPU: its KVM descriptor, its start registers, its saved state, and the
 * thread that runs it. The thread knows nothing of devices: it hands exits to
 * the owner's callbacks.
 *
 * Threads: _new, _boot, _save, _load before the thread starts or while it is
 * paused; _start, _pause, _resume, _stop from the owner's thread.
 */
#ifndef MONITOR_VCPU_H
#define MONITOR_VCPU_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "base/err.h"
#include "base/state.h"
#include "monitor/boot/boot.h"
#include "monitor/kvm.h"
#include "monitor/x86/cpuid.h"

/* Why a vCPU left the guest for good. */
enum vcpu_end {
	VCPU_END_TRIPLE_FAULT, /* KVM_EXIT_SHUTDOWN */
	VCPU_END_RESET, /* KVM_SYSTEM_EVENT_RESET, or a fault on purpose */
	VCPU_END_POWEROFF, /* KVM_SYSTEM_EVENT_SHUTDOWN */
	VCPU_END_FAILED, /* KVM could not go on; see the text */
	VCPU_END_HOST, /* the host could not give it its memory */
};

struct vcpu_ops {
	/* First of all on the vCPU's thread; may be NULL. It fails the start. */
	int (*enter)(void *ctx, struct err *e);
	/* On the vCPU's thread, which is out of the guest; may be NULL. */
	void (*paused)(void *ctx);
	/* On the vCPU's thread; data holds len bytes, filled when reading. */
	void (*io)(void *ctx, uint16_t port, void *data, uint32_t len,
		   bool write);
	void (*mmio)(void *ctx, uint64_t gpa, void *data, uint32_t len,
		     bool write);
	/* Once, on the vCPU's thread, which ends after it. */
	void (*ended)(void *ctx, enum vcpu_end why, const char *text);
};

enum vcpu_want {
	VCPU_RUN,
	VCPU_PAUSE,
	VCPU_STOP
};

enum {
	VCPU_EXIT_KINDS = 64 /* KVM_EXIT_* are small; others count as 0 */
};

struct vcpu {
	unsigned index;
	int fd;
	const struct kvm *kvm;
	struct kvm_run *run;
	size_t run_size;
	uint32_t xsave_bytes; /* of KVM_GET_XSAVE2; 0: it has none */
	bool nested; /* has state of guests of the guest */
	const struct vcpu_ops *ops;
	void *ctx;
	pthread_t thread;
	bool started;
	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t changed;
	enum vcpu_want want;
	bool paused; /* the thread waits, or has ended */
	pid_t tid; /* once entered: before, nothing has to be interrupted */
	bool entered; /* ops->enter has returned this: */
	int enter_rc;
	struct err enter_err;
	/* Exits by KVM_EXIT_*, and returns for a signal as KVM_EXIT_INTR;
	 * written by the vCPU's thread alone. */
	_Atomic uint64_t exits[VCPU_EXIT_KINDS];
};

/* index is the APIC id. kvm, ops and ctx must outlive the vCPU. */
int vcpu_new(const struct kvm *kvm, int vm_fd, unsigned index,
	     const struct vcpu_ops *ops, void *ctx, struct vcpu *ret,
	     struct err *e);
void vcpu_done(struct vcpu *vcpu);

/* Registers of the boot protocol; page tables and GDT go to guest memory. */
int vcpu_boot(struct vcpu *vcpu, const struct guest_mem *mem,
	      const struct boot_entry *entry, struct err *e);

/* What firmware leaves in MSRs; for every vCPU, or Linux complains. */
void vcpu_set_firmware_msrs(const struct vcpu *vcpu);

/* Guest TSC in kHz, or 0 when KVM does not tell. */
uint64_t vcpu_tsc_khz(const struct vcpu *vcpu);

/* Once per process, before any thread: the signal that interrupts KVM_RUN. */
int vcpu_init_signals(struct err *e);

/* Starts the thread, paused: it runs the guest after vcpu_resume(). */
int vcpu_start(struct vcpu *vcpu, struct err *e);
/* Waits until the started thread has entered; its error when it could not. */
int vcpu_wait_entered(struct vcpu *vcpu, struct err *e);
void vcpu_resume(struct vcpu *vcpu);
/* Asks; ops->paused() tells when the thread is out of the guest. */
void vcpu_pause(struct vcpu *vcpu);
bool vcpu_is_paused(struct vcpu *vcpu);
/* Asks the thread to end; vcpu_join() waits for it. */
void vcpu_stop(struct vcpu *vcpu);
void vcpu_join(struct vcpu *vcpu);

/*
 * Section "vcpuN": CPUID, TSC frequency, registers, FPU, MSRs, local APIC, events,
 * nested state. Paused only. Code state_incompatible when the guest's CPU or
 * clock is not to be had here, kvm_failed with the name of what KVM refused.
 */
int vcpu_save(struct vcpu *vcpu, struct state_writer *w, struct err *e);
int vcpu_load(struct vcpu *vcpu, struct state_reader *r, struct err *e);

#endif
