/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starting a child (see process.h): clone3 gives the pidfd in the same step, a
 * close-on-exec pipe brings back the errno of a failed exec. Between clone and
 * exec the child uses only async-signal-safe calls.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/process.h"

enum {
	FD_ABOVE_ALL = 400,
	SPAWN_FDS_MAX = 64
};

/* Everything the child needs, computed before the clone. */
struct child {
	const struct process_spec *spec;
	const char *path;
	char *const *envp;
	int report_fd;
	pid_t parent;
	int highest_to;
};

static void child_reset_signals(void)
{
	struct sigaction sa = { .sa_handler = SIG_DFL };
	sigset_t none;

	for (int sig = 1; sig < NSIG; sig++)
		(void)sigaction(sig, &sa, NULL);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
}

/*
 * Moves the descriptors in two passes: first all sources above every target, so
 * that no target overwrites a source that is still needed.
 */
static int child_place_fds(struct child *c)
{
	const struct process_spec *spec = c->spec;
	int high[SPAWN_FDS_MAX], null_fd;
	bool std_given[3] = { false, false, false };

	c->report_fd = fcntl(c->report_fd, F_DUPFD_CLOEXEC, FD_ABOVE_ALL);
	if (c->report_fd < 0)
		return -1;
	for (size_t i = 0; i < spec->fd_count; i++) {
		high[i] =
			fcntl(spec->fds[i].from, F_DUPFD_CLOEXEC, FD_ABOVE_ALL);
		if (high[i] < 0)
			return -1;
	}
	null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null_fd < 0)
		return -1;
	for (size_t i = 0; i < spec->fd_count; i++) {
		if (dup2(high[i], spec->fds[i].to) < 0)
			return -1;
		if (spec->fds[i].to < 3)
			std_given[spec->fds[i].to] = true;
	}
	for (int fd = 0; fd < 3; fd++) {
		if (!std_given[fd] && dup2(null_fd, fd) < 0)
			return -1;
		/* dup2 onto itself keeps the close-on-exec flag. */
		if (null_fd == fd && fcntl(fd, F_SETFD, 0) < 0)
			return -1;
	}
	return 0;
}

/* Everything that was not named is closed at exec. */
static void child_close_rest(const struct child *c)
{
	bool keep[FD_ABOVE_ALL] = { true, true, true };

	for (size_t i = 0; i < c->spec->fd_count; i++)
		keep[c->spec->fds[i].to] = true;
	for (int fd = 3; fd <= c->highest_to; fd++) {
		if (!keep[fd])
			(void)fcntl(fd, F_SETFD, FD_CLOEXEC);
	}
	(void)syscall(SYS_close_range, (unsigned)c->highest_to + 1, ~0u,
		      CLOSE_RANGE_CLOEXEC);
}

/* A daemon that the OOM killer should spare (OOMScoreAdjust of its unit) does not
 * make guests and builds more precious than the rest of the host. */
static void child_reset_oom_score(void)
{
	char text[16] = "";
	AUTO(fd) int fd = open("/proc/self/oom_score_adj", O_RDWR | O_CLOEXEC);

	if (fd >= 0 && read(fd, text, sizeof(text) - 1) > 0 && text[0] == '-')
		(void)!write(fd, "0", 1);
}

static void __attribute__((noreturn)) child_run(struct child *c)
{
	const struct process_spec *spec = c->spec;
	int error;

	child_reset_signals();
	child_reset_oom_score();
	if (spec->new_session && setsid() < 0)
		goto fail;
	if (spec->new_group && !spec->new_session && setpgid(0, 0) < 0)
		goto fail;
	if (spec->die_with_parent) {
		if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
			goto fail;
		if (getppid() != c->parent)
			_exit(126); /* it died before the line above */
	}
	if (child_place_fds(c) < 0)
		goto fail;
	if (spec->cwd && chdir(spec->cwd) < 0)
		goto fail;
	child_close_rest(c);
	(void)execve(c->path, (char *const *)(uintptr_t)spec->argv, c->envp);
fail:
	error = errno;
	(void)file_write_full(c->report_fd, &error, sizeof(error));
	_exit(127);
}

static bool is_executable(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISREG(st.st_mode) &&
	       access(path, X_OK) == 0;
}

