/* SPDX-License-Identifier: Apache-2.0 */
/* Life of the machine; its devices are put in by machine_devices.c. */
#include "monitor/machine/machine.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "monitor/bus_error.h"
#include "monitor/firmware/acpi.h"
#include "monitor/firmware/generation.h"
#include "monitor/machine/machine_devices.h"
#include "monitor/machine/machine_drives.h"
#include "monitor/machine/machine_slot.h"
#include "monitor/x86/cpuid.h"
#include "monitor/x86/mptable.h"

static_assert((int)MACHINE_VIRTIO_MAX == (int)ACPI_VIRTIO_MAX, "one limit");

static void lock(struct machine *m)
{
	(void)pthread_mutex_lock(&m->lock);
}

static void unlock(struct machine *m)
{
	(void)pthread_mutex_unlock(&m->lock);
}

void machine_end(struct machine *m, enum machine_end why, const char *text)
{
	bool expected = false;

	if (!atomic_compare_exchange_strong(&m->ending, &expected, true))
		return;
	m->end = why;
	(void)snprintf(m->end_text, sizeof(m->end_text), "%s",
		       text ? text : "");
	atomic_store(&m->ended, true);
	loop_wake(m->loop);
}

/* --- exits of vCPUs, on their threads --- */

/* After the end nothing reaches a device any more; the vCPU is on its way. */
static void on_exit_to(struct machine *m, struct bus *bus, uint64_t addr,
		       void *data, uint32_t len, bool write)
{
	lock(m);
	if (atomic_load(&m->ending))
		memset(data, 0xff, write ? 0 : len);
	else if (write)
		bus_write(bus, addr, data, len);
	else
		bus_read(bus, addr, data, len);
	if (write && bus == &m->mmio)
		machine_slot_wait(m, addr);
	unlock(m);
}

static void on_io(void *ctx, uint16_t port, void *data, uint32_t len,
		  bool write)
{
	struct machine *m = ctx;

	on_exit_to(m, &m->ports, port, data, len, write);
}

static void on_mmio(void *ctx, uint64_t gpa, void *data, uint32_t len,
		    bool write)
{
	struct machine *m = ctx;

	on_exit_to(m, &m->mmio, gpa, data, len, write);
}

/*
 * A kernel that was told to reset by a triple fault does so; where KVM keeps the
 * state after one, it is known too when the guest took its handlers away first.
 */
static void on_vcpu_ended(void *ctx, enum vcpu_end why, const char *text)
{
	static const enum machine_end ends[] = {
		[VCPU_END_TRIPLE_FAULT] = MACHINE_END_CRASH,
		[VCPU_END_RESET] = MACHINE_END_RESET,
		[VCPU_END_POWEROFF] = MACHINE_END_POWEROFF,
		[VCPU_END_FAILED] = MACHINE_END_CRASH,
		[VCPU_END_HOST] = MACHINE_END_ERROR,
	};
	struct machine *m = ctx;

	if (why == VCPU_END_TRIPLE_FAULT &&
	    power_resets_by_fault(m->config->boot_args))
		machine_end(m, MACHINE_END_RESET,
			    "the guest reset itself by a triple fault");
	else
		machine_end(m, ends[why], text);
}

static int on_vcpu_enter(void *ctx, struct err *e)
{
	struct machine *m = ctx;
	int rc = bus_error_enter();

	if (rc < 0)
		return err_sys(e, -rc, "a stack for signals");
	return m->enter_thread ? m->enter_thread(LOCKDOWN_VCPU, e) : 0;
}

static void on_vcpu_paused(void *ctx)
{
	struct machine *m = ctx;

	loop_wake(m->loop);
}

static const struct vcpu_ops vcpu_ops = {
	.enter = on_vcpu_enter,
	.paused = on_vcpu_paused,
	.io = on_io,
	.mmio = on_mmio,
	.ended = on_vcpu_ended,
};

/* --- building --- */

