/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening KVM. Source: Documentation/virt/kvm/api.rst of Linux, API version 12.
 */
#include "monitor/kvm.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "monitor/config/config.h"

int kvm_ioctl(int fd, unsigned long request, void *arg)
{
	int rc;

	do {
		rc = ioctl(fd, request, arg);
	} while (rc < 0 && errno == EINTR);
	return rc < 0 ? -errno : rc;
}

int kvm_ioctl_value(int fd, unsigned long request, unsigned long value)
{
	int rc;

	do {
		rc = ioctl(fd, request, value);
	} while (rc < 0 && errno == EINTR);
	return rc < 0 ? -errno : rc;
}

int kvm_try(int fd, unsigned long request, void *arg, const char *what,
	    struct err *e)
{
	int rc = kvm_ioctl(fd, request, arg);

	if (rc < 0)
		return err_set(e, rc == -ENOMEM ? ERR_LIMIT : ERR_INTERNAL,
			       rc == -ENOMEM ? "no_memory" : "kvm_failed", -rc,
			       "KVM refused %s: %s", what, strerror(-rc));
	return rc;
}

/* What this monitor cannot do without, all in Linux since 4.13. */
static const struct {
	int cap;
	const char *name;
} needed[] = {
	{ KVM_CAP_SPLIT_IRQCHIP, "KVM_CAP_SPLIT_IRQCHIP" },
	{ KVM_CAP_SIGNAL_MSI, "KVM_CAP_SIGNAL_MSI" },
	{ KVM_CAP_TSC_DEADLINE_TIMER, "KVM_CAP_TSC_DEADLINE_TIMER" },
	{ KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY" },
	{ KVM_CAP_EXT_CPUID, "KVM_CAP_EXT_CPUID" },
	{ KVM_CAP_MP_STATE, "KVM_CAP_MP_STATE" },
	{ KVM_CAP_IOEVENTFD, "KVM_CAP_IOEVENTFD" },
	{ KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT" },
};

static int open_error(const char *path, int sys, const char *why, struct err *e)
{
	if (sys == EACCES || sys == EPERM)
		return err_set(e, ERR_PERMISSION, "kvm_permission", sys,
			       "may not open %s: add this user to the group "
			       "that owns it (usually kvm) and log in again",
			       path);
	if (sys == ENOENT || sys == ENXIO || sys == ENODEV)
		return err_set(e, ERR_UNAVAILABLE, "kvm_missing", sys,
			       "%s is not there: switch virtualisation on in "
			       "the firmware and load kvm-intel or kvm-amd",
			       path);
	return err_set(e, ERR_UNAVAILABLE, "kvm_failed", sys,
		       "cannot open %s: %s", path, why);
}

int kvm_open(const char *path, struct kvm *ret, struct err *e)
{
	struct kvm kvm = KVM_INIT;
	AUTO(fd) int fd = -1;
	const char *why;
	int rc;

	if (!path)
		path = "/dev/kvm";
	fd = config_open(path, O_RDWR, FILE_CHAR, &why);
	if (fd < 0)
		return open_error(path, -fd, why, e);
	kvm.api = kvm_ioctl_value(fd, KVM_GET_API_VERSION, 0);
	if (kvm.api != KVM_API_VERSION)
		return err_set(e, ERR_UNAVAILABLE, "kvm_missing", 0,
			       "%s does not speak KVM API version %d", path,
			       KVM_API_VERSION);
	for (size_t i = 0; i < ARRAY_LEN(needed); i++) {
		rc = kvm_ioctl_value(fd, KVM_CHECK_EXTENSION,
				     (unsigned long)needed[i].cap);
		if (rc <= 0)
			return err_set(e, ERR_UNSUPPORTED, "kvm_failed", 0,
				       "the KVM of this host lacks %s",
				       needed[i].name);
	}
	rc = kvm_ioctl_value(fd, KVM_CHECK_EXTENSION, KVM_CAP_MAX_VCPUS);
	kvm.vcpus_max = rc > 0 ? (unsigned)rc : 4;
	rc = kvm_ioctl_value(fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (rc < (int)sizeof(struct kvm_run))
		return err_set(e, ERR_INTERNAL, "kvm_failed", 0,
			       "KVM's run area of %d bytes is too small", rc);
	kvm.run_size = (size_t)rc;
	kvm.fd = take_fd(&fd);
	*ret = kvm;
	return 0;
}

void kvm_close(struct kvm *kvm)
{
	close_fd(&kvm->fd);
}
