/* SPDX-License-Identifier: Apache-2.0 */
/* vmctl inspect. */
#include "vmctl/list.h"

int cmd_inspect(struct ctx *ctx, const struct args *args)
{
	return inspect_each(ctx, args, "vms");
}
