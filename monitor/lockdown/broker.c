/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See broker.h. One question and one answer at a time, fixed-width, on a
 * SOCK_SEQPACKET pair: a port, and how its connect went with the socket. What is
 * no question ends the child; what is no answer, or none in time, the pair.
 *
 * The child has that pair as its descriptor 0 and no other, its working directory
 * is where the sockets lie, and after lock-down (role LOCKDOWN_BROKER) it can
 * receive, connect and send.
 */
#include "monitor/lockdown/broker.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/sock.h"
#include "monitor/lockdown/lockdown.h"

enum {
	ANSWER_MS = 200,
	START_MS = 5000,
	PORT_DIGITS = 10,
	FILES = 8
};

struct question {
	uint32_t port;
};

struct answer {
	uint32_t port; /* the question's */
	int32_t rc; /* 0 and a descriptor, or -errno */
};

static int connect_port(const char *name, uint32_t port, int *ret_fd)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	AUTO(fd)
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -errno;
	(void)snprintf(addr.sun_path, sizeof(addr.sun_path), "%s_%u", name,
		       (unsigned)port);
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		return -errno;
	*ret_fd = take_fd(&fd);
	return 0;
}

static void serve(const char *name)
{
	for (;;) {
		struct question q;
		/* One byte more, to see what is too long. */
		char raw[sizeof(q) + 1];
		ssize_t n = recv(0, raw, sizeof(raw), 0);
		AUTO(fd) int fd = -1;
		struct answer a;

		if (n < 0 && errno == EINTR)
			continue;
		if (n != (ssize_t)sizeof(q))
			return;
		memcpy(&q, raw, sizeof(q));
		a = (struct answer){ q.port, connect_port(name, q.port, &fd) };
		if (sock_send_fds(0, &a, sizeof(a), &fd, fd >= 0) < 0)
			return;
	}
}

/* What can fail is told by the first answer. */
static void __attribute__((noreturn))
child_run(int fd, const char *dir, const char *name)
{
	const struct rlimit files = { FILES, FILES };
	struct err e = ERR_INIT;
	struct answer a = { .rc = 0 };

	/* Beside the end of the pair, which says the same. */
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	(void)prctl(PR_SET_NAME, "vmd-broker", 0, 0, 0);
	if (dup2(fd, 0) < 0 || syscall(SYS_close_range, 1u, ~0u, 0) < 0 ||
	    setrlimit(RLIMIT_NOFILE, &files) < 0 || chdir(dir) < 0)
		a.rc = -errno;
	if (a.rc == 0)
		a.rc = lockdown_process(&e);
	if (a.rc == 0)
		a.rc = lockdown_enter(LOCKDOWN_BROKER, &e);
	if (sock_send_fds(0, &a, sizeof(a), NULL, 0) >= 0 && a.rc == 0)
		serve(name);
	_exit(0);
}

static int set_timeout(int fd, int ms)
{
	const struct timeval time = { .tv_sec = ms / 1000,
				      .tv_usec =
					      (suseconds_t)(ms % 1000) * 1000 };

	return setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof(time)) < 0
		       ? -errno
		       : 0;
}

static int receive(int fd, uint32_t port, int *ret_fd)
{
	struct answer a = { .rc = 0 };
	size_t count = 1;
	int got = -1;
	ssize_t n = sock_recv_fds(fd, &a, sizeof(a), &got, &count);

	if (n == (ssize_t)sizeof(a) && a.port == port && a.rc < 0 && !count)
		return a.rc;
	if (n == (ssize_t)sizeof(a) && a.port == port && a.rc == 0 && count) {
		*ret_fd = got;
		return 0;
	}
	close_fd(&got);
	/* No answer to this question may be taken for one to the next. */
	(void)shutdown(fd, SHUT_RDWR);
	return -ECONNREFUSED;
}

int broker_connect(int fd, uint32_t port, int *ret_fd)
{
	const struct question q = { port };

	if (send(fd, &q, sizeof(q), MSG_NOSIGNAL | MSG_DONTWAIT) !=
	    (ssize_t)sizeof(q))
		return -ECONNREFUSED;
	return receive(fd, port, ret_fd);
}

static int await_start(int fd, const char *path, struct err *e)
{
	struct answer a = { .rc = 0 };
	ssize_t n = recv(fd, &a, sizeof(a), 0);

	if (n != (ssize_t)sizeof(a))
		a.rc = n < 0 ? -errno : -EPIPE;
	if (a.rc < 0)
		return err_set(e, ERR_UNAVAILABLE, "broker_failed", -a.rc,
			       "the process that connects to %s_PORT could not "
			       "be started: %s",
			       path, strerror(-a.rc));
	return 0;
}

int broker_start(const char *path, int *ret_fd, struct err *e)
{
	const struct sockaddr_un *addr = NULL;
	const char *slash = strrchr(path, '/');
	const char *name = slash ? slash + 1 : path;
	size_t dir_len = slash ? (size_t)(slash - path) : 0;
	char dir[4096] = ".";
	int pair[2], rc;
	pid_t pid;

	if (!name[0] || dir_len >= sizeof(dir) ||
	    strlen(name) + 1 + PORT_DIGITS >= sizeof(addr->sun_path))
		return err_set(e, ERR_INVALID, "vsock_config_invalid", 0,
			       "%s_PORT is too long for the name of a socket, "
			       "or names a directory",
			       path);
	if (slash) {
		memcpy(dir, path, dir_len);
		/* "/name": of the root. */
		memcpy(dir + dir_len, dir_len ? "" : "/", dir_len ? 1 : 2);
	}
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(e, errno, "vsock");
	pid = fork();
	if (pid == 0)
		child_run(pair[1], dir, name);
	rc = pid < 0 ? err_sys(e, errno, "vsock")
		     : set_timeout(pair[0], START_MS);
	(void)close(pair[1]);
	if (rc == 0)
		rc = await_start(pair[0], path, e);
	if (rc == 0)
		rc = set_timeout(pair[0], ANSWER_MS);
	if (rc < 0) {
		(void)close(pair[0]);
		return rc;
	}
	*ret_fd = pair[0];
	return 0;
}
