/* SPDX-License-Identifier: Apache-2.0 */
#include "vmd/priv/identity.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

int priv_hello_fill(struct priv_hello *ret, int state_fd, int run_fd,
		    int api_dirfd, const char *api_name, struct err *e)
{
	struct stat state, run, api;

	if (fstat(state_fd, &state) < 0 || fstat(run_fd, &run) < 0 ||
	    fstat(api_dirfd, &api) < 0)
		return err_sys(e, errno, "looking at the directories of vmd");
	memset(ret, 0, sizeof(*ret));
	(void)snprintf(ret->version, sizeof(ret->version), "%s/%d", VMD_VERSION,
		       PRIV_PROTOCOL);
	(void)snprintf(ret->api_name, sizeof(ret->api_name), "%s", api_name);
	ret->state_dev = state.st_dev;
	ret->state_ino = state.st_ino;
	ret->run_dev = run.st_dev;
	ret->run_ino = run.st_ino;
	ret->api_dev = api.st_dev;
	ret->api_ino = api.st_ino;
	return 0;
}
