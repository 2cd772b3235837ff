/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Removing the directories of VMs. Unlinking a large disk takes seconds, so a
 * directory is renamed to the trash beside vms/ (that is quick, and cannot be
 * done by half), the VM's rows are deleted, and a child empties the trash.
 *
 * STATE/trash/ID is also the journal of the removal: as long as it is there, the
 * VM is being removed whatever its row says. It goes when the deletion of the
 * row is durable, so a power cut at any moment leaves a VM that is whole, or one
 * that the next daemon goes on removing.
 */
#ifndef VMD_TRASH_H
#define VMD_TRASH_H

#include "vmd/daemon.h"

/* The state directory of a VM that is being removed. Missing is success. */
int trash_state_dir(struct daemon *d, const char *vm_id, struct err *e);
/* A run directory, or whatever else of that name lies beside it: of_run false,
 * beside the state directories. ret_name (may be NULL): what it is called in the
 * trash, "" when it was missing. */
int trash_dir(struct daemon *d, bool of_run, const char *name,
	      char ret_name[96], struct err *e);
/* Takes a run directory back, if it is still whole. 0 or -errno. */
int trash_take_back(struct daemon *d, const char *name, const char *vm_id);
/* Empties the trash, soon. */
void trash_empty(struct daemon *d);

/* At start: marks the VMs that were being removed. */
void trash_find_removed(struct daemon *d);
void trash_close(struct daemon *d);

#endif
