/* SPDX-License-Identifier: Apache-2.0 */
/* The table of engines and the choice between them, with its reason. */
#include "vmd/engines/engine.h"

#include <stdio.h>
#include <string.h>

#include "vmd/engines/host.h"

const struct engine_ops *const engines[] = { &engine_microvm, &engine_qemu,
					     NULL };

const struct engine_ops *engine_by_name(const char *name)
{
	for (size_t i = 0; engines[i]; i++) {
		if (!strcmp(engines[i]->name, name))
			return engines[i];
	}
	return NULL;
}

const char *vm_end_name(enum vm_end end)
{
	static const char *const names[] = {
		[VM_END_POWEROFF] = "poweroff", [VM_END_RESET] = "reset",
		[VM_END_CRASH] = "crash",	[VM_END_KILLED] = "killed",
		[VM_END_FAILED] = "failed",	[VM_END_OOM] = "out of memory",
	};

	return names[end];
}

static int choose_named(const char *wanted, const struct vm_launch *launch,
			const struct engine_ops **ret, char ret_reason[256],
			struct err *e)
{
	const struct engine_ops *engine = engine_by_name(wanted);
	int rc;

	if (!engine)
		return err_set(e, ERR_INVALID, "engine_unknown", 0,
			       "there is no engine \"%.60s\": use auto, "
			       "microvm or qemu",
			       wanted);
	rc = engine->can_run(launch, e);
	if (rc < 0)
		return rc;
	(void)snprintf(ret_reason, 256, "%s was asked for", engine->name);
	*ret = engine;
	return 0;
}

int engine_choose(const char *wanted, const struct vm_launch *launch,
		  const struct engine_ops **ret, char ret_reason[static 256],
		  struct err *e)
{
	struct err microvm = ERR_INIT;
	int rc;

	if (wanted && strcmp(wanted, "auto") != 0)
		return choose_named(wanted, launch, ret, ret_reason, e);
	if (launch->emulate) {
		(void)snprintf(microvm.msg, sizeof(microvm.msg),
			       "emulation was asked for");
	} else if (engine_microvm.can_run(launch, &microvm) == 0) {
		(void)snprintf(ret_reason, 256,
			       "KVM runs guests here and the image boots a "
			       "Linux kernel");
		*ret = &engine_microvm;
		return 0;
	}
	rc = engine_qemu.can_run(launch, e);
	/* Both refuse: what is wrong with the VM itself matters more. */
	if (rc < 0 && e && e->kind == ERR_UNAVAILABLE &&
	    microvm.kind != ERR_NONE && microvm.kind != ERR_UNAVAILABLE)
		*e = microvm;
	if (rc < 0)
		return rc;
	(void)snprintf(ret_reason, 256, "%.190s: %s by QEMU", microvm.msg,
		       host_kvm()->usable && !launch->emulate
			       ? "KVM"
			       : "software emulation");
	*ret = &engine_qemu;
	return 0;
}
