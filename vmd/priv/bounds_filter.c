/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Build-time program: turns the list of forbidden system calls into the filter
 * that bounds.c installs, as C initialisers on stdout (see bounds.c for why it is
 * a list of what is forbidden).
 */
#include <errno.h>
#include <linux/filter.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/filter_print.h"

static const int forbidden[] = {
	/* another kernel, other modules, the end of this one */
	SCMP_SYS(kexec_load),
	SCMP_SYS(kexec_file_load),
	SCMP_SYS(init_module),
	SCMP_SYS(finit_module),
	SCMP_SYS(delete_module),
	SCMP_SYS(create_module),
	SCMP_SYS(query_module),
	SCMP_SYS(get_kernel_syms),
	SCMP_SYS(reboot),
	/* the host's clocks, swap, accounting, quotas */
	SCMP_SYS(settimeofday),
	SCMP_SYS(clock_settime),
	SCMP_SYS(clock_adjtime),
	SCMP_SYS(adjtimex),
	SCMP_SYS(stime),
	SCMP_SYS(swapon),
	SCMP_SYS(swapoff),
	SCMP_SYS(acct),
	SCMP_SYS(quotactl),
	SCMP_SYS(quotactl_fd),
	SCMP_SYS(nfsservctl),
	SCMP_SYS(syslog),
	SCMP_SYS(vhangup),
	/* ports and segments of the processor */
	SCMP_SYS(iopl),
	SCMP_SYS(ioperm),
	SCMP_SYS(modify_ldt),
	/* other processes, programs in the kernel, files without a path */
	SCMP_SYS(ptrace),
	SCMP_SYS(process_vm_readv),
	SCMP_SYS(process_vm_writev),
	SCMP_SYS(kcmp),
	SCMP_SYS(pidfd_getfd),
	SCMP_SYS(bpf),
	SCMP_SYS(perf_event_open),
	SCMP_SYS(lookup_dcookie),
	SCMP_SYS(open_by_handle_at),
	SCMP_SYS(name_to_handle_at),
	/* keys of the host */
	SCMP_SYS(add_key),
	SCMP_SYS(request_key),
	SCMP_SYS(keyctl),
	/* of another time */
	SCMP_SYS(_sysctl),
	SCMP_SYS(uselib),
	SCMP_SYS(ustat),
	SCMP_SYS(sysfs),
};

int main(void)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
	int fd = memfd_create("filter", MFD_CLOEXEC);
	int rc = 0;

	if (!filter || fd < 0)
		return EXIT_FAILURE;
	for (size_t i = 0; rc == 0 && i < ARRAY_LEN(forbidden); i++)
		rc = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM),
				      forbidden[i], 0);
	/* The calls of another architecture would go around the list. */
	if (rc != 0 ||
	    seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH,
			     SCMP_ACT_ERRNO(ENOSYS)) != 0 ||
	    seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2) != 0 ||
	    seccomp_export_bpf(filter, fd) != 0 ||
	    filter_print(fd, BPF_MAXINSNS) != 0)
		return EXIT_FAILURE;
	seccomp_release(filter);
	(void)close(fd);
	return EXIT_SUCCESS;
}
