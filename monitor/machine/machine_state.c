/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Saving and loading a whole machine: the VM's clock, every vCPU, every device,
 * each in its own versioned section of the blob of base/state.h.
 */
#include "monitor/firmware/generation.h"
#include "monitor/layout.h"
#include "monitor/machine/machine.h"
#include "monitor/machine/machine_devices.h"

int machine_save(struct machine *m, struct state_writer *w, struct err *e)
{
	int rc;

	if (m->state == MACHINE_RUNNING)
		return err_set(e, ERR_CONFLICT, "wrong_state", 0,
			       "the guest runs: pause it before saving");
	rc = vm_save(&m->vm, w, e);
	for (unsigned i = 0; rc == 0 && i < m->vcpu_count; i++)
		rc = vcpu_save(&m->vcpus[i], w, e);
	if (rc < 0)
		return rc;
	machine_save_devices(m, w);
	return 0;
}

/* The same state may be loaded again, elsewhere. */
static int new_generation(struct machine *m, struct err *e)
{
	int rc = generation_write(&m->vm.mem, e);

	if (rc == 0) {
		ioapic_set_line(&m->ioapic, GSI_GENERATION, true);
		ioapic_set_line(&m->ioapic, GSI_GENERATION, false);
	}
	return rc;
}

int machine_load(struct machine *m, struct state_reader *r, struct err *e)
{
	int rc;

	if (m->state != MACHINE_BUILT)
		return err_set(e, ERR_CONFLICT, "wrong_state", 0,
			       "a machine that has run cannot be loaded into");
	rc = vm_load(&m->vm, r, e);
	for (unsigned i = 0; rc == 0 && i < m->vcpu_count; i++)
		rc = vcpu_load(&m->vcpus[i], r, e);
	if (rc == 0)
		rc = machine_load_devices(m, r, e);
	m->loaded = true;
	/* State of a device that this machine lacks must not get lost. */
	if (rc == 0)
		rc = state_all_read(r, e);
	return rc < 0 ? rc : new_generation(m, e);
}
