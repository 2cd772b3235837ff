/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The thread of a vCPU: KVM_RUN, hand the exit over, again.
 *
 * Stopping: `want` changes under the lock, immediate_exit is set and the thread
 * gets a signal. If the signal arrives just before KVM_RUN, immediate_exit makes
 * KVM_RUN return at once, so no request is lost.
 */
#include "monitor/vcpu.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"

/* SIGRTMIN is a run-time value in glibc; this one is free and constant. */
#define KICK_SIGNAL SIGUSR1

/* Device code is shallow; 32 of the default 8 MiB would be wasteful. */
enum {
	STACK_BYTES = 256 * 1024
};

static void on_kick(int sig)
{
	(void)sig; /* its arrival is the message */
}

int vcpu_init_signals(struct err *e)
{
	/* KVM_RUN answers EINTR all the same; a device's write to the host
	 * that a kick meets half-way goes on. */
	struct sigaction action = { .sa_handler = on_kick,
				    .sa_flags = SA_RESTART };
	sigset_t kick;
	int rc;

	if (sigaction(KICK_SIGNAL, &action, NULL) != 0)
		return err_sys(e, errno, "sigaction");
	/* A parent that blocks it leaves that to us; threads inherit it. */
	(void)sigemptyset(&kick);
	(void)sigaddset(&kick, KICK_SIGNAL);
	rc = pthread_sigmask(SIG_UNBLOCK, &kick, NULL);
	return rc ? err_sys(e, rc, "sigmask") : 0;
}

int vcpu_new(const struct kvm *kvm, int vm_fd, unsigned index,
	     const struct vcpu_ops *ops, void *ctx, struct vcpu *ret,
	     struct err *e)
{
	AUTO(fd) int fd = kvm_ioctl_value(vm_fd, KVM_CREATE_VCPU, index);
	int xsave;
	void *run;

	if (fd < 0)
		return err_set(e, ERR_INTERNAL, "kvm_failed", -fd,
			       "KVM refused vCPU %u: %s", index, strerror(-fd));
	run = mmap(NULL, kvm->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
		   0);
	if (run == MAP_FAILED)
		return err_sys(e, errno, "mapping the run area of a vCPU");
	*ret = (struct vcpu){ .index = index,
			      .kvm = kvm,
			      .run = run,
			      .run_size = kvm->run_size,
			      .ops = ops,
			      .ctx = ctx,
			      .want = VCPU_PAUSE,
			      .paused = true };
	xsave = kvm_ioctl_value(vm_fd, KVM_CHECK_EXTENSION, KVM_CAP_XSAVE2);
	ret->xsave_bytes = xsave > 0 ? (uint32_t)xsave : 0;
	ret->fd = take_fd(&fd);
	(void)pthread_mutex_init(&ret->lock, NULL);
	(void)pthread_cond_init(&ret->changed, NULL);
	return 0;
}

void vcpu_done(struct vcpu *vcpu)
{
	if (!vcpu->run)
		return;
	(void)munmap(vcpu->run, vcpu->run_size);
	vcpu->run = NULL;
	close_fd(&vcpu->fd);
	(void)pthread_cond_destroy(&vcpu->changed);
	(void)pthread_mutex_destroy(&vcpu->lock);
}

uint64_t vcpu_tsc_khz(const struct vcpu *vcpu)
{
	int rc = kvm_ioctl_value(vcpu->fd, KVM_GET_TSC_KHZ, 0);

	return rc > 0 ? (uint64_t)rc : 0;
}

static void ended(struct vcpu *vcpu, enum vcpu_end why, const char *text)
{
	vcpu->ops->ended(vcpu->ctx, why, text);
}

static void end_failed(struct vcpu *vcpu)
{
	const struct kvm_run *run = vcpu->run;
	struct kvm_regs regs = { .rip = 0 };
	char text[160];
	const char *what = "stopped for a reason this monitor does not know";

	if (run->exit_reason == KVM_EXIT_FAIL_ENTRY)
		what = "could not enter the guest";
	else if (run->exit_reason == KVM_EXIT_INTERNAL_ERROR)
		what = "met an instruction or state it cannot run";
	(void)kvm_ioctl(vcpu->fd, KVM_GET_REGS, &regs);
	(void)snprintf(text, sizeof(text),
		       "KVM %s on vCPU %u (exit %u, detail %llu, rip %#llx)",
		       what, vcpu->index, run->exit_reason,
		       run->exit_reason == KVM_EXIT_FAIL_ENTRY
			       ? (unsigned long long)run->fail_entry
					 .hardware_entry_failure_reason
			       : (unsigned long long)run->internal.suberror,
		       (unsigned long long)regs.rip);
	ended(vcpu, VCPU_END_FAILED, text);
}

