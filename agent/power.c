/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The end of the machine. As PID 1: SIGTERM to all, up to two seconds for
 * them, SIGKILL, sync, root read-only, reboot(2). The loop goes on meanwhile,
 * so that the host gets our answer and children are reaped. As a service, PID 1
 * is asked to do its own.
 */
#include <errno.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <unistd.h>

#include "agent/agent.h"

enum {
	TERM_WAIT_MS = 2000
};

void power_begin(struct agent *a, enum wire_shutdown how)
{
	if (a->power_wanted)
		return;
	a->power_wanted = true;
	a->power_how = how;
	switch (a->role) {
	case ROLE_INIT:
		say("%s", how == WIRE_REBOOT ? "rebooting" : "powering off");
		(void)kill(-1, SIGTERM);
		(void)kill(-1, SIGCONT);
		a->power_at_ms = now_ms() + TERM_WAIT_MS;
		break;
	case ROLE_SERVICE:
		if (kill(1, how == WIRE_REBOOT ? SYSTEMD_REBOOT
					       : SYSTEMD_POWEROFF) < 0)
			say("cannot ask PID 1: %s", strerror(errno));
		/* Another request may follow when this one had no effect. */
		a->power_wanted = false;
		break;
	case ROLE_PLAIN:
	default:
		a->quit = true;
		break;
	}
}

void power_now(enum wire_shutdown how)
{
	sync();
	(void)mount(NULL, "/", NULL, MS_REMOUNT | MS_RDONLY, NULL);
	(void)reboot(how == WIRE_REBOOT ? (int)RB_AUTOBOOT : (int)RB_POWER_OFF);
	say("cannot end the machine: %s", strerror(errno));
	(void)reboot((int)RB_HALT_SYSTEM);
	for (;;)
		(void)pause();
}

void power_step(struct agent *a)
{
	if (!a->power_at_ms)
		return;
	if (reap_children(a) && now_ms() < a->power_at_ms)
		return;
	channel_flush(a);
	(void)kill(-1, SIGKILL);
	(void)reap_children(a);
	power_now(a->power_how);
}
