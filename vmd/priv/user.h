/* SPDX-License-Identifier: Apache-2.0 */
/* Who vmd is when it is not root, and the range of users for VMs. */
#ifndef VMD_PRIV_USER_H
#define VMD_PRIV_USER_H

#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

#define PRIV_USER "vmd"
/* Above the ids that systemd gives to containers, below 2^31. */
#define PRIV_UID_FIRST UINT32_C(0x70000000)

struct priv_user {
	uid_t uid;
	gid_t gid;
	gid_t api_group; /* whose members may use the API */
};

/* The user of that name. Without a user PRIV_USER on this host it is the first of
 * the range, which has no name. */
int priv_user_find(const char *name, uint32_t uid_first, struct priv_user *ret,
		   struct err *e);

/* Refuses a range in which there are users, or their subordinate ids. */
int priv_range_check(uint32_t uid_first, struct err *e);

#endif
