/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /dev/kvm: opened once, its version and capabilities checked, its mistakes
 * told in words. Nothing here knows about guests.
 */
#ifndef MONITOR_KVM_H
#define MONITOR_KVM_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

struct kvm {
	int fd;
	int api;
	size_t run_size; /* bytes of a vCPU's shared run area */
	unsigned vcpus_max;
};

#define KVM_INIT         \
	{                \
		.fd = -1 \
	}

/*
 * path NULL: /dev/kvm. Codes: kvm_missing (no device, or the module is not
 * loaded), kvm_permission, kvm_failed (too old, a capability is missing).
 */
int kvm_open(const char *path, struct kvm *ret, struct err *e);
void kvm_close(struct kvm *kvm);

/* An ioctl with a pointer or value; retries EINTR. >= 0 or -errno. */
int kvm_ioctl(int fd, unsigned long request, void *arg);
int kvm_ioctl_value(int fd, unsigned long request, unsigned long value);

/* The same, with code kvm_failed and the call's name in the message. */
int kvm_try(int fd, unsigned long request, void *arg, const char *what,
	    struct err *e);

#endif
