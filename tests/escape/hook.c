/* SPDX-License-Identifier: Apache-2.0 */
/*
 * In the test build of vmd-monitor only: as soon as a thread of the role that
 * the first byte of the target's descriptor names is locked down, it attacks.
 */
#include <stdlib.h>
#include <unistd.h>

#include "attacks.h"
#include "monitor/lockdown/lockdown.h"

void lockdown_hook(enum lockdown_role role);

void lockdown_hook(enum lockdown_role role)
{
	static char wanted;

	/* vCPU threads come first, one by one: the machine has one. */
	if (!wanted &&
	    read(ESCAPE_FD_TARGET, &wanted, 1) != (ssize_t)sizeof(wanted))
		return;
	if ((wanted == 'v') == (role == LOCKDOWN_VCPU))
		attack_run_told();
}
