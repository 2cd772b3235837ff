/* SPDX-License-Identifier: Apache-2.0 */
/* The directories of a daemon, and whose they are. */
#ifndef VMD_PRIV_OWN_H
#define VMD_PRIV_OWN_H

#include <sys/types.h>

#include "base/err.h"

struct priv_dirs {
	int state_fd, run_fd, run_vms_fd; /* owned; -1 */
};

/*
 * Makes what is missing and opens it. The state directory is vmd's own (one that
 * was root's, of a daemon without vmd-priv, is handed over with all that is in
 * it, once), and so are RUN-DIR/vms and trash; the run directory itself stays root's, so
 * that nobody else listens at our socket's place, and is open to pass through.
 */
int priv_dirs_open(struct priv_dirs *d, const char *state_dir,
		   const char *run_dir, uid_t user, gid_t group, struct err *e);
void priv_dirs_close(struct priv_dirs *d);

/*
 * Lets the user pass through the directories above path, where one of root's keeps
 * others out (a home, what mktemp -d makes): by an entry for that user alone in
 * its access list, to search and nothing else. 0, or which one stays closed.
 */
int priv_dir_reach(const char *path, uid_t user, gid_t group, struct err *e);

#endif
