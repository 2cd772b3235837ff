/* SPDX-License-Identifier: Apache-2.0 */
#include "vmd/priv/user.h"

#include <errno.h>
#include <grp.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "vmd/priv/proto.h"

int priv_user_find(const char *name, uint32_t uid_first, struct priv_user *ret,
		   struct err *e)
{
	const struct passwd *user = getpwnam(name);
	const struct group *group;

	if (!user && strcmp(name, PRIV_USER) != 0)
		return err_set(e, ERR_NOT_FOUND, "no_user", ENOENT,
			       "there is no user '%s' on this host: give "
			       "--user another one",
			       name);
	if (user && user->pw_uid == 0)
		return err_set(e, ERR_INVALID, "user_is_root", EINVAL,
			       "user '%s' is root", name);
	ret->uid = user ? user->pw_uid : uid_first;
	ret->gid = user ? user->pw_gid : uid_first;
	group = getgrnam(PRIV_USER);
	ret->api_group = group ? group->gr_gid : ret->gid;
	return 0;
}

static bool in_range(uint32_t uid_first, uint64_t first, uint64_t count)
{
	return first < (uint64_t)uid_first + PRIV_RANGE &&
	       first + count > uid_first;
}

static int check_subordinate(const char *path, uint32_t uid_first,
			     struct err *e)
{
	AUTO(file) FILE *f = fopen(path, "re");
	char line[512], name[256];
	uint64_t first, count;

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "%255[^:]:%" SCNu64 ":%" SCNu64, name, &first,
			   &count) == 3 &&
		    in_range(uid_first, first, count))
			return err_set(e, ERR_CONFLICT, "uid_range", EEXIST,
				       "the users %u to %u, reserved for VMs, "
				       "overlap with those of '%s' in %s: give "
				       "--uid-first another value",
				       uid_first, uid_first + PRIV_RANGE - 1,
				       name, path);
	return 0;
}

int priv_range_check(uint32_t uid_first, struct err *e)
{
	const struct passwd *user;
	int rc;

	if (uid_first < PRIV_RANGE ||
	    (uint64_t)uid_first + PRIV_RANGE > UINT32_C(0x7ffffffe))
		return err_set(e, ERR_INVALID, "uid_range", EINVAL,
			       "the range of users for VMs must lie between "
			       "%d and 2147483645: give --uid-first another "
			       "value",
			       PRIV_RANGE);
	setpwent();
	while ((user = getpwent()))
		if (in_range(uid_first, user->pw_uid, 1))
			break;
	endpwent();
	if (user)
		return err_set(e, ERR_CONFLICT, "uid_range", EEXIST,
			       "user '%s' (%u) is in the range %u to %u "
			       "reserved for VMs: give --uid-first another "
			       "value",
			       user->pw_name, user->pw_uid, uid_first,
			       uid_first + PRIV_RANGE - 1);
	rc = check_subordinate("/etc/subuid", uid_first, e);
	return rc < 0 ? rc : check_subordinate("/etc/subgid", uid_first, e);
}
