/* SPDX-License-Identifier: Apache-2.0 */
/* vmctl restart. */
#include "vmctl/vm_verb.h"

int cmd_restart(struct ctx *ctx, const struct args *args)
{
	return for_each_operand(ctx, args, vm_restart);
}
