/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Saving and loading a vCPU. The payload is KVM's own structs, whose layout is
 * fixed by its ABI, and pairs of MSR number and value. Loading trusts KVM to
 * refuse impossible registers; sizes are ours to check.
 *
 * Nothing is left out in silence: what this KVM has but cannot give or take is
 * an error with its name, and a CPU or a clock that the guest does not know is
 * refused before anything is loaded.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "monitor/vcpu.h"

enum {
	VCPU_STATE_VERSION = 2,
	MSRS_MAX = 512,
	PART_MAX = 64 * 1024, /* AMX needs 11 KiB, nested state 12 */
	/* What Linux takes for the same clock, in parts per million. */
	TSC_TOLERANCE_PPM = 250,
	MSR_FEATURE_CONTROL = 0x3a,
};

/*
 * In the order of both ways. Asking for mp_state first carries out an INIT or
 * SIPI that waits, which changes the registers. The local APIC needs APIC_BASE
 * from sregs, the nested state EFER; and the MSRs (TSC deadline), which come
 * last, need the local APIC.
 */
static const struct part {
	const char *name;
	unsigned long get, set;
	uint32_t size; /* or the least, where it grows */
	int cap; /* what KVM calls having it; 0: always */
} parts[] = {
	{ "mp_state", KVM_GET_MP_STATE, KVM_SET_MP_STATE,
	  sizeof(struct kvm_mp_state), 0 },
	{ "xsave", KVM_GET_XSAVE, KVM_SET_XSAVE, sizeof(struct kvm_xsave),
	  KVM_CAP_XSAVE },
	{ "xcrs", KVM_GET_XCRS, KVM_SET_XCRS, sizeof(struct kvm_xcrs),
	  KVM_CAP_XCRS },
	{ "sregs", KVM_GET_SREGS, KVM_SET_SREGS, sizeof(struct kvm_sregs), 0 },
	{ "lapic", KVM_GET_LAPIC, KVM_SET_LAPIC, sizeof(struct kvm_lapic_state),
	  0 },
	{ "nested", KVM_GET_NESTED_STATE, KVM_SET_NESTED_STATE,
	  sizeof(struct kvm_nested_state), KVM_CAP_NESTED_STATE },
	{ "regs", KVM_GET_REGS, KVM_SET_REGS, sizeof(struct kvm_regs), 0 },
	{ "debugregs", KVM_GET_DEBUGREGS, KVM_SET_DEBUGREGS,
	  sizeof(struct kvm_debugregs), KVM_CAP_DEBUGREGS },
	{ "events", KVM_GET_VCPU_EVENTS, KVM_SET_VCPU_EVENTS,
	  sizeof(struct kvm_vcpu_events), 0 },
};

static void section_name(const struct vcpu *vcpu, char name[16])
{
	(void)snprintf(name, 16, "vcpu%u", vcpu->index);
}

static int no_memory(struct err *e)
{
	return err_set(e, ERR_LIMIT, "no_memory", 0, "out of memory");
}

static int check(const struct vcpu *vcpu, int cap)
{
	return kvm_ioctl_value(vcpu->kvm->fd, KVM_CHECK_EXTENSION,
			       (unsigned long)cap);
}

/* Bytes that KVM may give for the part here; 0: it has none. */
static uint32_t part_room(const struct vcpu *vcpu, const struct part *part)
{
	int has = part->cap ? check(vcpu, part->cap) : 1;

	if (has <= 0)
		return 0;
	if (part->cap == KVM_CAP_NESTED_STATE)
		return vcpu->nested && has <= PART_MAX ? (uint32_t)has : 0;
	if (part->cap == KVM_CAP_XSAVE && vcpu->xsave_bytes > part->size)
		return vcpu->xsave_bytes;
	return part->size;
}

/* The list of MSRs that make up this host's guests. */
static int list_msrs(const struct vcpu *vcpu, struct kvm_msr_list **ret,
		     struct err *e)
{
	AUTO(free)
	struct kvm_msr_list *list =
		calloc(1, sizeof(*list) + MSRS_MAX * sizeof(uint32_t));
	int rc;

	if (!list)
		return no_memory(e);
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

static bool get_msr(const struct vcpu *vcpu, uint32_t index, uint64_t *ret)
{
	union one_msr msr = { .room = { 0 } };

	msr.head.nmsrs = 1;
	msr.head.entries[0].index = index;
	if (kvm_ioctl(vcpu->fd, KVM_GET_MSRS, &msr) != 1)
		return false;
	*ret = msr.head.entries[0].data;
	return true;
}

static bool set_msr(const struct vcpu *vcpu, uint32_t index, uint64_t value)
{
	union one_msr msr = { .room = { 0 } };

	msr.head.nmsrs = 1;
	msr.head.entries[0].index = index;
	msr.head.entries[0].data = value;
	return kvm_ioctl(vcpu->fd, KVM_SET_MSRS, &msr) == 1;
}

/*
 * One by one, for KVM stops at the first that a vCPU has not: its list is of
 * all that any could have, and the guest cannot read such a one either.
 */
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
		return no_memory(e);
	for (uint32_t i = 0; i < list->nmsrs; i++) {
		uint64_t value;

		if (!get_msr(vcpu, list->indices[i], &value))
			continue;
		found[count].index = list->indices[i];
		found[count++].data = value;
	}
	state_put_u32(w, count);
	for (uint32_t i = 0; i < count; i++) {
		state_put_u32(w, found[i].index);
		state_put_u64(w, found[i].data);
	}
	return 0;
}

