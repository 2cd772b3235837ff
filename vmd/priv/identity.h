/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMD_PRIV_IDENTITY_H
#define VMD_PRIV_IDENTITY_H

#include "base/err.h"
#include "vmd/priv/proto.h"

/* What a vmd and a vmd-priv must have in common to work together. */
int priv_hello_fill(struct priv_hello *ret, int state_fd, int run_fd,
		    int api_dirfd, const char *api_name, struct err *e);

#endif
