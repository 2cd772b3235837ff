/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Child processes: started with exactly the descriptors that were named,
 * watched by pidfd, identified across restarts of the parent by pid *and* start
 * time (a pid alone can be reused).
 */
#ifndef BASE_PROCESS_H
#define BASE_PROCESS_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

/* In the child, descriptor `from` of the parent becomes `to`. */
struct process_fd {
	int from;
	int to;
};

struct jail_spec;

/*
 * Whom a child of root becomes before its exec: no groups but these, no
 * capabilities, an empty bounding set, no_new_privs.
 */
struct process_identity {
	uid_t uid;
	gid_t gid;
	gid_t groups[2];
	size_t group_count;
	/* When not 0: root of a new user namespace instead, in which 0 is uid and
	 * gid, and 1 to sub_count are the host's from sub_first on. */
	uint32_t sub_first, sub_count;
};

struct process_spec {
	const char *const *argv; /* argv[0] is looked up in PATH when no '/' */
	const char *const *envp; /* NULL: the parent's environment */
	const struct process_fd *fds; /* 0, 1, 2 default to /dev/null */
	size_t fd_count;
	const char *cwd; /* NULL: unchanged */
	const struct process_identity
		*identity; /* NULL: the parent's, or the jail's; with a jail:
			    * the ids of its user namespace (inside_root) */
	bool new_session; /* setsid(): signals of our terminal do not reach it */
	bool new_group; /* own process group, so that a tree can be ended */
	bool die_with_parent; /* PR_SET_PDEATHSIG SIGKILL */
	int cgroup_fd; /* CLONE_INTO_CGROUP when > 0 */
	/* NULL: none. cwd is then "/" of the jail; a program outside of what the
	 * jail holds is executed by descriptor. */
	const struct jail_spec *jail;
};

struct process {
	pid_t pid;
	int pidfd; /* owned; close-on-exec; pollable for exit */
	uint64_t start_time; /* field 22 of /proc/PID/stat, clock ticks */
};

#define PROCESS_INIT                                   \
	{                                              \
		.pid = 0, .pidfd = -1, .start_time = 0 \
	}

/*
 * Starts a program. Only the named descriptors stay open in it; signal mask and
 * dispositions are reset. A failed exec is an error here, with the child reaped.
 */
int process_spawn(const struct process_spec *spec, struct process *ret,
		  struct err *e);

/* Closes the pidfd; does not end the process. */
void process_close(struct process *p);

/*
 * Opens a pidfd for a process known from an earlier life: -ESRCH when it is
 * gone or when the pid now belongs to somebody else.
 */
int process_adopt(pid_t pid, uint64_t start_time, struct process *ret,
		  struct err *e);

/* 0 and the start time, or -ESRCH. */
int process_start_time(pid_t pid, uint64_t *ret_ticks);

/* The real user of a process; (uid_t)-1 when it has gone. */
uid_t process_uid(pid_t pid);

/* Resident memory of a process in bytes; 0 when it has gone. */
uint64_t process_resident_bytes(pid_t pid);

/*
 * Ends every process that has the text `mark` near the beginning of its
 * environment, by pidfd; group: only in that process group, 0: in any. Reads all
 * of /proc: not for a loop. Returns how many were ended.
 */
unsigned process_end_marked(const char *mark, pid_t group);

/* Signal by pidfd, never by number. 0, -ESRCH when it has ended. */
int process_signal(const struct process *p, int sig);
/* The whole group of a process spawned with new_group or new_session. */
int process_signal_group(const struct process *p, int sig);

struct process_exit {
	bool known; /* false for an adopted process: not our child */
	int status; /* exit status, valid when known && signal == 0 */
	int signal; /* the signal that ended it, or 0 */
};

/* How it ended, to follow its name in a sentence ("was killed by signal 11
 * (SIGSEGV: Segmentation fault)"); exit NULL or not known says so. Returns buf. */
const char *process_exit_text(const struct process_exit *exit,
			      char buf[static 128]);

/* true when it has ended (reaped if it is our child); never blocks. */
bool process_reap(struct process *p, struct process_exit *ret);

/* Waits at most timeout_ms for the end: 0 or -ETIMEDOUT. For tools and tests. */
int process_wait(struct process *p, uint64_t timeout_ms,
		 struct process_exit *ret);

/* Finds a program: beside our own executable first, then PATH. malloc'd, NULL. */
char *process_find_program(const char *name);

#endif
