/* SPDX-License-Identifier: Apache-2.0 */
/* The vm.json that vmd writes for vmd-monitor, and the descriptors in it. */
#ifndef VMD_MICROVM_CONFIG_H
#define VMD_MICROVM_CONFIG_H

#include "base/err.h"
#include "vmd/engines/engine.h"

/* Descriptors as the monitor inherits them. */
enum microvm_fd {
	MICROVM_FD_KERNEL = 3,
	MICROVM_FD_INITRD = 4,
	MICROVM_FD_DISK = 5,
	MICROVM_FD_NET = 6,
	MICROVM_FD_CONFIG = 7,
	MICROVM_FD_KVM = 8,
	MICROVM_FD_CONTROL = 9, /* listening, as the next two */
	MICROVM_FD_SERIAL = 10,
	MICROVM_FD_VSOCK = 11,
	MICROVM_FD_CONSOLE_LOG = 12,
	MICROVM_FD_STATUS = 13,
	MICROVM_FD_END
};

/* Guest CIDs need not differ: each monitor has a vsock of its own. */
enum {
	MICROVM_GUEST_CID = 3
};

/* Writes vm.json into the run directory. */
int microvm_config_write(const struct vm_launch *launch, int dirfd,
			 struct err *e);

/* The whole kernel command line of a VM on the monitor, malloc'd. */
char *microvm_cmdline(const struct vm_launch *launch);

#endif
