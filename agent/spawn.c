/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starting a command: a child, descriptors, terminal, user, directory, exec.
 *
 * The child has our memory and a stack of its own, and we stand still until it
 * has become the program or has ended, as with posix_spawn(): no page tables are
 * copied, no page is copied on its first write, and what failed and why is simply
 * left in struct launch. So the child calls nothing that changes our memory
 * beyond that and errno.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sanitizer/asan_interface.h>

#include "agent/agent.h"

#define DEFAULT_PATH \
	"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

enum {
	DEFAULT_ENVS = 8,
	CHILD_STACK = 65536, /* a path of 4 KiB, snprintf, and room */
	OUTPUT_PIPE = 262144, /* a command that talks a lot is woken less */
};

enum step {
	STEP_SETUP,
	STEP_USER,
	STEP_CWD,
	STEP_EXEC
};

struct step_failure {
	enum step step;
	int sys;
};

/* Everything the child needs, made before there is one. */
struct launch {
	char **argv, **envp; /* one block, argv's */
	const char *cwd, *path;
	struct user user;
	bool tty, set_user;
	char defaults[DEFAULT_ENVS][320];
	int in, out, err; /* ours to close afterwards; the child's 0, 1, 2 */
	bool failed; /* set by the child, with why */
	struct step_failure why;
};

/* The strings in place, each ended over what follows it on the wire. */
static char **fill_list(char **at, struct wire_list list)
{
	struct wire_str s;
	char *end = NULL;

	while (wire_list_next(&list, &s)) {
		/* Only now: the length of this one began there. */
		if (end)
			*end = 0;
		*at = (char *)(uintptr_t)s.ptr;
		end = *at++ + s.len;
	}
	if (end)
		*end = 0;
	return at;
}

static bool env_has(const struct wire_exec *req, const char *assignment)
{
	size_t name = (size_t)(strchr(assignment, '=') - assignment) + 1;
	struct wire_list list = req->envp;
	struct wire_str s;

	while (wire_list_next(&list, &s))
		if (s.len >= name && memcmp(s.ptr, assignment, name) == 0)
			return true;
	return false;
}

static void fill_environment(struct launch *l, const struct wire_exec *req)
{
	char **at = l->envp;
	size_t d = 0;
	const size_t size = sizeof(l->defaults[0]);

	(void)snprintf(l->defaults[d++], size, "PATH=" DEFAULT_PATH);
	(void)snprintf(l->defaults[d++], size, "HOME=%s", l->user.home);
	(void)snprintf(l->defaults[d++], size, "USER=%s", l->user.name);
	(void)snprintf(l->defaults[d++], size, "LOGNAME=%s", l->user.name);
	(void)snprintf(l->defaults[d++], size, "SHELL=%s", l->user.shell);
	if (l->tty)
		(void)snprintf(l->defaults[d++], size, "TERM=xterm-256color");
	for (size_t i = 0; i < d; i++)
		if (!env_has(req, l->defaults[i]))
			*at++ = l->defaults[i];
	at = fill_list(at, req->envp);
	*at = NULL;
	l->path = DEFAULT_PATH;
	for (at = l->envp; *at; at++)
		if (strncmp(*at, "PATH=", 5) == 0)
			l->path = *at + 5;
}

static bool prepare(struct launch *l, const struct wire_exec *req,
		    struct failure *f)
{
	char user[128];

	if (req->user.len >= sizeof(user)) {
		failure_set(f, 0, WIRE_CODE_NO_USER, "user name too long");
		return false;
	}
	memcpy(user, req->user.ptr, req->user.len);
	user[req->user.len] = 0;
	if (!user_find(user, &l->user)) {
		failure_set(f, 0, WIRE_CODE_NO_USER,
			    "the guest has no user \"%.64s\"", user);
		return false;
	}
	/* Without a wish a service started by an ordinary user stays that. */
	l->set_user = user[0] != 0 || geteuid() == 0;
	l->argv = calloc((size_t)req->argv.count + 1 + req->envp.count +
				 DEFAULT_ENVS + 1,
			 sizeof(*l->argv));
	if (!l->argv) {
		failure_set(f, ENOMEM, WIRE_CODE_IO, "cannot start a command");
		return false;
	}
	l->envp = l->argv + req->argv.count + 1;
	l->tty = req->flags & WIRE_EXEC_TTY;
	l->cwd = "/";
	if (req->cwd.len) {
		l->cwd = req->cwd.ptr;
		*((char *)(uintptr_t)req->cwd.ptr + req->cwd.len) = 0;
	}
	(void)fill_list(l->argv, req->argv);
	fill_environment(l, req);
	return true;
}

