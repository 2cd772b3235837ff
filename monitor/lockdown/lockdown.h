/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lock-down: after everything is open and before the guest's first instruction
 * the process gives away what it does not need: all capabilities and the right
 * to gain any, every path, and, for each thread by its role, every system call
 * that is not on a short list (lockdown_filter.c).
 */
#ifndef MONITOR_LOCKDOWN_H
#define MONITOR_LOCKDOWN_H

#include "base/err.h"

/* What a thread does. A new kind of thread: a line here, in lockdown.c and a
 * column in lockdown_filter.c. */
enum lockdown_role {
	LOCKDOWN_LOOP, /* events of the host, queues of devices, the end */
	LOCKDOWN_VCPU, /* runs the guest, reads and writes device registers */
	LOCKDOWN_BROKER, /* another process: connects for the guest (broker.h) */
	LOCKDOWN_DISK, /* the file of one drive, its queue and its interrupt */
	LOCKDOWN_RING, /* the same by io_uring, which is restricted to it */
	LOCKDOWN_ROLES
};

/*
 * Gives up capabilities, core dumps, being traced and every path (where the
 * kernel has landlock): of this thread and those that it creates later, so
 * before the first one. Code lockdown_failed.
 */
int lockdown_process(struct err *e);

/*
 * The calling thread's filter, for good; each thread calls it first, the loop
 * thread when all others have. A system call off the list of the role kills the
 * process (SIGSYS). Code lockdown_failed.
 */
int lockdown_enter(enum lockdown_role role, struct err *e);

#endif
