/* SPDX-License-Identifier: Apache-2.0 */
/* See process.h: identity, signals and ends of processes. */
#include "base/process.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"

/* PIDFD_SIGNAL_PROCESS_GROUP, which Debian 12's headers do not have. */
#define PIDFD_GROUP (1u << 2)

int process_start_time(pid_t pid, uint64_t *ret_ticks)
{
	char path[32], text[1024], *at;
	AUTO(fd) int fd = -1;
	ssize_t n;

	(void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -ESRCH;
	n = read(fd, text, sizeof(text) - 1);
	if (n <= 0)
		return -ESRCH;
	text[n] = '\0';
	/* The name in parentheses may hold anything: fields start after the last
	 * ')'. The state is field 3, the start time field 22. */
	at = strrchr(text, ')');
	for (int field = 2; at && field < 22; field++)
		at = strchr(at + 1, ' ');
	if (!at)
		return -ESRCH;
	*ret_ticks = strtoull(at + 1, NULL, 10);
	return 0;
}

uid_t process_uid(pid_t pid)
{
	AUTO(file) FILE *f = NULL;
	char path[48], line[256];
	unsigned uid;

	/* Not the owner of the directory: that is root's for who may not be
	 * looked into. */
	(void)snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "Uid: %u", &uid) == 1)
			return (uid_t)uid;
	return (uid_t)-1;
}

uint64_t process_resident_bytes(pid_t pid)
{
	AUTO(file) FILE *f = NULL;
	unsigned long long size, resident;
	char path[48];

	(void)snprintf(path, sizeof(path), "/proc/%d/statm", (int)pid);
	f = fopen(path, "re");
	if (!f || fscanf(f, "%llu %llu", &size, &resident) != 2)
		return 0;
	return (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

void process_close(struct process *p)
{
	close_fd(&p->pidfd);
}

int process_adopt(pid_t pid, uint64_t start_time, struct process *ret,
		  struct err *e)
{
	AUTO(fd) int pidfd = -1;
	uint64_t now_start = 0;

	if (pid <= 0)
		return err_set(e, ERR_NOT_FOUND, "process_gone", ESRCH,
			       "no process id");
	pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	/* The pidfd comes first: what it names cannot change any more. */
	if (pidfd < 0 || process_start_time(pid, &now_start) < 0 ||
	    now_start != start_time)
		return err_set(e, ERR_NOT_FOUND, "process_gone", ESRCH,
			       "process %d has ended", (int)pid);
	/* A zombie has ended too. */
	struct pollfd pfd = { .fd = pidfd, .events = POLLIN };

	if (poll(&pfd, 1, 0) > 0)
		return err_set(e, ERR_NOT_FOUND, "process_gone", ESRCH,
			       "process %d has ended", (int)pid);
	ret->pid = pid;
	ret->start_time = start_time;
	ret->pidfd = take_fd(&pidfd);
	return 0;
}

int process_signal(const struct process *p, int sig)
{
	if (p->pidfd < 0)
		return -ESRCH;
	if (syscall(SYS_pidfd_send_signal, p->pidfd, sig, NULL, 0) < 0)
		return -errno;
	return 0;
}

int process_signal_group(const struct process *p, int sig)
{
	uint64_t now_start = 0;

	if (p->pidfd < 0)
		return -ESRCH;
	if (syscall(SYS_pidfd_send_signal, p->pidfd, sig, NULL, PIDFD_GROUP) ==
	    0)
		return 0;
	/* Before Linux 6.9 groups have no pidfd: as long as the leader is unreaped its number
	 * cannot be taken by another, which the start time shows. */
	if (p->pid <= 1 || process_start_time(p->pid, &now_start) < 0 ||
	    now_start != p->start_time)
		return -ESRCH;
	if (kill(-p->pid, sig) < 0)
		return errno == ESRCH ? process_signal(p, sig) : -errno;
	return 0;
}

bool process_reap(struct process *p, struct process_exit *ret)
{
	siginfo_t info = { .si_pid = 0 };

	*ret = (struct process_exit){ .known = false };
	if (p->pidfd < 0)
		return true;
	if (waitid(P_PIDFD, (id_t)p->pidfd, &info, WEXITED | WNOHANG) == 0) {
		if (!info.si_pid)
			return false;
		ret->known = true;
		if (info.si_code == CLD_EXITED)
			ret->status = info.si_status;
		else
			ret->signal = info.si_status;
		return true;
	}
	/* Not our child (adopted): the pidfd is readable when it has ended. */
	struct pollfd pfd = { .fd = p->pidfd, .events = POLLIN };

	return poll(&pfd, 1, 0) > 0;
}

const char *process_exit_text(const struct process_exit *exit,
			      char buf[static 128])
{
	const char *name, *meaning;

	if (!exit || !exit->known) {
		/* Only the parent is told; that was an earlier daemon. */
		(void)snprintf(buf, 128,
			       "ended (how is unknown: it was not our child)");
	} else if (!exit->signal) {
		(void)snprintf(buf, 128, "exited with status %d", exit->status);
	} else {
		name = sigabbrev_np(exit->signal);
		meaning = sigdescr_np(exit->signal);
		if (exit->signal == SIGSYS)
			meaning = "a system call that its filter forbids";
		else if (exit->signal == SIGKILL)
			meaning = "by somebody on this host, or by its kernel "
				  "for want of memory";
		(void)snprintf(buf, 128, "was killed by signal %d (SIG%s: %s)",
			       exit->signal, name ? name : "?",
			       meaning ? meaning : "?");
	}
	return buf;
}

int process_wait(struct process *p, uint64_t timeout_ms,
		 struct process_exit *ret)
{
	uint64_t deadline = clock_mono_ms() + timeout_ms;

	for (;;) {
		struct pollfd pfd = { .fd = p->pidfd, .events = POLLIN };
		uint64_t now = clock_mono_ms();

		if (process_reap(p, ret))
			return 0;
		if (now >= deadline)
			return -ETIMEDOUT;
		(void)poll(&pfd, 1, (int)(deadline - now));
	}
}
