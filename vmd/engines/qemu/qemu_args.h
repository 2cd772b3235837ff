/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line of a QEMU, from one table of rows. Devices and disks are
 * JSON objects, so that no path or name needs escaping. Sockets, logs and the
 * disk are inherited descriptors; kernel and initrd lie in QEMU's jail, because
 * QEMU opens them by path only.
 */
#ifndef VMD_QEMU_ARGS_H
#define VMD_QEMU_ARGS_H

#include <stdbool.h>

#include "base/buf.h"
#include "vmd/engines/engine.h"

/* Descriptors as QEMU inherits them. */
enum qemu_fd {
	QEMU_FD_QMP = 3, /* listening */
	QEMU_FD_SERIAL = 4, /* listening */
	QEMU_FD_AGENT = 5, /* listening */
	QEMU_FD_NET = 6, /* listens for passt */
	QEMU_FD_QMP_LOG = 7,
	QEMU_FD_CONSOLE_LOG = 8,
	QEMU_FD_DISK = 9,
	QEMU_FD_COUNT
};

enum {
	QEMU_ARGS_MAX = 80
};

struct qemu_args {
	const struct vm_launch *launch;
	const char *program;
	bool kvm; /* the one accelerator: KVM, else TCG */
	const char *argv[QEMU_ARGS_MAX + 1]; /* ends with NULL */
	size_t argc;
	char *owned[QEMU_ARGS_MAX];
	size_t owned_count;
};

/* Fills argv from launch, program and kvm. 0 or a negative errno. */
int qemu_args_build(struct qemu_args *a, struct err *e);
void qemu_args_done(struct qemu_args *a);

/* The whole kernel command line of a VM on QEMU, malloc'd. */
char *qemu_cmdline(const struct vm_launch *launch, bool kvm);

#endif
