/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Does KVM really run guests here? Some hosts offer /dev/kvm and interpret every
 * instruction: fine for tests, useless for Linux. A tiny guest is timed.
 */
#ifndef MONITOR_PROBE_H
#define MONITOR_PROBE_H

#include <stdbool.h>

#include "base/err.h"

struct probe_result {
	bool usable; /* fast enough for Linux */
	double mips; /* millions of guest instructions per second; 0: none ran */
	int api; /* version of the KVM API; 0: no KVM */
};

/* Below this a kernel takes minutes to boot. */
enum {
	PROBE_USABLE_MIPS = 50
};

/* path: as for kvm_open(). 0, or why nothing could be measured. Takes less than half
 * a second. */
int probe_kvm(const char *path, struct probe_result *ret, struct err *e);

/* Prints the result as one JSON object on stdout; returns the exit status. */
int probe_print(const char *path);

#endif
