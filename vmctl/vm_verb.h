/* SPDX-License-Identifier: Apache-2.0 */
/* The verbs that change one VM and wait for the end of that. */
#ifndef VMCTL_VM_VERB_H
#define VMCTL_VM_VERB_H

#include "vmctl/ctx.h"

int vm_start(struct ctx *ctx, const struct args *args, const char *vm,
	     struct err *e);
int vm_stop(struct ctx *ctx, const struct args *args, const char *vm,
	    struct err *e);
int vm_restart(struct ctx *ctx, const struct args *args, const char *vm,
	       struct err *e);
int vm_remove(struct ctx *ctx, const struct args *args, const char *vm,
	      struct err *e);

#endif
