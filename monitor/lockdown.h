/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lock-down: after everything is open and before the guest's first instruction
 * the process gives away what it does not need: all capabilities, the right to
 * gain any, and every system call that is not on a short list.
 */
#ifndef MONITOR_LOCKDOWN_H
#define MONITOR_LOCKDOWN_H

#include "base/err.h"

/*
 * Gives up all capabilities, of this thread and of those that it creates later:
 * before the first one. Code lockdown_failed.
 */
int lockdown_drop_privilege(struct err *e);

/*
 * All threads must exist. A system call off the list kills the process (SIGSYS).
 * Code lockdown_failed.
 */
int lockdown_enter(struct err *e);

#endif
