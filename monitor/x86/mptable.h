/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The MultiProcessor table, for kernels without ACPI. Source: Intel
 * MultiProcessor Specification 1.4, chapter 4.
 */
#ifndef MONITOR_MPTABLE_H
#define MONITOR_MPTABLE_H

#include "base/err.h"
#include "virtio/guest_mem.h"

/* Writes floating pointer and table at GPA_MPTABLE. */
int mptable_write(const struct guest_mem *mem, unsigned vcpu_count,
		  struct err *e);

#endif
