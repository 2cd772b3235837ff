/* SPDX-License-Identifier: Apache-2.0 */
/* vmctl start. */
#include "vmctl/vm_verb.h"

int cmd_start(struct ctx *ctx, const struct args *args)
{
	return for_each_operand(ctx, args, vm_start);
}
