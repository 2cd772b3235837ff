/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connecting to the daemon: with patience while it is only busy, and with words
 * a person can act on when it cannot be reached.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "api/client/client.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/sock.h"

static void (*busy_notice)(const char *text);

void api_set_busy_notice(void (*fn)(const char *text))
{
	busy_notice = fn;
}

static bool interrupted(struct api_patience *p)
{
	return p->interrupt && p->interrupt(p->ctx);
}

/* The first wait is told, and begins the time that is allowed for all. */
static bool patience_left(struct api_patience *p)
{
	uint64_t now = clock_mono_ms();

	if (p->end_ms == 0) {
		p->end_ms = now + (p->limit_ms ? p->limit_ms : API_BUSY_MS);
		if (busy_notice)
			busy_notice("the daemon is busy: trying again");
	}
	return now < p->end_ms && !interrupted(p);
}

bool api_patience_wait(struct api_patience *p, unsigned ms)
{
	const struct timespec step = { .tv_nsec = 50000000 };
	uint64_t end = clock_mono_ms() + ms;

	while (patience_left(p)) {
		if (clock_mono_ms() >= end)
			return true;
		(void)nanosleep(&step, NULL);
	}
	return false;
}

/* Waits in the kernel's queue, in the order of coming: -EAGAIN after a second. */
static int connect_in_turn(const char *socket_path, int *ret_fd)
{
	const struct timeval second = { .tv_sec = 1 };
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	AUTO(fd) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	(void)snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", socket_path);
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &second, sizeof(second));
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		return errno == EINTR ? -EAGAIN : -errno;
	if (file_set_nonblock(fd) < 0)
		return -errno;
	*ret_fd = take_fd(&fd);
	return 0;
}

int api_connect(const char *socket_path, struct api_patience *p, int *ret_fd,
		struct err *e)
{
	int rc = sock_connect_unix(AT_FDCWD, socket_path, ret_fd, NULL);

	while (rc == -EAGAIN && patience_left(p))
		rc = connect_in_turn(socket_path, ret_fd);
	if (rc == -EAGAIN && interrupted(p))
		return err_set(e, ERR_CANCELLED, "interrupted", EINTR,
			       "interrupted");
	return rc < 0 ? api_connect_error(socket_path, -rc, e) : 0;
}

static const char *how_to_start(const char *socket_path)
{
	if (strncmp(socket_path, "/run/vmd/", 9) == 0)
		return "start it with 'systemctl start vmd' or 'vmd &' as root";
	return "start it with 'vmd &'";
}

int api_connect_error(const char *socket_path, int sys, struct err *e)
{
	char way[80] = "become a member of its group (then log in again)";
	struct group entry, *found = NULL;
	char space[1024];
	struct stat st;

	if (sys == ENOENT || sys == ECONNREFUSED || sys == ENOTDIR)
		return err_set(e, ERR_UNAVAILABLE, "daemon_not_running", sys,
			       "cannot reach the daemon at %s: %s; %s, or name "
			       "its socket with --socket or VMD_SOCKET",
			       socket_path,
			       sys == ECONNREFUSED ? "nobody listens there"
						   : "there is no such socket",
			       how_to_start(socket_path));
	if (sys == EAGAIN)
		return err_set(e, ERR_UNAVAILABLE, "daemon_busy", sys,
			       "the daemon at %s is there but too busy to take "
			       "another connection: try again",
			       socket_path);
	if (sys != EACCES && sys != EPERM)
		return err_sys(e, sys, "cannot reach the daemon at %s",
			       socket_path);
	if (stat(socket_path, &st) == 0) {
		/* Never an invitation to join the group root. */
		if (st.st_gid == 0 || !(st.st_mode & S_IWGRP))
			(void)snprintf(way, sizeof(way),
				       "ask for a group 'vmd' on this host and "
				       "a restart of vmd");
		else if (getgrgid_r(st.st_gid, &entry, space, sizeof(space),
				    &found) == 0 &&
			 found)
			(void)snprintf(way, sizeof(way),
				       "become a member of the group '%.20s' "
				       "(then log in again)",
				       found->gr_name);
		else
			(void)snprintf(way, sizeof(way),
				       "become a member of the group %u (then "
				       "log in again)",
				       (unsigned)st.st_gid);
	}
	return err_set(e, ERR_PERMISSION, "socket_permission", sys,
		       "permission denied: you (uid %u) may not use the "
		       "daemon's socket %s; "
		       "%s, or use sudo, or run your own daemon with 'vmd &'",
		       (unsigned)geteuid(), socket_path, way);
}