/*
 * Who resets a PC by a triple fault takes the interrupt table away first, so
 * that any exception will do (Linux: idt_invalidate()). Some KVMs (SVM's) reset
 * the vCPU at the exit: then nothing is known.
 */
static void end_triple_fault(struct vcpu *vcpu)
{
	struct kvm_sregs sregs = { .idt.limit = UINT16_MAX };

	(void)kvm_ioctl(vcpu->fd, KVM_GET_SREGS, &sregs);
	if (sregs.idt.limit == 0)
		ended(vcpu, VCPU_END_RESET,
		      "the guest reset itself by a triple fault");
	else
		ended(vcpu, VCPU_END_TRIPLE_FAULT,
		      "the guest crashed: triple fault");
}

/* KVM_RUN failed with errno sys. New kernels say where. */
static void end_by_host(struct vcpu *vcpu, int sys)
{
	const struct kvm_run *run = vcpu->run;
	char text[200], where[40] = "";

#ifdef KVM_EXIT_MEMORY_FAULT
	if (run->exit_reason == KVM_EXIT_MEMORY_FAULT)
		(void)snprintf(where, sizeof(where), " at %#llx",
			       (unsigned long long)run->memory_fault.gpa);
#else
	(void)run;
#endif
	if (sys == ENOMEM)
		(void)snprintf(text, sizeof(text),
			       "the host has no memory left for the guest");
	else if (sys == EHWPOISON)
		(void)snprintf(text, sizeof(text),
			       "the host's memory under the guest%s is broken "
			       "(hardware error)",
			       where);
	else
		(void)snprintf(text, sizeof(text),
			       "the host cannot give the guest its memory%s: a "
			       "page of it is gone (%s)",
			       where, strerror(sys));
	ended(vcpu, VCPU_END_HOST, text);
}

static void handle_io(struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	uint8_t *data = (uint8_t *)run + run->io.data_offset;

	for (uint32_t i = 0; i < run->io.count; i++)
		vcpu->ops->io(vcpu->ctx, run->io.port,
			      data + (size_t)i * run->io.size, run->io.size,
			      run->io.direction == KVM_EXIT_IO_OUT);
}

static bool handle_system_event(struct vcpu *vcpu)
{
	switch (vcpu->run->system_event.type) {
	case KVM_SYSTEM_EVENT_SHUTDOWN:
		ended(vcpu, VCPU_END_POWEROFF, "the guest powered off");
		return false;
	case KVM_SYSTEM_EVENT_RESET:
		ended(vcpu, VCPU_END_RESET, "the guest asked for a reset");
		return false;
	default:
		ended(vcpu, VCPU_END_FAILED, "the guest crashed");
		return false;
	}
}

/* One writer: no locked instruction is needed. */
static void count_exit(struct vcpu *vcpu, uint32_t reason)
{
	_Atomic uint64_t *n =
		&vcpu->exits[reason < VCPU_EXIT_KINDS ? reason : 0];

	atomic_store_explicit(n,
			      atomic_load_explicit(n, memory_order_relaxed) + 1,
			      memory_order_relaxed);
}

/* False when the vCPU is at its end. */
static bool handle_exit(struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;

	count_exit(vcpu, run->exit_reason);
	switch (run->exit_reason) {
	case KVM_EXIT_IO:
		handle_io(vcpu);
		return true;
	case KVM_EXIT_MMIO:
		vcpu->ops->mmio(vcpu->ctx, run->mmio.phys_addr, run->mmio.data,
				run->mmio.len, run->mmio.is_write);
		return true;
	case KVM_EXIT_INTR:
	case KVM_EXIT_IRQ_WINDOW_OPEN:
	case KVM_EXIT_HLT:
	case KVM_EXIT_IOAPIC_EOI: /* our messages are edges: nothing to do */
		return true;
	case KVM_EXIT_SHUTDOWN:
		end_triple_fault(vcpu);
		return false;
	case KVM_EXIT_SYSTEM_EVENT:
		return handle_system_event(vcpu);
	default:
		end_failed(vcpu);
		return false;
	}
}

static void set_paused(struct vcpu *vcpu)
{
	vcpu->paused = true;
	(void)pthread_cond_broadcast(&vcpu->changed);
	if (vcpu->ops->paused)
		vcpu->ops->paused(vcpu->ctx);
}

/* Waits until the guest may run; false when the thread shall end. */
static bool wait_turn(struct vcpu *vcpu)
{
	bool run;

	(void)pthread_mutex_lock(&vcpu->lock);
	while (vcpu->want == VCPU_PAUSE) {
		if (!vcpu->paused)
			set_paused(vcpu);
		(void)pthread_cond_wait(&vcpu->changed, &vcpu->lock);
	}
	run = vcpu->want == VCPU_RUN;
	vcpu->paused = !run;
	/* Under the lock: a later request sets it again after this. */
	vcpu->run->immediate_exit = 0;
	(void)pthread_cond_broadcast(&vcpu->changed);
	(void)pthread_mutex_unlock(&vcpu->lock);
	return run;
}

