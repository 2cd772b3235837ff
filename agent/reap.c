/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signals by signalfd, and the collection of ended children and orphans.
 *
 * What a signal to PID 1 means is what the programs of a guest expect of an init:
 * busybox halt, poweroff and reboot send SIGUSR1, SIGUSR2 and SIGTERM, systemd's
 * send SIGRTMIN+3, +4 and +5, and the kernel delivers Ctrl-Alt-Del (the monitor's
 * power button) as SIGINT.
 */
#include <errno.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/agent.h"

static void blocked(sigset_t *set)
{
	(void)sigemptyset(set);
	(void)sigaddset(set, SIGCHLD);
	(void)sigaddset(set, SIGTERM);
	(void)sigaddset(set, SIGINT);
	(void)sigaddset(set, SIGUSR1);
	(void)sigaddset(set, SIGUSR2);
	for (int sig = SYSTEMD_HALT; sig <= SYSTEMD_REBOOT; sig++)
		(void)sigaddset(set, sig);
}

static bool wants_reboot(uint32_t signo)
{
	return signo == SIGTERM || signo == SYSTEMD_REBOOT;
}

int signals_open(void)
{
	sigset_t set;

	blocked(&set);
	(void)sigprocmask(SIG_BLOCK, &set, NULL);
	(void)signal(SIGPIPE, SIG_IGN);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

void signals_reset(void)
{
	/* What whoever started us may have left ignored: it is inherited. */
	static const int reset[] = { SIGHUP,  SIGINT,  SIGQUIT,
				     SIGPIPE, SIGTERM, SIGCHLD,
				     SIGTSTP, SIGTTIN, SIGTTOU };
	sigset_t none;

	for (size_t i = 0; i < sizeof(reset) / sizeof(reset[0]); i++)
		(void)signal(reset[i], SIG_DFL);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
}

bool reap_children(struct agent *a)
{
	for (;;) {
		siginfo_t info = { 0 };
		int status = 0;
		pid_t pid;

		/* Look first: the pid is a valid group until it is reaped. */
		if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0)
			return errno != ECHILD;
		if (info.si_pid == 0)
			return true;
		command_about_to_reap(a, info.si_pid);
		pid = waitpid(info.si_pid, &status, WNOHANG);
		if (pid <= 0)
			return true;
		if (WIFSIGNALED(status))
			command_exited(a, pid, 0, (uint32_t)WTERMSIG(status));
		else
			command_exited(a, pid, (uint32_t)WEXITSTATUS(status),
				       0);
	}
}

static void on_signal(struct agent *a, void *data, short revents)
{
	struct signalfd_siginfo info;

	(void)data;
	(void)revents;
	while (read(a->signals, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo == SIGCHLD)
			(void)reap_children(a);
		else if (a->role == ROLE_INIT)
			power_begin(a, wants_reboot(info.ssi_signo)
					       ? WIRE_REBOOT
					       : WIRE_POWEROFF);
		else
			a->quit = true;
	}
}

void signals_poll(struct agent *a)
{
	agent_poll_add(a, a->signals, POLLIN, on_signal, NULL);
}
