/* SPDX-License-Identifier: Apache-2.0 */
/* The ExecRequest of run and exec. */
#ifndef VMCTL_EXEC_REQUEST_H
#define VMCTL_EXEC_REQUEST_H

#include <jansson.h>
#include <stdbool.h>

#include "base/err.h"
#include "vmctl/args.h"

/* Refuses -it when standard input is no terminal. */
int exec_request_check(const struct args *args, struct err *e);
/* The command is operands from `first` on. NULL with *e set. */
json_t *exec_request_new(const struct args *args, size_t first, bool attach,
			 struct err *e);

#endif
