/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Saving and loading a vCPU. The payload is KVM's own structs, whose layout is
 * fixed by its ABI, and pairs of MSR number and value. Loading trusts KVM to
 * refuse impossible registers; sizes are ours to check.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "monitor/vcpu.h"

enum {
	VCPU_STATE_VERSION = 1,
	MSRS_MAX = 512
};

/*
 * In the order of both ways. Asking for mp_state first carries out an INIT or
 * SIPI that waits, which changes the registers. The local APIC needs APIC_BASE
 * from sregs, and the MSRs (TSC deadline), which come last, need the local APIC.
 */
static const struct part {
	const char *name;
	unsigned long get, set;
	uint32_t size;
	bool optional; /* for a CPU without XSAVE */
} parts[] = {
	{ "mp_state", KVM_GET_MP_STATE, KVM_SET_MP_STATE,
	  sizeof(struct kvm_mp_state), false },
	{ "xsave", KVM_GET_XSAVE, KVM_SET_XSAVE, sizeof(struct kvm_xsave),
	  true },
	{ "xcrs", KVM_GET_XCRS, KVM_SET_XCRS, sizeof(struct kvm_xcrs), true },
	{ "sregs", KVM_GET_SREGS, KVM_SET_SREGS, sizeof(struct kvm_sregs),
	  false },
	{ "lapic", KVM_GET_LAPIC, KVM_SET_LAPIC, sizeof(struct kvm_lapic_state),
	  false },
	{ "regs", KVM_GET_REGS, KVM_SET_REGS, sizeof(struct kvm_regs), false },
	{ "debugregs", KVM_GET_DEBUGREGS, KVM_SET_DEBUGREGS,
	  sizeof(struct kvm_debugregs), true },
	{ "events", KVM_GET_VCPU_EVENTS, KVM_SET_VCPU_EVENTS,
	  sizeof(struct kvm_vcpu_events), false },
};

/* The largest of them. */
union part_buffer {
	struct kvm_xsave xsave;
	struct kvm_lapic_state lapic;
	uint8_t bytes[4096];
};

static void section_name(const struct vcpu *vcpu, char name[16])
{
	(void)snprintf(name, 16, "vcpu%u", vcpu->index);
}

/* The numbers of all MSRs that make up this host's guests. */
static int list_msrs(const struct vcpu *vcpu, struct kvm_msr_list **ret,
		     struct err *e)
{
	AUTO(free)
	struct kvm_msr_list *list =
		calloc(1, sizeof(*list) + MSRS_MAX * sizeof(uint32_t));
	int rc;

	if (!list)
		return err_set(e, ERR_LIMIT, "no_memory", 0, "out of memory");
	list->nmsrs = MSRS_MAX;
	rc = kvm_try(vcpu->kvm->fd, KVM_GET_MSR_INDEX_LIST, list,
		     "the list of MSRs", e);
	if (rc < 0)
		return rc;
	*ret = take_ptr(list);
	return 0;
}

/* The request for one MSR: a header with an array of one entry behind it. */
union one_msr {
	struct kvm_msrs head;
	uint8_t room[sizeof(struct kvm_msrs) + sizeof(struct kvm_msr_entry)];
};

/* One by one: KVM stops at the first it cannot read, and some it cannot. */
static int save_msrs(struct vcpu *vcpu, struct state_writer *w, struct err *e)
{
	AUTO(free) struct kvm_msr_list *list = NULL;
	AUTO(free) struct kvm_msr_entry *found = NULL;
	uint32_t count = 0;
	int rc = list_msrs(vcpu, &list, e);

	if (rc < 0 || !list)
		return rc;
	found = calloc(list->nmsrs + 1, sizeof(*found));
	if (!found)
		return err_set(e, ERR_LIMIT, "no_memory", 0, "out of memory");
	for (uint32_t i = 0; i < list->nmsrs; i++) {
		union one_msr msr = { .room = { 0 } };

		msr.head.nmsrs = 1;
		msr.head.entries[0].index = list->indices[i];
		if (kvm_ioctl(vcpu->fd, KVM_GET_MSRS, &msr) == 1)
			found[count++] = msr.head.entries[0];
	}
	state_put_u32(w, count);
	for (uint32_t i = 0; i < count; i++) {
		state_put_u32(w, found[i].index);
		state_put_u64(w, found[i].data);
	}
	return 0;
}

int vcpu_save(struct vcpu *vcpu, struct state_writer *w, struct err *e)
{
	union part_buffer buffer;
	char name[16];
	int rc;

	section_name(vcpu, name);
	state_begin(w, name, VCPU_STATE_VERSION);
	for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
		memset(&buffer, 0, sizeof(buffer));
		rc = kvm_try(vcpu->fd, parts[i].get, &buffer, parts[i].name, e);
		if (rc < 0 && !parts[i].optional)
			return err_wrap(e, rc, "saving vCPU %u", vcpu->index);
		state_put_u32(w, rc < 0 ? 0 : parts[i].size);
		if (rc >= 0)
			state_put_bytes(w, &buffer, parts[i].size);
	}
	rc = save_msrs(vcpu, w, e);
	state_end(w);
	return rc < 0 ? rc : 0;
}

static int load_part(struct vcpu *vcpu, const struct part *part,
		     struct state_reader *r, struct err *e)
{
	union part_buffer buffer;
	uint32_t size = state_get_u32(r);
	int rc;

	if (size == 0 && part->optional)
		return 0;
	if (size != part->size)
		return err_set(e, ERR_CORRUPT, "state_invalid", 0,
			       "vCPU %u: %s has %u bytes", vcpu->index,
			       part->name, size);
	state_get_bytes(r, &buffer, size);
	rc = kvm_try(vcpu->fd, part->set, &buffer, part->name, e);
	return rc < 0 ? rc : 0;
}

/*
 * An MSR that this host refuses is skipped when its saved value is zero: it was
 * never used.
 */
static int load_msrs(struct vcpu *vcpu, struct state_reader *r, struct err *e)
{
	uint32_t count = state_get_u32(r);

	if (count > MSRS_MAX)
		return err_set(e, ERR_CORRUPT, "state_invalid", 0,
			       "vCPU %u: %u MSRs", vcpu->index, count);
	for (uint32_t i = 0; i < count; i++) {
		union one_msr msr = { .room = { 0 } };

		msr.head.nmsrs = 1;
		msr.head.entries[0].index = state_get_u32(r);
		msr.head.entries[0].data = state_get_u64(r);
		if (kvm_ioctl(vcpu->fd, KVM_SET_MSRS, &msr) != 1 &&
		    msr.head.entries[0].data != 0)
			log_debug("vCPU %u: MSR %#x was not restored",
				  vcpu->index, msr.head.entries[0].index);
	}
	return 0;
}

int vcpu_load(struct vcpu *vcpu, struct state_reader *r, struct err *e)
{
	char name[16];
	uint16_t version;
	int rc;

	section_name(vcpu, name);
	rc = state_open(r, name, VCPU_STATE_VERSION, &version, e);
	for (size_t i = 0; rc == 0 && i < ARRAY_LEN(parts); i++)
		rc = load_part(vcpu, &parts[i], r, e);
	if (rc == 0)
		rc = load_msrs(vcpu, r, e);
	if (rc == 0)
		rc = state_close(r, e);
	return rc < 0 ? err_wrap(e, rc, "loading vCPU %u", vcpu->index) : 0;
}
