/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A real-mode guest of four bytes: a loop of two instructions, run until enough
 * time has passed. See probe.h.
 */
#include "monitor/probe.h"

#include <errno.h>
#include <jansson.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json.h"
#include "monitor/kvm.h"

enum {
	PAGE = 4096,
	CODE = 0x1000,
	/* Interpreted, a round of these takes some 10 ms; else nothing. */
	ROUND_FIRST = 1000,
	/* Long enough to measure, and short enough to fit in between two
	 * moments at which a loaded host lets others run. */
	ROUND_NS = 1000 * 1000,
	/* A fast host has shown itself after as many rounds of full length. */
	ROUNDS_FULL = 4,
	BUDGET_NS = 150 * 1000 * 1000,
	PER_TURN = 2, /* instructions of a turn */
};

/* dec ecx; jnz -4; out 0x10, al */
static const uint8_t guest_code[] = { 0x66, 0x49, 0x75, 0xfc, 0xe6, 0x10 };

struct probe {
	struct kvm kvm;
	int vm, vcpu;
	uint8_t *memory;
	struct kvm_run *run;
};

static void done(struct probe *p)
{
	if (p->run)
		(void)munmap(p->run, p->kvm.run_size);
	close_fd(&p->vcpu);
	close_fd(&p->vm);
	if (p->memory)
		(void)munmap(p->memory, PAGE);
	kvm_close(&p->kvm);
}

static int build(struct probe *p, const char *path, struct err *e)
{
	struct kvm_userspace_memory_region slot = { .guest_phys_addr = CODE,
						    .memory_size = PAGE };
	void *map;
	int rc = kvm_open(path, &p->kvm, e);

	if (rc < 0)
		return rc;
	map = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (map == MAP_FAILED)
		return err_sys(e, errno, "probe memory");
	p->memory = map;
	memcpy(p->memory, guest_code, sizeof(guest_code));
	slot.userspace_addr = (uintptr_t)p->memory;
	p->vm = kvm_ioctl_value(p->kvm.fd, KVM_CREATE_VM, 0);
	if (p->vm < 0)
		return err_set(e, ERR_INTERNAL, "kvm_failed", -p->vm,
			       "KVM refused a VM: %s", strerror(-p->vm));
	rc = kvm_try(p->vm, KVM_SET_USER_MEMORY_REGION, &slot, "memory", e);
	if (rc < 0)
		return rc;
	p->vcpu = kvm_ioctl_value(p->vm, KVM_CREATE_VCPU, 0);
	if (p->vcpu < 0)
		return err_set(e, ERR_INTERNAL, "kvm_failed", -p->vcpu,
			       "KVM refused a vCPU: %s", strerror(-p->vcpu));
	map = mmap(NULL, p->kvm.run_size, PROT_READ | PROT_WRITE, MAP_SHARED,
		   p->vcpu, 0);
	if (map == MAP_FAILED)
		return err_sys(e, errno, "run area");
	p->run = map;
	return 0;
}

/* One run of `turns` turns; *ret_ns is what it took. */
static int run_round(struct probe *p, uint64_t turns, uint64_t *ret_ns,
		     struct err *e)
{
	struct kvm_regs regs = { .rip = CODE, .rcx = turns, .rflags = 2 };
	struct kvm_sregs sregs;
	uint64_t start;
	int rc = kvm_try(p->vcpu, KVM_GET_SREGS, &sregs, "registers", e);

	if (rc < 0)
		return rc;
	sregs.cs.base = 0;
	sregs.cs.selector = 0;
	rc = kvm_try(p->vcpu, KVM_SET_SREGS, &sregs, "registers", e);
	if (rc >= 0)
		rc = kvm_try(p->vcpu, KVM_SET_REGS, &regs, "registers", e);
	if (rc < 0)
		return rc;
	start = clock_mono_ns();
	rc = kvm_ioctl(p->vcpu, KVM_RUN, NULL);
	*ret_ns = clock_mono_ns() - start;
	if (rc < 0 || p->run->exit_reason != KVM_EXIT_IO)
		return err_set(e, ERR_UNAVAILABLE, "kvm_failed", -rc,
			       "KVM does not run even a tiny guest (exit %u)",
			       p->run->exit_reason);
	return 0;
}

/*
 * The best of several short rounds: whatever else the host does only makes a
 * round slower, so the fastest one comes nearest to the truth.
 */
static int measure(struct probe *p, struct probe_result *ret, struct err *e)
{
	uint64_t end = clock_mono_ns() + BUDGET_NS;
	uint64_t turns = ROUND_FIRST, ns;
	unsigned rounds = 0, full = 0;
	int rc = run_round(p, 1, &ns, e); /* page faults come here */

	while (rc == 0 && (rounds++ < 2 || clock_mono_ns() < end)) {
		double mips;

		rc = run_round(p, turns, &ns, e);
		if (rc < 0)
			break;
		mips = (double)(turns * PER_TURN) * 1000.0 /
		       (double)(ns ? ns : 1);
		if (mips > ret->mips)
			ret->mips = mips;
		if (ns < ROUND_NS)
			turns *= 4;
		else if (++full >= ROUNDS_FULL &&
			 ret->mips >= PROBE_USABLE_MIPS)
			break;
	}
	return rc;
}

int probe_kvm(const char *path, struct probe_result *ret, struct err *e)
{
	struct probe p = { .kvm = KVM_INIT, .vm = -1, .vcpu = -1 };
	int rc = build(&p, path, e);

	*ret = (struct probe_result){ .api = p.kvm.api };
	if (rc == 0)
		rc = measure(&p, ret, e);
	ret->usable = rc == 0 && ret->mips >= PROBE_USABLE_MIPS;
	done(&p);
	return rc;
}

int probe_print(const char *path)
{
	struct probe_result result;
	struct err e = ERR_INIT;
	AUTO(json) json_t *json = NULL;
	AUTO(free) char *text = NULL;
	char reason[sizeof(e.msg)];

	if (probe_kvm(path, &result, &e) < 0)
		(void)snprintf(reason, sizeof(reason), "%s", e.msg);
	else if (!result.usable)
		(void)snprintf(reason, sizeof(reason),
			       "this host's KVM interprets guests at %.1f "
			       "million instructions per second; Linux needs "
			       "at least %d",
			       result.mips, PROBE_USABLE_MIPS);
	else
		(void)snprintf(reason, sizeof(reason),
			       "guests run at %.0f million instructions per "
			       "second",
			       result.mips);
	json = json_pack("{s:b, s:f, s:i, s:s, s:s}", "usable", result.usable,
			 "mips", result.mips, "api", result.api, "reason",
			 reason, "code", e.code);
	text = json ? json_to_text(json) : NULL;
	return text && puts(text) >= 0 ? 0 : 1;
}