/* argv[0] to a path: as it is when it has a '/', else the first hit in PATH. */
static char *resolve(const char *name)
{
	const char *path = getenv("PATH");

	if (strchr(name, '/'))
		return strdup(name);
	if (!path)
		path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:"
		       "/sbin:/bin";
	while (*path) {
		size_t len = strcspn(path, ":");
		char *full = NULL;

		if (len && asprintf(&full, "%.*s/%s", (int)len, path, name) < 0)
			return NULL;
		if (full && is_executable(full))
			return full;
		free(full);
		path += len + (path[len] == ':');
	}
	errno = ENOENT;
	return NULL;
}

static char *find_near(const char *dir, const char *relative, const char *name)
{
	char *full = NULL;

	if (asprintf(&full, "%s/%s%s", dir, relative, name) < 0)
		return NULL;
	if (is_executable(full))
		return full;
	free(full);
	return NULL;
}

char *process_find_program(const char *name)
{
	/* Installed: bin and sbin beside libexec. Build tree: one directory per
	 * program under the build root. */
	static const char *const near[] = {
		"",	      "../libexec/vmd/", "../bin/",	"../sbin/",
		"../../bin/", "../../sbin/",	 "../monitor/", "../images/",
		"../agent/",  "../vmd/",	 "../vmctl/",
	};
	char exe[4096];
	ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	char *slash;

	if (n > 0) {
		exe[n] = '\0';
		slash = strrchr(exe, '/');
		if (slash)
			*slash = '\0';
		for (size_t i = 0; i < sizeof(near) / sizeof(near[0]); i++) {
			char *found = find_near(exe, near[i], name);

			if (found)
				return found;
		}
	}
	return resolve(name);
}

static pid_t clone_with_pidfd(const struct process_spec *spec, int *ret_pidfd)
{
	struct clone_args args = { .flags = CLONE_PIDFD,
				   .pidfd = (uint64_t)(uintptr_t)ret_pidfd,
				   .exit_signal = SIGCHLD };

	if (spec->cgroup_fd > 0) {
		args.flags |= CLONE_INTO_CGROUP;
		args.cgroup = (unsigned)spec->cgroup_fd;
	}
	return (pid_t)syscall(SYS_clone3, &args, sizeof(args));
}

/* Reads what the child says about its exec: 0 when it succeeded. */
static int read_report(int fd)
{
	int error = 0;
	ssize_t n;

	do {
		n = read(fd, &error, sizeof(error));
	} while (n < 0 && errno == EINTR);
	return n == (ssize_t)sizeof(error) ? error : 0;
}

int process_spawn(const struct process_spec *spec, struct process *ret,
		  struct err *e)
{
	AUTO(free) char *path = resolve(spec->argv[0]);
	int report[2] = { -1, -1 }, pidfd = -1, error;
	struct child c = { .spec = spec, .parent = getpid() };
	pid_t pid;

	if (!path)
		return err_set(e, ERR_UNAVAILABLE, "program_missing", ENOENT,
			       "program '%s' was not found in PATH",
			       spec->argv[0]);
	c.highest_to = 2;
	for (size_t i = 0; i < spec->fd_count; i++) {
		if (spec->fds[i].to < 0 || spec->fds[i].to >= FD_ABOVE_ALL ||
		    i >= SPAWN_FDS_MAX)
			return err_set(e, ERR_INTERNAL, "too_many_files", 0,
				       "cannot pass descriptor %d to %s",
				       spec->fds[i].to, path);
		if (spec->fds[i].to > c.highest_to)
			c.highest_to = spec->fds[i].to;
	}
	if (pipe2(report, O_CLOEXEC) < 0)
		return err_sys(e, errno, "start %s: pipe", path);
	c.path = path;
	c.envp = spec->envp ? (char *const *)(uintptr_t)spec->envp : environ;
	c.report_fd = report[1];
	pid = clone_with_pidfd(spec, &pidfd);
	if (pid == 0)
		child_run(&c);
	error = pid < 0 ? errno : 0;
	(void)close(report[1]);
	if (!error) {
		error = read_report(report[0]);
		if (error) {
			(void)waitpid(pid, NULL, 0);
			(void)close(pidfd);
		}
	}
	(void)close(report[0]);
	if (error)
		return err_sys(e, error, "start %s", path);
	ret->pid = pid;
	ret->pidfd = pidfd;
	if (process_start_time(pid, &ret->start_time) < 0)
		ret->start_time = 0;
	return 0;
}
