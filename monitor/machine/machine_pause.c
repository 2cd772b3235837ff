/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pause and resume, as states of the run loop. Nobody waits in here: what has
 * begun is looked after once in every turn (machine_settle()), and what it waits
 * for wakes the loop.
 *
 *   RUNNING  --pause-->   PAUSING    vCPUs are told to leave the guest, devices
 *                                    begin no more requests
 *   PAUSING  --all out, none in flight-->  PAUSED
 *   PAUSING  --resume-->  RUNNING    the pause was not to be
 *   PAUSED   --resume-->  RESUMING   what drives keep for a full disk is tried
 *   RESUMING --none in flight-->  RUNNING, or PAUSED when the disk is still full
 *   RESUMING --pause-->   PAUSING
 */
#include <errno.h>

#include "base/clock.h"
#include "monitor/machine/machine.h"
#include "monitor/machine/machine_devices.h"

static bool drained(const struct machine *m)
{
	for (unsigned i = 0; i < m->slot_count; i++)
		if (m->slots[i].dev->in_flight)
			return false;
	return true;
}

static bool vcpus_out(struct machine *m)
{
	for (unsigned i = 0; i < m->vcpu_count; i++)
		if (!vcpu_is_paused(&m->vcpus[i]))
			return false;
	return true;
}

static void quiesce(struct machine *m)
{
	for (unsigned i = 0; i < m->slot_count; i++)
		if (m->slots[i].dev->ops->quiesce)
			m->slots[i].dev->ops->quiesce(m->slots[i].dev);
}

static void retry(struct machine *m)
{
	for (unsigned i = 0; i < m->slot_count; i++)
		if (m->slots[i].dev->ops->retry)
			m->slots[i].dev->ops->retry(m->slots[i].dev);
}

static void resume(struct machine *m)
{
	for (unsigned i = 0; i < m->slot_count; i++)
		if (m->slots[i].dev->ops->resume)
			m->slots[i].dev->ops->resume(m->slots[i].dev);
}

static void settled(struct machine *m)
{
	if (m->settled)
		m->settled(m->control_ctx);
}

static void paused(struct machine *m)
{
	m->state = MACHINE_PAUSED;
	if (!m->paused_ms)
		m->paused_ms = clock_mono_ms();
	settled(m);
	if (m->tell_pause && m->state_changed)
		m->state_changed(m->control_ctx);
	m->tell_pause = false;
}

static void go_on(struct machine *m)
{
	resume(m);
	for (unsigned i = 0; i < m->vcpu_count; i++) {
		/* Tells kvmclock that the pause was not a hang; if it cares. */
		if (m->paused_ms)
			(void)kvm_ioctl_value(m->vcpus[i].fd, KVM_KVMCLOCK_CTRL,
					      0);
		vcpu_resume(&m->vcpus[i]);
	}
	/* What the guest or a peer had to do in a time is not late by it. */
	if (m->paused_ms)
		loop_timers_postpone(m->devices,
				     clock_mono_ms() - m->paused_ms);
	m->paused_ms = 0;
	m->state = MACHINE_RUNNING;
	machine_take_input(m);
	settled(m);
}

void machine_settle(struct machine *m)
{
	if (m->state == MACHINE_PAUSING && drained(m) && vcpus_out(m))
		paused(m);
	if (m->state != MACHINE_RESUMING || !drained(m))
		return;
	if (m->disk_full) /* still: the guest need not run for that */
		paused(m);
	else
		go_on(m);
}

int machine_pause(struct machine *m)
{
	if (m->state == MACHINE_PAUSED)
		return -EALREADY;
	if (m->state != MACHINE_PAUSING) {
		for (unsigned i = 0; i < m->vcpu_count; i++)
			vcpu_pause(&m->vcpus[i]);
		quiesce(m);
		m->state = MACHINE_PAUSING;
		machine_settle(m);
	}
	return 0;
}

int machine_resume(struct machine *m)
{
	bool now;

	if (m->state == MACHINE_RUNNING)
		return -EALREADY;
	if (m->state == MACHINE_RESUMING)
		return 0;
	/* Only what was kept is tried before the guest goes on. */
	now = m->state == MACHINE_PAUSING ||
	      (m->state == MACHINE_BUILT && !m->loaded);
	quiesce(m);
	if (m->loaded)
		machine_resume_devices(m);
	m->loaded = false;
	m->disk_full = false;
	retry(m);
	if (now) {
		m->tell_pause = false;
		go_on(m);
		return 0;
	}
	m->state = MACHINE_RESUMING;
	machine_settle(m);
	return 0;
}

static void on_pause_soon(struct loop_timer *timer)
{
	struct machine *m = timer->data;

	if (!m->disk_full)
		return; /* resumed meanwhile, and it worked */
	log_warn("the guest is paused: the host's disk is full");
	m->tell_pause = true;
	if (machine_pause(m) == -EALREADY) {
		m->tell_pause = false;
		if (m->state_changed)
			m->state_changed(m->control_ctx);
	}
}

void machine_init_pause(struct machine *m)
{
	loop_timer_init(m->loop, &m->pause_soon, on_pause_soon, m);
}

void machine_disk_full(struct machine *m)
{
	m->disk_full = true;
	loop_timer_arm_soon(&m->pause_soon);
}
