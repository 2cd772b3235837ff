/* SPDX-License-Identifier: Apache-2.0 */
/* Why the daemon cannot be reached, and what to do about it. */
#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/client.h"

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
