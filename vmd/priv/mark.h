/* SPDX-License-Identifier: Apache-2.0 */
/* The mark in the environment by which the processes of an operation are found,
 * however deep: VMD_OPERATION=ID. */
#ifndef VMD_PRIV_MARK_H
#define VMD_PRIV_MARK_H

#include "vmd/id.h"

#define PRIV_MARK "VMD_OPERATION=" /* PRIVOPS_TASK_MARK */

enum {
	PRIV_MARK_SIZE = sizeof(PRIV_MARK) + ID_LEN
};

/* Returns buf. */
const char *priv_mark(char buf[static PRIV_MARK_SIZE], const char *id);

/* Our environment with that mark first, where a bounded read finds it: a malloc'd
 * array of borrowed strings, or NULL. */
const char **priv_environ_with(const char *mark);

#endif