static int save_cpuid(struct vcpu *vcpu, struct state_writer *w, struct err *e)
{
	AUTO(free) struct cpuid_table *table = malloc(sizeof(*table));
	int rc;

	if (!table)
		return no_memory(e);
	rc = cpuid_get(vcpu->fd, table, e);
	if (rc < 0)
		return rc;
	state_put_u32(w, table->count);
	for (uint32_t i = 0; i < table->count; i++) {
		const struct kvm_cpuid_entry2 *c = &table->entries[i];

		state_put_u32(w, c->function);
		state_put_u32(w, c->index);
		state_put_u32(w, c->flags);
		state_put_u32(w, c->eax);
		state_put_u32(w, c->ebx);
		state_put_u32(w, c->ecx);
		state_put_u32(w, c->edx);
	}
	return 0;
}

static int save_part(struct vcpu *vcpu, const struct part *part,
		     struct state_writer *w, struct err *e)
{
	uint32_t room = part_room(vcpu, part), size = room;
	AUTO(free) uint8_t *buffer = calloc(1, (size_t)room + 1);
	unsigned long get = part->get;
	int rc;

	if (!buffer)
		return no_memory(e);
	if (room == 0) {
		state_put_u32(w, 0);
		return 0;
	}
	if (part->cap == KVM_CAP_NESTED_STATE)
		((struct kvm_nested_state *)(void *)buffer)->size = room;
	if (part->cap == KVM_CAP_XSAVE && room > part->size)
		get = KVM_GET_XSAVE2;
	rc = kvm_try(vcpu->fd, get, buffer, part->name, e);
	if (rc < 0)
		return rc;
	if (part->cap == KVM_CAP_NESTED_STATE)
		size = ((struct kvm_nested_state *)(void *)buffer)->size;
	if (size > room)
		return err_set(e, ERR_INTERNAL, "kvm_failed", 0,
			       "KVM gave %u bytes of %s", size, part->name);
	state_put_u32(w, size);
	state_put_bytes(w, buffer, size);
	return 0;
}

int vcpu_save(struct vcpu *vcpu, struct state_writer *w, struct err *e)
{
	char name[16];
	int rc;

	section_name(vcpu, name);
	state_begin(w, name, VCPU_STATE_VERSION);
	state_put_u64(w, vcpu_tsc_khz(vcpu));
	rc = save_cpuid(vcpu, w, e);
	for (size_t i = 0; rc == 0 && i < ARRAY_LEN(parts); i++)
		rc = save_part(vcpu, &parts[i], w, e);
	if (rc == 0)
		rc = save_msrs(vcpu, w, e);
	state_end(w);
	return rc < 0 ? err_wrap(e, rc, "saving vCPU %u", vcpu->index) : 0;
}

/* The guest counts on the frequency that it found or measured. */
static int load_tsc(struct vcpu *vcpu, uint64_t saved_khz, struct err *e)
{
	uint64_t here = vcpu_tsc_khz(vcpu);
	uint64_t apart = saved_khz > here ? saved_khz - here : here - saved_khz;

	if (saved_khz == 0 || apart * 1000000 <= here * TSC_TOLERANCE_PPM)
		return 0;
	if (saved_khz > UINT32_MAX)
		return err_set(e, ERR_CORRUPT, "state_invalid", 0,
			       "a TSC of %llu kHz",
			       (unsigned long long)saved_khz);
	if (check(vcpu, KVM_CAP_TSC_CONTROL) > 0 &&
	    kvm_ioctl_value(vcpu->fd, KVM_SET_TSC_KHZ, saved_khz) == 0)
		return 0;
	return err_set(e, ERR_UNSUPPORTED, "state_incompatible", 0,
		       "the guest's TSC runs at %llu kHz, this host's at %llu, "
		       "and its CPU cannot scale it: load it on a host of the "
		       "same frequency",
		       (unsigned long long)saved_khz, (unsigned long long)here);
}

