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
	char group[64] = "its group";
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
		if (getgrgid_r(st.st_gid, &entry, space, sizeof(space),
			       &found) == 0 &&
		    found)
			(void)snprintf(group, sizeof(group),
				       "the group '%.40s'", found->gr_name);
		else
			(void)snprintf(group, sizeof(group), "the group %u",
				       (unsigned)st.st_gid);
	}
	return err_set(e, ERR_PERMISSION, "socket_permission", sys,
		       "permission denied: you (uid %u) may not use the "
		       "daemon's socket %s; "
		       "become a member of %s (then log in again), or use "
		       "sudo, or run your own daemon with 'vmd &'",
		       (unsigned)geteuid(), socket_path, group);
}