static int build_vcpus(struct machine *m, struct err *e)
{
	AUTO(free) struct cpuid_table *cpuid = malloc(sizeof(*cpuid));
	struct cpuid_vm vm = { .vcpu_count = m->config->vcpu_count,
			       .nested = m->config->nested,
			       .pmu = m->config->pmu };
	int rc;

	if (!cpuid)
		return err_set(e, ERR_LIMIT, "no_memory", 0, "out of memory");
	rc = cpuid_supported(&m->kvm, cpuid, e);
	if (rc == 0 && vm.nested && !cpuid_has_nested(cpuid))
		return err_set(e, ERR_UNSUPPORTED, "nested_unavailable", 0,
			       "machine-config.nested needs a KVM that lets "
			       "guests run guests: load kvm_intel or kvm_amd "
			       "with nested=1");
	for (unsigned i = 0; rc == 0 && i < m->config->vcpu_count; i++) {
		struct vcpu *v = &m->vcpus[i];

		rc = vcpu_new(&m->kvm, m->vm.fd, i, &vcpu_ops, m, v, e);
		if (rc < 0)
			break;
		v->nested = vm.nested;
		m->vcpu_count++;
		vm.tsc_khz = vcpu_tsc_khz(v);
		cpuid_adapt(cpuid, &vm, i);
		rc = cpuid_set(v->fd, cpuid, e);
		if (rc == 0)
			vcpu_set_firmware_msrs(v);
	}
	return rc;
}

/* Slots, then interrupt controllers, then vCPUs: see vm.h. */
static int build_vm(struct machine *m, struct err *e)
{
	int rc = kvm_open(m->config->kvm_path, &m->kvm, e);

	if (rc < 0)
		return rc;
	if (m->config->vcpu_count > m->kvm.vcpus_max)
		return err_set(e, ERR_LIMIT, "config_invalid", 0,
			       "this host's KVM runs at most %u vCPUs",
			       m->kvm.vcpus_max);
	rc = vm_new(&m->kvm, m->config->mem_bytes, m->config->backing, &m->vm,
		    e);
	if (rc == 0 && !m->config->pmu)
		vm_disable_pmu(&m->vm);
	if (rc == 0)
		rc = vm_create_irqchip(&m->vm, e);
	if (rc == 0)
		rc = build_vcpus(m, e);
	return rc;
}

/* Being woken is enough: a turn looks at what has changed. */
static void on_wake(void *data)
{
	(void)data;
}

int machine_new(const struct config *config, struct loop *loop,
		struct machine **ret, struct err *e)
{
	struct machine *m = calloc(1, sizeof(*m));
	int rc;

	if (!m)
		return err_set(e, ERR_LIMIT, "no_memory", 0, "out of memory");
	m->config = config;
	m->loop = loop;
	m->kvm = (struct kvm)KVM_INIT;
	m->vm = (struct vm)VM_INIT;
	(void)pthread_mutex_init(&m->lock, NULL);
	(void)pthread_cond_init(&m->drained, NULL);
	machine_init_pause(m);
	m->devices = loop_new(e);
	rc = m->devices ? loop_set_wake(loop, on_wake, m, e) : -ENOMEM;
	if (rc == 0)
		rc = vcpu_init_signals(e);
	if (rc == 0)
		rc = build_vm(m, e);
	if (rc == 0)
		rc = machine_add_devices(m, e);
	if (rc < 0) {
		machine_free(m);
		return rc;
	}
	*ret = m;
	return 0;
}

static void stop_vcpus(struct machine *m)
{
	for (unsigned i = 0; i < m->vcpu_count; i++)
		vcpu_stop(&m->vcpus[i]);
	for (unsigned i = 0; i < m->vcpu_count; i++)
		vcpu_join(&m->vcpus[i]);
}

void machine_free(struct machine *m)
{
	if (!m)
		return;
	lock(m);
	atomic_store(&m->ending, true);
	(void)pthread_cond_broadcast(&m->drained);
	unlock(m);
	stop_vcpus(m);
	loop_timer_disarm(&m->pause_soon);
	machine_remove_devices(m);
	for (unsigned i = 0; i < m->vcpu_count; i++)
		vcpu_done(&m->vcpus[i]);
	vm_done(&m->vm);
	kvm_close(&m->kvm);
	loop_free(m->devices);
	(void)pthread_cond_destroy(&m->drained);
	(void)pthread_mutex_destroy(&m->lock);
	free(m);
}

