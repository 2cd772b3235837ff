/* SPDX-License-Identifier: Apache-2.0 */
/* What vmd-priv, and all that it starts, can not do. */
#ifndef VMD_PRIV_BOUNDS_H
#define VMD_PRIV_BOUNDS_H

#include "base/err.h"

/* Only the capabilities that an operation needs stay, in the bounding set, too. */
int priv_bound_capabilities(struct err *e);
/* Forbids the system calls that nobody here needs. */
int priv_bound_calls(struct err *e);

#endif
