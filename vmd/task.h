/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A run of vmd-image: builds, clones and sweeps are slow and are therefore child
 * processes that can be killed at any moment. It speaks JSON lines on stdout
 * ({"step","done","total"}, last {"result":…} or {"error":…}); what it and its
 * tools say on stderr is kept (64 KiB) for the error.
 *
 * The process group of an operation is journalled, so that the next daemon can
 * end it; a run for no operation dies with the daemon.
 */
#ifndef VMD_TASK_H
#define VMD_TASK_H

#include "vmd/operation.h"

struct task;

/* e is NULL on success; result (borrowed) may be NULL. The task is freed after
 * it returns. Never called from within task_start(). */
typedef void task_done_fn(void *data, const json_t *result,
			  const struct err *e);

/* args follows the program's name; ends with NULL. Progress goes to op, which
 * may be NULL. */
struct task *task_start(struct daemon *d, struct operation *op,
			const char *const *args, task_done_fn *done, void *data,
			struct err *e);
pid_t task_pid(const struct task *t);
/* Ends it; done is not called. It is reaped, and taken off the journal, when it
 * is gone: at once, unless a hanging disk holds it. */
void task_kill(struct task *t);
/* Forgets it: child and journal row stay, as if the daemon had died. */
void task_abandon(struct task *t);
/* The same for those that nobody waits for any more. */
void tasks_abandon_retired(struct daemon *d);

#endif
