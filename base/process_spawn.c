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
#include <poll.h>
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
#include "base/jail.h"
#include "base/loop_measure.h"
#include "base/process.h"
#include "base/process_identity.h"

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
	int program_fd; /* -1: by its path */
	const struct jail_plan *plan; /* NULL: no jail */
	int mapped_fd; /* end of file: the parent wrote our user namespace's maps */
	int highest_to;
};

/* What the child says when it could not become the program. The text is a
 * constant: parent and child have it at the same address. */
struct report {
	int error;
	const char *step;
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
	if (c->program_fd >= 0) {
		c->program_fd =
			fcntl(c->program_fd, F_DUPFD_CLOEXEC, FD_ABOVE_ALL);
		if (c->program_fd < 0)
			return -1;
	}
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

/* False with errno; does not return when the parent is dead already. */
static bool child_bound_to_parent(const struct child *c)
{
	struct pollfd told = { .fd = c->report_fd };

	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		return false;
	/* By its end of the pipe: in a pid namespace of its own a parent has no
	 * number. */
	if (poll(&told, 1, 0) > 0 && (told.revents & POLLERR))
		_exit(126); /* it died before the line above */
	return true;
}

static void __attribute__((noreturn)) child_run(struct child *c)
{
	const struct process_spec *spec = c->spec;
	struct report report = { 0, NULL };
	char *const *argv = (char *const *)(uintptr_t)spec->argv;

	child_reset_signals();
	child_reset_oom_score();
	if (spec->new_session && setsid() < 0)
		goto fail;
	if (spec->new_group && !spec->new_session && setpgid(0, 0) < 0)
		goto fail;
	if (spec->cwd && chdir(spec->cwd) < 0)
		goto fail;
	if (spec->identity && !c->plan &&
	    process_become(spec->identity, c->mapped_fd) < 0)
		goto fail;
	/* After the change of user, which clears it. */
	if (spec->die_with_parent && !child_bound_to_parent(c))
		goto fail;
	if (child_place_fds(c) < 0)
		goto fail;
	child_close_rest(c);
	if (c->plan && jail_enter(c->plan, &report.step) != 0)
		goto fail;
	/* It changes the user, too. */
	if (c->plan && spec->die_with_parent && !child_bound_to_parent(c))
		goto fail;
	report.step = NULL;
	if (c->program_fd >= 0)
		(void)execveat(c->program_fd, "", argv, c->envp, AT_EMPTY_PATH);
	else
		(void)execve(c->path, argv, c->envp);
fail:
	report.error = errno;
	(void)file_write_full(c->report_fd, &report, sizeof(report));
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

static pid_t clone_with_pidfd(const struct child *c, int *ret_pidfd)
{
	const struct process_spec *spec = c->spec;
	struct clone_args args = {
		.flags = CLONE_PIDFD | (c->plan ? c->plan->clone_flags : 0),
		.pidfd = (uint64_t)(uintptr_t)ret_pidfd,
		.exit_signal = SIGCHLD
	};

	if (spec->identity && spec->identity->sub_count)
		args.flags |= CLONE_NEWUSER;
	if (spec->cgroup_fd > 0) {
		args.flags |= CLONE_INTO_CGROUP;
		args.cgroup = (unsigned)spec->cgroup_fd;
	}
	return (pid_t)syscall(SYS_clone3, &args, sizeof(args));
}

/* Reads what the child says about its exec: error 0 when it succeeded. */
static struct report read_report(int fd)
{
	struct report report = { 0, NULL };
	ssize_t n;

	do {
		n = read(fd, &report, sizeof(report));
	} while (n < 0 && errno == EINTR);
	if (n != (ssize_t)sizeof(report))
		report.error = 0;
	return report;
}

/* What the jail holds is executed by its path there, the rest by descriptor. */
static int open_program(const struct jail_spec *jail, const char *path)
{
	if (jail->libraries && strncmp(path, "/usr/", 5) == 0)
		return -1;
	return open(path, O_RDONLY | O_CLOEXEC);
}

static int jail_refused(struct err *e, const char *path,
			const struct report *report)
{
	return err_set(e, ERR_UNAVAILABLE, "jail_failed", report->error,
		       "cannot start %s in a jail: %s: %s%s", path,
		       report->step, strerror(report->error),
		       geteuid() == 0
			       ? ""
			       : "; an ordinary user needs user namespaces: "
				 "see \"Isolation\" in vmd(8)");
}

/* The highest number that a descriptor shall have in the child. */
static int highest_fd(const struct process_spec *spec, const char *path,
		      struct err *e)
{
	int highest = 2;

	for (size_t i = 0; i < spec->fd_count; i++) {
		if (spec->fds[i].to < 0 || spec->fds[i].to >= FD_ABOVE_ALL ||
		    i >= SPAWN_FDS_MAX)
			return err_set(e, ERR_INTERNAL, "too_many_files", 0,
				       "cannot pass descriptor %d to %s",
				       spec->fds[i].to, path);
		if (spec->fds[i].to > highest)
			highest = spec->fds[i].to;
	}
	return highest;
}

int process_spawn(const struct process_spec *spec, struct process *ret,
		  struct err *e)
{
	AUTO(free) char *path = resolve(spec->argv[0]);
	int pipe_fds[2] = { -1, -1 }, mapped[2] = { -1, -1 }, pidfd = -1;
	struct child c = { .spec = spec, .program_fd = -1 };
	struct report report = { 0, NULL };
	struct jail_plan plan;
	pid_t pid;

	if (!path)
		return err_set(e, ERR_UNAVAILABLE, "program_missing", ENOENT,
			       "program '%s' was not found in PATH",
			       spec->argv[0]);
	c.highest_to = highest_fd(spec, path, e);
	if (c.highest_to < 0)
		return c.highest_to;
	if (spec->jail) {
		int rc = jail_prepare(spec->jail, &plan, e);

		if (rc < 0)
			return err_wrap(e, rc, "start %s", path);
		c.plan = &plan;
		if (spec->jail->inside_root)
			plan.identity = spec->identity;
	}
	if (pipe2(pipe_fds, O_CLOEXEC) < 0)
		return err_sys(e, errno, "start %s: pipe", path);
	if (pipe2(mapped, O_CLOEXEC) < 0) {
		report.error = errno;
		(void)close(pipe_fds[0]);
		(void)close(pipe_fds[1]);
		return err_sys(e, report.error, "start %s: pipe", path);
	}
	if (spec->jail)
		c.program_fd = open_program(spec->jail, path);
	c.path = path;
	c.mapped_fd = mapped[0];
	plan.mapped_fd = mapped[0];
	c.envp = spec->envp ? (char *const *)(uintptr_t)spec->envp : environ;
	c.report_fd = pipe_fds[1];
	pid = clone_with_pidfd(&c, &pidfd);
	if (pid == 0) {
		/* Its copy would keep it waiting for itself. */
		(void)close(mapped[1]);
		child_run(&c);
	}
	if (pid < 0)
		report = (struct report){ errno, "namespaces" };
	(void)close(pipe_fds[1]);
	/* Without the maps it fails by itself: it has no such user. */
	if (!report.error && spec->identity && spec->identity->sub_count)
		(void)process_map_ids(pid, spec->identity);
	(void)close(mapped[0]);
	(void)close(mapped[1]);
	close_fd(&c.program_fd);
	if (!report.error) {
		struct loop_child_wait wait = loop_child_wait_begin();

		report = read_report(pipe_fds[0]);
		loop_child_wait_end(wait, pid);
		if (report.error) {
			(void)waitpid(pid, NULL, 0);
			(void)close(pidfd);
		}
	}
	(void)close(pipe_fds[0]);
	if (report.error && report.step && spec->jail)
		return jail_refused(e, path, &report);
	if (report.error)
		return err_sys(e, report.error, "start %s", path);
	ret->pid = pid;
	ret->pidfd = pidfd;
	if (process_start_time(pid, &ret->start_time) < 0)
		ret->start_time = 0;
	return 0;
}