/* Tries the directories of PATH; returns the errno that says most. */
static int exec_search(const struct launch *l)
{
	const char *name = l->argv[0], *dir = l->path;
	char path[4096];
	int best = ENOENT;

	if (strchr(name, '/')) {
		(void)execve(name, l->argv, l->envp);
		return errno;
	}
	while (*dir) {
		size_t len = strcspn(dir, ":");
		int n = snprintf(path, sizeof(path), "%.*s/%s", (int)len,
				 len ? dir : ".", name);

		errno = ENOENT;
		if (n > 0 && (size_t)n < sizeof(path))
			(void)execve(path, l->argv, l->envp);
		if (errno != ENOENT && errno != ENOTDIR)
			best = errno;
		dir += len + (dir[len] == ':');
	}
	return best;
}

/* The system calls themselves: the C library's functions of these names are for
 * all threads of a process and take locks in our memory. */
static int become_user(const struct user *u)
{
	if (syscall(SYS_setgroups, u->group_count, u->groups) < 0 ||
	    syscall(SYS_setgid, u->gid) < 0 || syscall(SYS_setuid, u->uid) < 0)
		return errno;
	return 0;
}

/* Descriptors 0, 1, 2 from any three that may overlap with them. */
static int install_stdio(const struct launch *l)
{
	int high[3] = { fcntl(l->in, F_DUPFD_CLOEXEC, 3),
			fcntl(l->out, F_DUPFD_CLOEXEC, 3),
			fcntl(l->err, F_DUPFD_CLOEXEC, 3) };

	for (int i = 0; i < 3; i++)
		if (high[i] < 0 || dup2(high[i], i) < 0)
			return errno;
	return 0;
}

static void report(struct launch *l, enum step step, int sys)
{
	l->why = (struct step_failure){ step, sys };
	l->failed = true;
	_exit(127);
}

static int child(void *data)
{
	struct launch *l = data;
	int sys;

	signals_reset();
	if (setsid() < 0 || (l->tty && ioctl(l->in, TIOCSCTTY, 0) < 0))
		report(l, STEP_SETUP, errno);
	sys = install_stdio(l);
	if (sys)
		report(l, STEP_SETUP, sys);
	if (l->set_user) {
		/* The terminal belongs to whom it serves. */
		if (l->tty)
			(void)!fchown(0, l->user.uid, (gid_t)-1);
		sys = become_user(&l->user);
		if (sys)
			report(l, STEP_USER, sys);
	}
	if (chdir(l->cwd) < 0)
		report(l, STEP_CWD, errno);
	(void)umask(022);
	report(l, STEP_EXEC, exec_search(l));
	return 0; /* not reached */
}

static bool open_terminal(struct launch *l, const struct wire_exec *req,
			  struct command *c, struct failure *f)
{
	struct winsize size = { .ws_row = req->rows ? req->rows : 24,
				.ws_col = req->columns ? req->columns : 80 };
	int unlock = 0;
	int master =
		open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
	int slave = -1;

	if (master >= 0 && ioctl(master, TIOCSPTLCK, &unlock) == 0)
		slave = ioctl(master, TIOCGPTPEER,
			      O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (slave < 0) {
		failure_set(f, errno, WIRE_CODE_IO, "cannot open a terminal");
		if (master >= 0)
			(void)close(master);
		return false;
	}
	(void)ioctl(master, TIOCSWINSZ, &size);
	c->tty = true;
	c->out = master;
	c->in = req->flags & WIRE_EXEC_STDIN ? master : -1;
	c->slave = slave;
	l->in = l->out = l->err = slave;
	return true;
}

static void close_if(int fd)
{
	if (fd >= 0)
		(void)close(fd);
}

/* One pipe; our end (index `ours`) does not block. */
static bool open_pipe(int *ret_ours, int *ret_child, int ours)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) < 0)
		return false;
	(void)fcntl(fds[ours], F_SETFL, O_NONBLOCK);
	if (ours == 0) /* refused to an ordinary user: the default does */
		(void)fcntl(fds[0], F_SETPIPE_SZ, OUTPUT_PIPE);
	*ret_ours = fds[ours];
	*ret_child = fds[1 - ours];
	return true;
}

/*
 * A device of the guest, which may have put anything in its place: a FIFO would
 * hold us for good. -1 and errno (ENODEV: neither device nor file).
 */