/*
 * After an I/O exit KVM completes the instruction on the next KVM_RUN; a pause
 * must not catch the vCPU in between, or a snapshot would lose it. KVM_RUN with
 * immediate_exit completes it and comes back at once.
 */
static void run_guest(struct vcpu *vcpu)
{
	for (;;) {
		int rc = ioctl(vcpu->fd, KVM_RUN, NULL);

		if (rc == 0) {
			if (!handle_exit(vcpu))
				return;
			continue;
		}
		if (errno == EINTR) {
			count_exit(vcpu, KVM_EXIT_INTR);
			if (!wait_turn(vcpu))
				return;
			continue;
		}
		if (errno == EAGAIN)
			continue;
		if (errno == EFAULT || errno == ENOMEM || errno == EHWPOISON)
			end_by_host(vcpu, errno);
		else
			end_failed(vcpu);
		return;
	}
}

static bool enter(struct vcpu *vcpu)
{
	struct err e = ERR_INIT;
	int rc = vcpu->ops->enter ? vcpu->ops->enter(vcpu->ctx, &e) : 0;

	(void)pthread_mutex_lock(&vcpu->lock);
	vcpu->entered = true;
	vcpu->tid = gettid();
	vcpu->enter_rc = rc;
	vcpu->enter_err = e;
	(void)pthread_cond_broadcast(&vcpu->changed);
	(void)pthread_mutex_unlock(&vcpu->lock);
	return rc == 0;
}

static void *thread_main(void *data)
{
	struct vcpu *vcpu = data;

	if (enter(vcpu) && wait_turn(vcpu))
		run_guest(vcpu);
	(void)pthread_mutex_lock(&vcpu->lock);
	set_paused(vcpu);
	(void)pthread_mutex_unlock(&vcpu->lock);
	return NULL;
}

int vcpu_start(struct vcpu *vcpu, struct err *e)
{
	pthread_attr_t attr;
	int rc;

	(void)pthread_attr_init(&attr);
	(void)pthread_attr_setstacksize(&attr, STACK_BYTES);
	rc = pthread_create(&vcpu->thread, &attr, thread_main, vcpu);
	(void)pthread_attr_destroy(&attr);
	if (rc != 0)
		return err_sys(e, rc, "starting the thread of vCPU %u",
			       vcpu->index);
	vcpu->started = true;
	return 0;
}

int vcpu_wait_entered(struct vcpu *vcpu, struct err *e)
{
	(void)pthread_mutex_lock(&vcpu->lock);
	while (!vcpu->entered)
		(void)pthread_cond_wait(&vcpu->changed, &vcpu->lock);
	(void)pthread_mutex_unlock(&vcpu->lock);
	if (vcpu->enter_rc != 0 && e)
		*e = vcpu->enter_err;
	return vcpu->enter_rc;
}

static void want(struct vcpu *vcpu, enum vcpu_want what)
{
	(void)pthread_mutex_lock(&vcpu->lock);
	if (vcpu->want != VCPU_STOP)
		vcpu->want = what;
	if (what != VCPU_RUN) {
		/* Pairs with the reset in wait_turn(). */
		__atomic_store_n(&vcpu->run->immediate_exit, 1,
				 __ATOMIC_SEQ_CST);
		/* Not pthread_kill(): by its process's id, too, lock-down lets
		 * nobody reach another process. */
		if (vcpu->tid > 0)
			(void)syscall(SYS_tgkill, getpid(), vcpu->tid,
				      KICK_SIGNAL);
	}
	(void)pthread_cond_broadcast(&vcpu->changed);
	(void)pthread_mutex_unlock(&vcpu->lock);
}

void vcpu_resume(struct vcpu *vcpu)
{
	want(vcpu, VCPU_RUN);
}

void vcpu_pause(struct vcpu *vcpu)
{
	want(vcpu, VCPU_PAUSE);
}

void vcpu_stop(struct vcpu *vcpu)
{
	want(vcpu, VCPU_STOP);
}

bool vcpu_is_paused(struct vcpu *vcpu)
{
	bool paused;

	(void)pthread_mutex_lock(&vcpu->lock);
	paused = vcpu->paused;
	(void)pthread_mutex_unlock(&vcpu->lock);
	return paused;
}

void vcpu_join(struct vcpu *vcpu)
{
	if (vcpu->started)
		(void)pthread_join(vcpu->thread, NULL);
	vcpu->started = false;
}