static int load_cpuid(struct vcpu *vcpu, struct state_reader *r, struct err *e)
{
	AUTO(free) struct cpuid_table *saved = calloc(1, sizeof(*saved));
	AUTO(free) struct cpuid_table *host = calloc(1, sizeof(*host));
	AUTO(free) struct cpuid_table *own = calloc(1, sizeof(*own));
	int rc;

	if (!saved || !host || !own)
		return no_memory(e);
	saved->count = state_get_u32(r);
	if (saved->count > CPUID_ENTRIES_MAX)
		return err_set(e, ERR_CORRUPT, "state_invalid", 0,
			       "%u CPUID leaves", saved->count);
	for (uint32_t i = 0; i < saved->count; i++) {
		struct kvm_cpuid_entry2 *c = &saved->entries[i];

		c->function = state_get_u32(r);
		c->index = state_get_u32(r);
		c->flags = state_get_u32(r);
		c->eax = state_get_u32(r);
		c->ebx = state_get_u32(r);
		c->ecx = state_get_u32(r);
		c->edx = state_get_u32(r);
	}
	rc = cpuid_supported(vcpu->kvm, host, e);
	if (rc == 0)
		rc = cpuid_get(vcpu->fd, own, e);
	if (rc == 0)
		rc = cpuid_compare(saved, host, own, e);
	/* The very CPU that the guest knows, not the one made for it here. */
	return rc < 0 ? rc : cpuid_set(vcpu->fd, saved, e);
}

/* Nested state of VMX is taken only where the guest may switch VMX on. */
static int before_nested(struct vcpu *vcpu, const uint8_t *buffer,
			 uint32_t size, struct err *e)
{
	const struct kvm_nested_state *n = (const void *)buffer;
	uint64_t bits;

	if (n->size != size)
		return err_set(e, ERR_CORRUPT, "state_invalid", 0,
			       "nested state of %u bytes in %u", n->size, size);
	if (n->format == KVM_STATE_NESTED_FORMAT_VMX &&
	    get_msr(vcpu, MSR_FEATURE_CONTROL, &bits))
		(void)set_msr(vcpu, MSR_FEATURE_CONTROL, bits | 5);
	return 0;
}

static int load_part(struct vcpu *vcpu, const struct part *part,
		     struct state_reader *r, struct err *e)
{
	uint32_t size = state_get_u32(r), room = part_room(vcpu, part);
	AUTO(free) uint8_t *buffer = NULL;
	int rc = 0;

	if (size == 0 && part->cap)
		return 0; /* there was none, so it never left its start */
	if (!room)
		return err_set(e, ERR_UNSUPPORTED, "state_incompatible", 0,
			       "this host's KVM has no %s, which the guest has",
			       part->name);
	if (size < part->size || size > room)
		return err_set(e, ERR_CORRUPT, "state_invalid", 0,
			       "%s has %u bytes", part->name, size);
	/* KVM may read as much as it would give. */
	buffer = calloc(1, room);
	if (!buffer)
		return no_memory(e);
	state_get_bytes(r, buffer, size);
	if (part->cap == KVM_CAP_NESTED_STATE)
		rc = before_nested(vcpu, buffer, size, e);
	if (rc == 0)
		rc = kvm_try(vcpu->fd, part->set, buffer, part->name, e);
	return rc < 0 ? rc : 0;
}

/*
 * An MSR that this host refuses is as good as loaded when it has that value
 * here already, or when the guest never used what it does not have here.
 */
static int load_msrs(struct vcpu *vcpu, struct state_reader *r, struct err *e)
{
	uint32_t count = state_get_u32(r);

	if (count > MSRS_MAX)
		return err_set(e, ERR_CORRUPT, "state_invalid", 0, "%u MSRs",
			       count);
	for (uint32_t i = 0; i < count && !r->failed; i++) {
		uint32_t index = state_get_u32(r);
		uint64_t value = state_get_u64(r), here = 0;

		if (set_msr(vcpu, index, value))
			continue;
		if (get_msr(vcpu, index, &here) ? here == value : value == 0)
			continue;
		return err_set(e, ERR_UNSUPPORTED, "state_incompatible", 0,
			       "this host's KVM does not take MSR %#x = %#llx, "
			       "which the guest has",
			       index, (unsigned long long)value);
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
	if (rc == 0 && version < VCPU_STATE_VERSION)
		return err_set(e, ERR_UNSUPPORTED, "state_too_old", 0,
			       "vCPU %u was saved without a description of its "
			       "CPU: nobody can tell whether it can go on here",
			       vcpu->index);
	if (rc == 0)
		rc = load_tsc(vcpu, state_get_u64(r), e);
	if (rc == 0)
		rc = load_cpuid(vcpu, r, e);
	for (size_t i = 0; rc == 0 && i < ARRAY_LEN(parts); i++)
		rc = load_part(vcpu, &parts[i], r, e);
	if (rc == 0)
		rc = load_msrs(vcpu, r, e);
	if (rc == 0)
		rc = state_close(r, e);
	return rc < 0 ? err_wrap(e, rc, "loading vCPU %u", vcpu->index) : 0;
}
