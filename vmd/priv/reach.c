/* SPDX-License-Identifier: Apache-2.0 */
/* See own.h. The access list is written as the kernel has it (linux/posix_acl*.h):
 * no library is needed for five entries. */
#include <endian.h>
#include <errno.h>
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "vmd/priv/own.h"

#define ACL_NAME "system.posix_acl_access"

static bool may_pass(const struct stat *st, uid_t user, gid_t group)
{
	if (st->st_uid == user)
		return st->st_mode & 0100;
	return st->st_mode & (st->st_gid == group ? 0010 : 0001);
}

static bool has_entry(const char *path, uid_t user)
{
	char buf[1024];
	ssize_t n = getxattr(path, ACL_NAME, buf, sizeof(buf));
	struct posix_acl_xattr_entry entry;

	for (size_t at = sizeof(struct posix_acl_xattr_header);
	     n > 0 && at + sizeof(entry) <= (size_t)n; at += sizeof(entry)) {
		memcpy(&entry, buf + at, sizeof(entry));
		if (le16toh(entry.e_tag) == ACL_USER &&
		    le32toh(entry.e_id) == user)
			return le16toh(entry.e_perm) & ACL_EXECUTE;
	}
	return false;
}

/* Only where there is no access list yet: one that somebody made is theirs. */
static int add_entry(const char *path, mode_t mode, uid_t user)
{
	struct {
		struct posix_acl_xattr_header header;
		struct posix_acl_xattr_entry entries[5];
	} acl = {
		{ htole32(POSIX_ACL_XATTR_VERSION) },
		{ { htole16(ACL_USER_OBJ), htole16((mode >> 6) & 7),
		    htole32((uint32_t)ACL_UNDEFINED_ID) },
		  { htole16(ACL_USER), htole16(ACL_EXECUTE), htole32(user) },
		  { htole16(ACL_GROUP_OBJ), htole16((mode >> 3) & 7),
		    htole32((uint32_t)ACL_UNDEFINED_ID) },
		  { htole16(ACL_MASK), htole16(((mode >> 3) & 7) | ACL_EXECUTE),
		    htole32((uint32_t)ACL_UNDEFINED_ID) },
		  { htole16(ACL_OTHER), htole16(mode & 7),
		    htole32((uint32_t)ACL_UNDEFINED_ID) } },
	};

	if (getxattr(path, ACL_NAME, NULL, 0) > 0)
		return -EEXIST;
	return setxattr(path, ACL_NAME, &acl, sizeof(acl), 0) < 0 ? -errno : 0;
}

static int let_pass(const char *above, const char *for_what, uid_t user,
		    gid_t group, struct err *e)
{
	struct stat st;
	int rc = -EPERM;

	if (stat(above, &st) < 0)
		return err_sys(e, errno, "looking at %s", above);
	if (may_pass(&st, user, group) || has_entry(above, user))
		return 0;
	if (st.st_uid == 0)
		rc = add_entry(above, st.st_mode, user);
	if (rc == 0) {
		log_info("%s is closed to vmd's user %u, who needs %s: let it "
			 "pass through, by the access list",
			 above, user, for_what);
		return 0;
	}
	return err_set(e, ERR_PERMISSION, "directory_closed", -rc,
		       "vmd's user %u cannot get to %s, because %s is closed "
		       "to it: 'chmod o+x %s', or use another directory, or "
		       "give up the separation with --user root",
		       user, for_what, above, above);
}

int priv_dir_reach(const char *path, uid_t user, gid_t group, struct err *e)
{
	AUTO(free) char *above = realpath(path, NULL);

	if (!above)
		return err_sys(e, errno, "finding %s", path);
	for (char *slash = strrchr(above, '/'); slash && slash != above;
	     slash = strrchr(above, '/')) {
		int rc;

		*slash = '\0';
		rc = let_pass(above, path, user, group, e);
		if (rc < 0)
			return rc;
	}
	return 0;
}
