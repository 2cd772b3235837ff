/* SPDX-License-Identifier: Apache-2.0 */
/* What the processes of a VM may use of the host, all together: its cgroup. */
#ifndef VMD_PRIV_LIMITS_H
#define VMD_PRIV_LIMITS_H

#include "base/cgroup.h"
#include "vmd/engines/engine.h"
#include "vmd/priv/proto.h"

/* For a VM that role (MONITOR or QEMU) starts; kvm: QEMU does not emulate. */
void limits_of(const struct vm_launch *launch, enum priv_role role, bool kvm,
	       struct cgroup_limits *ret);

#endif
