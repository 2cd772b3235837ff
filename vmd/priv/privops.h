/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The closed list of what needs privilege, or the parent's rights over a process.
 * As a service (and when root starts vmd) each call is a request to vmd-priv, see
 * priv/proto.h; in a normal user's daemon the same code (priv/server.h) does it
 * within vmd. Callers cannot tell.
 *
 * A call waits for vmd-priv's answer: microseconds, for a start the time of the
 * exec; 5 s at most, then vmd-priv counts as gone, and is not asked again for 10 s:
 * of many calls one waits. When it has ended every call tries to reach it again.
 * Both fail with unavailable priv_gone.
 */
#ifndef VMD_PRIVOPS_H
#define VMD_PRIVOPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/cgroup.h"
#include "base/err.h"
#include "base/port_bind.h"
#include "base/process.h"
#include "vmd/engines/engine.h"
#include "vmd/priv/proto.h"

/* Within this process from here on. run_vms_fd is borrowed (-1: none);
 * image_program too (NULL: looked for). */
void privops_within(int run_vms_fd, const char *image_program,
		    uint32_t uid_first);
/* By vmd-priv, reached through run_dirfd (borrowed), from here on: 0, or why it
 * cannot be reached or is not the right one. */
int privops_join(int run_dirfd, const struct priv_hello *hello, struct err *e);
/* The vmd-priv that we talk to, to be watched: 0, or -errno. */
int privops_process(struct process *ret);
/* Tells vmd-priv to end; waits for that. */
void privops_quit(void);
/* First of the PRIV_RANGE users that VMs and image builds have. */
uint32_t privops_uid_first(void);

/* The directory of one VM below parent_fd, which is vmd's own: made if needed and
 * opened. */
int privops_vm_dir_open(int parent_fd, const char *vm_id, int *ret_fd,
			struct err *e);
/* To another directory of the same file system, in one step. 0 or -errno. */
int privops_vm_dir_rename(int parent_fd, const char *name, int to_fd,
			  const char *to_name);

/* In the environment of a task's processes, before the operation's id. */
#define PRIVOPS_TASK_MARK "VMD_OPERATION="

struct privops_program {
	enum priv_role role;
	const char *const *argv; /* argv[0] is not used: the role names it */
	const struct process_fd *fds;
	size_t fd_count;
	int boot_fds[PRIV_BOOT_MAX]; /* kernel and initrd in its root */
	size_t boot_count;
	bool kvm; /* /dev/kvm in its root */
};

/* A program of a VM, in its jail; everything is borrowed. */
int privops_spawn(const struct privops_program *program,
		  const struct vm_launch *launch, struct process *ret,
		  struct err *e);
/* vmd-image for an operation, in a process group of its own, marked with the
 * operation's id so that its processes can be told from all others; without one
 * ("") it dies with the daemon. */
int privops_task_spawn(const char *op_id, const char *const *argv,
		       int stdout_fd, int stderr_fd, struct process *ret,
		       struct err *e);
/* Cgroups of VMs from here on, within vmd (vmd-priv makes them by itself), and the
 * end of that. */
void privops_cgroups_open(void);
void privops_cgroups_close(void);
/* Whether memory, processes and CPU of each VM are limited; *ret_text: what is and
 * where, or why not, *ret_fix: what would help, or "". Both stay valid until
 * vmd-priv is reached again. */
bool privops_cgroups(const char **ret_text, const char **ret_fix);
struct privops_cgroup_end {
	bool gone; /* else something of it still has to end: ask again */
	struct cgroup_oom oom;
};
/* Removes the cgroup of a VM whose processes have ended, and whatever is left in
 * it; all zeros, and gone, when there was none. */
int privops_cgroup_end(const char *vm_id, struct privops_cgroup_end *ret,
		       struct err *e);
/* Removes those that nobody is in: for the start of a daemon. */
void privops_cgroups_sweep(void);

/* Ends whatever bears the mark of that operation. Reads /proc: for the start of
 * a daemon only; while it serves, vmd-image does it (task.c), and vmd-priv when
 * vmd-image was killed. */
void privops_task_end(const char *op_id);

/* As process_signal(), process_signal_group() and process_reap(), for what was
 * started above. */
int privops_signal(const struct process *p, int sig);
int privops_signal_group(const struct process *p, int sig);
bool privops_reap(struct process *p, struct process_exit *ret);

/* Ends the process if it still is the one that was journalled. 0, -ESRCH: it had
 * ended already; else it may still run. */
int privops_process_end(pid_t pid, uint64_t start_time);

/*
 * Ends engine processes (monitor, QEMU, passt) that bear the mark of a VM's run
 * directory (jails.h) without being known as its: a daemon that died between
 * starting and journalling them. Nobody else has that mark.
 */
void privops_strays_end(bool (*known)(void *ctx, const char *vm_id, pid_t pid),
			void *ctx);

/* As port_bind(), also below 1024. */
int privops_port_bind(const struct port_spec *spec, int *ret_fd, struct err *e);
/* /dev/kvm for reading and writing: 0, or why it cannot be opened (-ENOENT, -EACCES,
 * ...). *ret_fd is the caller's. */
int privops_kvm_open(int *ret_fd, struct err *e);
/* The API's listening socket, as vmd-priv was told where it belongs. */
int privops_api_socket(int *ret_fd, struct err *e);

#endif
