/* SPDX-License-Identifier: Apache-2.0 */
/* What vmd-priv, and all that it starts, can not do. */
#ifndef VMD_PRIV_BOUNDS_H
#define VMD_PRIV_BOUNDS_H

#include "base/err.h"

/* Only the capabilities that an operation needs stay, in the bounding set, too. */
int priv_bound_capabilities(struct err *e);
/* Leaves the system calls of base/call_table.c; another does not exist from here on
 * (ENOSYS), here and in all that is started. no_new_privs must be set. */
int priv_bound_calls(struct err *e);

#endif