/* Opens a file of the boot source; missing_code names what is missing. */
static int open_boot_file(const char *path, const char *missing_code,
			  const char *what, int *ret, struct err *e)
{
	const char *why;
	int fd = config_open(path, O_RDONLY, FILE_REGULAR, &why);

	if (fd < 0)
		return err_set(e,
			       fd == -EACCES ? ERR_PERMISSION : ERR_NOT_FOUND,
			       missing_code, -fd, "cannot open the %s %s: %s",
			       what, path, why);
	*ret = fd;
	return 0;
}

static int write_tables(struct machine *m, struct err *e)
{
	struct acpi_machine acpi = { .vcpu_count = m->vcpu_count,
				     .virtio_count = m->slot_count };
	int rc;

	for (unsigned i = 0; i < m->slot_count; i++)
		acpi.virtio_gsi[i] = m->slots[i].gsi;
	if (!power_write_reset_vector(&m->vm.mem))
		return err_set(e, ERR_LIMIT, "kernel_too_large", 0,
			       "the guest has no memory for the reset vector");
	rc = acpi_write(&m->vm.mem, &acpi, e);
	if (rc == 0)
		rc = generation_write(&m->vm.mem, e);
	return rc < 0 ? rc : mptable_write(&m->vm.mem, m->vcpu_count, e);
}

int machine_load_guest(struct machine *m, struct err *e)
{
	const struct config *c = m->config;
	AUTO(fd) int kernel = -1;
	AUTO(fd) int initrd = -1;
	struct boot_entry entry;
	int rc = open_boot_file(c->kernel_image_path, "kernel_missing",
				"kernel", &kernel, e);

	if (rc == 0 && c->initrd_path)
		rc = open_boot_file(c->initrd_path, "initrd_missing", "initrd",
				    &initrd, e);
	if (rc == 0)
		rc = write_tables(m, e);
	if (rc == 0)
		rc = boot_load(&m->vm.mem, kernel, initrd, c->boot_args,
			       GPA_ACPI, &entry, e);
	if (rc == 0)
		rc = vcpu_boot(&m->vcpus[0], &m->vm.mem, &entry, e);
	if (rc == 0)
		log_debug("kernel loaded by protocol %s", entry.protocol);
	return rc;
}

int machine_start_threads(struct machine *m, machine_enter_fn *enter,
			  struct err *e)
{
	int rc = 0;

	m->enter_thread = enter;
	for (unsigned i = 0; rc == 0 && i < m->vcpu_count; i++)
		rc = vcpu_start(&m->vcpus[i], e);
	for (unsigned i = 0; rc == 0 && i < m->vcpu_count; i++)
		rc = vcpu_wait_entered(&m->vcpus[i], e);
	return rc < 0 ? rc : machine_start_drives(m, e);
}

/* --- running --- */

int machine_turn(struct machine *m, int timeout_ms, struct err *e)
{
	struct pollfd ready[] = {
		{ .fd = loop_fd(m->loop), .events = POLLIN },
		{ .fd = loop_fd(m->devices), .events = POLLIN },
	};
	/* Only this thread changes the state. */
	nfds_t count = m->state == MACHINE_RUNNING ? 2 : 1;
	int rc = poll(ready, count, timeout_ms);

	if (rc < 0 && errno != EINTR)
		return err_sys(e, errno, "waiting for events");
	if (rc <= 0)
		return 0;
	lock(m);
	rc = ready[0].revents ? loop_run_once(m->loop, 0) : 0;
	/* Which may have paused it. */
	if (rc >= 0 && ready[1].revents && m->state == MACHINE_RUNNING)
		rc = loop_run_once(m->devices, 0);
	machine_settle(m);
	unlock(m);
	return rc < 0 ? err_sys(e, -rc, "waiting for events") : 0;
}

int machine_run(struct machine *m, struct err *e)
{
	int rc = 0;

	m->started_ms = clock_mono_ms();
	lock(m);
	(void)machine_resume(m);
	unlock(m);
	while (rc == 0 && !atomic_load(&m->ended))
		rc = machine_turn(m, -1, e);
	return rc;
}

void machine_press_power_button(struct machine *m)
{
	ioapic_set_line(&m->ioapic, GSI_POWER_BUTTON, true);
	ioapic_set_line(&m->ioapic, GSI_POWER_BUTTON, false);
}