static int open_device(const char *path, int flags)
{
	int fd = open(path, flags | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	struct stat st;

	if (fd < 0)
		return -1;
	if (fstat(fd, &st) == 0 &&
	    (S_ISCHR(st.st_mode) || S_ISREG(st.st_mode))) {
		(void)fcntl(fd, F_SETFL, flags);
		return fd;
	}
	(void)close(fd);
	errno = ENODEV;
	return -1;
}

/* Without a /dev/null a pipe that nobody writes into is as empty. */
static bool open_no_input(int *ret)
{
	int fds[2];

	*ret = open_device("/dev/null", O_RDONLY);
	if (*ret >= 0)
		return true;
	if (pipe2(fds, O_CLOEXEC) < 0)
		return false;
	(void)close(fds[1]);
	*ret = fds[0];
	return true;
}

static bool open_console_output(struct agent *a, struct launch *l,
				struct failure *f)
{
	l->out = open_device(a->console, O_WRONLY);
	if (l->out < 0)
		l->out = open_device("/dev/null", O_WRONLY);
	if (l->out >= 0)
		l->err = fcntl(l->out, F_DUPFD_CLOEXEC, 3);
	if (l->err >= 0)
		return true;
	failure_set(f, errno, WIRE_CODE_IO,
		    "no output for a detached command: the guest's %.64s and "
		    "/dev/null cannot be opened",
		    a->console);
	return false;
}

static bool open_stdio(struct agent *a, struct launch *l,
		       const struct wire_exec *req, struct command *c,
		       struct failure *f)
{
	bool ok;

	if (req->flags & WIRE_EXEC_TTY)
		return open_terminal(l, req, c, f);
	ok = req->flags & WIRE_EXEC_STDIN ? open_pipe(&c->in, &l->in, 1)
					  : open_no_input(&l->in);
	if (ok && req->flags & WIRE_EXEC_DETACHED)
		return open_console_output(a, l, f);
	if (ok && open_pipe(&c->out, &l->out, 0) &&
	    open_pipe(&c->err, &l->err, 0))
		return true;
	failure_set(f, errno, WIRE_CODE_IO, "cannot make pipes for a command");
	return false;
}

static void explain(const struct launch *l, const struct step_failure *why,
		    struct failure *f)
{
	bool missing = why->sys == ENOENT || why->sys == ENOTDIR;

	switch (why->step) {
	case STEP_USER:
		failure_set(f, why->sys, WIRE_CODE_NO_USER,
			    "cannot become user %.64s", l->user.name);
		break;
	case STEP_CWD:
		failure_set(f, why->sys, WIRE_CODE_IO,
			    "cannot change to directory %.80s", l->cwd);
		break;
	case STEP_EXEC:
		failure_set(f, why->sys,
			    missing ? WIRE_CODE_NOT_FOUND : WIRE_CODE_NOT_EXEC,
			    "cannot run %.80s", l->argv[0]);
		break;
	case STEP_SETUP:
	default:
		failure_set(f, why->sys, WIRE_CODE_IO,
			    "cannot prepare the command");
		break;
	}
}

/* A child, and the exec or its failure. */
static bool start_child(struct launch *l, struct command *c, struct failure *f)
{
	/* One at a time, and it is free again when clone() returns. */
	static _Alignas(16) uint8_t stack[CHILD_STACK];

	/* The frames of the last child never returned: AddressSanitizer would
	 * take what they left for theirs still. */
	ASAN_UNPOISON_MEMORY_REGION(stack, sizeof(stack));
	c->pid = clone(child, stack + sizeof(stack),
		       CLONE_VM | CLONE_VFORK | SIGCHLD, l);
	if (c->pid < 0) {
		failure_set(f, errno, WIRE_CODE_IO, "cannot fork");
		return false;
	}
	if (!l->failed)
		return true;
	(void)waitpid(c->pid, NULL, 0);
	explain(l, &l->why, f);
	return false;
}

bool spawn_command(struct agent *a, const struct wire_exec *req,
		   struct command *c, struct failure *f)
{
	static struct launch l;
	bool ok = false;

	memset(&l, 0, sizeof(l));
	l.in = l.out = l.err = -1;
	if (prepare(&l, req, f))
		ok = open_stdio(a, &l, req, c, f) && start_child(&l, c, f);
	if (!c->tty) {
		close_if(l.in);
		close_if(l.out);
		close_if(l.err);
	}
	free(l.argv);
	if (!ok) {
		close_if(c->slave);
		if (!c->tty)
			close_if(c->in);
		close_if(c->out);
		close_if(c->err);
	}
	return ok;
}
