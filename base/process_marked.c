/* SPDX-License-Identifier: Apache-2.0 */
/* Finding processes by a mark in their environment; see process.h. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "base/process.h"

enum {
	ENVIRON_BYTES = 16384 /* the mark is put first */
};

static bool is_marked(int proc_fd, const char *pid, const char *mark)
{
	char path[64], env[ENVIRON_BYTES];
	AUTO(fd) int fd = -1;
	ssize_t len;

	(void)snprintf(path, sizeof(path), "%.20s/environ", pid);
	fd = openat(proc_fd, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	len = read(fd, env, sizeof(env));
	return len > 0 && memmem(env, (size_t)len, mark, strlen(mark)) != NULL;
}

unsigned process_end_marked(const char *mark, pid_t group)
{
	DIR *proc = opendir("/proc");
	struct dirent *entry;
	unsigned ended = 0;

	while (proc && (entry = readdir(proc))) {
		AUTO(fd) int pidfd = -1;
		uint64_t pid;

		if (parse_u64(entry->d_name, 2, INT32_MAX, "pid", &pid, NULL) <
			    0 ||
		    (pid_t)pid == getpid() ||
		    (group && getpgid((pid_t)pid) != group))
			continue;
		/* First the descriptor, then the look: what has the mark is what
		 * is ended. */
		pidfd = (int)syscall(SYS_pidfd_open, (pid_t)pid, 0);
		if (pidfd >= 0 && is_marked(dirfd(proc), entry->d_name, mark) &&
		    syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0) ==
			    0)
			ended++;
	}
	if (proc)
		(void)closedir(proc);
	return ended;
}
