/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cgroups of a daemon's VMs: one for each that runs, by its id, in a directory
 * of this daemon's own:
 *
 *   BASE/RUN/ID      RUN: device and inode of the run directory, so that daemons
 *                    with other directories do not meet
 *
 * BASE is what the operator or systemd gave us:
 *
 *   the cgroup of vmd-vms.service, beside ours    as a service. A unit of its own,
 *       for VMs outlive vmd-priv: systemd could not put the next vmd-priv into a
 *       cgroup that has controllers for others below it. Its process keeps it, for
 *       systemd removes a cgroup that is empty, also of a unit that is active
 *   vmd at the root of the tree                   started by root's hand
 *   the cgroup that we are in                     by others, where it is theirs and
 *       they are alone in it (systemd-run --user --scope -p Delegate=yes vmd); we
 *       step aside into vmd-daemon below it, for the same reason
 *
 * Where there is none, or none with a controller that limits, VMs start without
 * and `text` says why.
 */
#ifndef VMD_PRIV_CGROUPS_H
#define VMD_PRIV_CGROUPS_H

#include <stdbool.h>

#include "base/cgroup.h"
#include "vmd/priv/proto.h"

/* The unit that keeps them under systemd. */
#define PRIV_CGROUP_UNIT "vmd-vms.service"

struct priv_cgroups {
	int base_fd, fd; /* owned; fd -1: VMs get none */
	unsigned controllers; /* that limit or count here */
	bool base_ours; /* we made it: it goes when it is empty */
	int run_vms_fd; /* borrowed */
	char name[40]; /* RUN */
	char text[PRIV_CGROUP_TEXT]; /* what is limited and where, or why not */
	char fix[PRIV_CGROUP_FIX]; /* what would help, or "" */
};

void priv_cgroups_init(struct priv_cgroups *c);
/* Finds BASE and makes RUN; c tells how that went. Moves the calling process only
 * when it is not root. */
void priv_cgroups_open(struct priv_cgroups *c, int run_vms_fd);
/* The process of vmd-vms.service: steps aside in its cgroup, so that there may be
 * others. 0 also where there is no cgroup v2. */
int priv_cgroups_hold(struct err *e);
/* Groups of VMs that run stay. */
void priv_cgroups_close(struct priv_cgroups *c);

/* What a client is told at its HELLO. */
void priv_cgroups_tell(const struct priv_cgroups *c, struct priv_reply *reply);

/*
 * For a VM that starts: a new group with these limits; what an earlier run left
 * is removed, or ERR_CONFLICT cgroup_busy when a process of it cannot end. For a
 * process that joins: limits NULL, the group that is there. *ret_fd 0: none.
 */
int priv_cgroups_enter(struct priv_cgroups *c, const char *id,
		       const struct cgroup_limits *limits, int *ret_fd,
		       struct err *e);
/* Kills what is in it and removes it; *ret: what memory it was short of. 0 also
 * when there was none, -EBUSY: not yet. */
int priv_cgroups_end(struct priv_cgroups *c, const char *id,
		     struct cgroup_oom *ret);
/* Removes those that nobody is in: of daemons that ended. */
void priv_cgroups_sweep(struct priv_cgroups *c);

#endif
