/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The closed list of what the daemon does with privilege. Arguments are typed:
 * identifiers of ours, numbers, descriptors; never a path or a string from a
 * client. In this first form it is a module; the interface is such that it can
 * become a small root process while everything else runs as an ordinary user.
 */
#ifndef VMD_PRIVOPS_H
#define VMD_PRIVOPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/process.h"

/* Drops from the bounding set the capabilities that nothing here needs, and
 * raises the limit of open files. */
int privops_init(struct err *e);

/* Makes (if needed) and opens the directory of one VM below parent_fd. */
int privops_vm_dir_open(int parent_fd, const char *vm_id, int *ret_fd,
			struct err *e);
/* To another directory of the same file system, in one step. 0 or -errno. */
int privops_vm_dir_rename(int parent_fd, const char *name, int to_fd,
			  const char *to_name);

/* In the environment of a task's processes, before the operation's id. */
#define PRIVOPS_TASK_MARK "VMD_OPERATION="

/* Starts a program for an operation in a process group of its own, marked with
 * the operation's id so that its processes can be told from all others; without
 * one ("") it dies with the daemon. */
int privops_task_spawn(const char *op_id, const char *const *argv,
		       int stdout_fd, int stderr_fd, struct process *ret,
		       struct err *e);
/* Ends whatever bears the mark of that operation. Reads /proc: for the start of
 * a daemon only; while it serves, vmd-image does it (task.c). */
void privops_task_end(const char *op_id);

/* Ends the process if it still is the one that was journalled. 0, or -ESRCH:
 * it had ended already. */
int privops_process_end(pid_t pid, uint64_t start_time);

/*
 * Ends engine processes (monitor, QEMU, passt) that bear the mark of a VM's run
 * directory (jails.h) without being known as its: a daemon that died between
 * starting and journalling them. Nobody else has that mark.
 */
void privops_strays_end(const char *run_dir,
			bool (*known)(void *ctx, const char *vm_id, pid_t pid),
			void *ctx);

/* Whether that group may use the socket; -ENOENT when there is no group. */
int privops_socket_group(const char *group, gid_t *ret_gid);
/* Gives the socket below dirfd to root:gid, mode 0660. */
int privops_socket_share(int dirfd, const char *name, gid_t gid, struct err *e);

#endif
