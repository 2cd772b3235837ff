/* SPDX-License-Identifier: Apache-2.0 */
/* vmctl rm. */
#include "vmctl/vm_verb.h"

int cmd_rm(struct ctx *ctx, const struct args *args)
{
	return for_each_operand(ctx, args, vm_remove);
}
