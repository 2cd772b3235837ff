/* SPDX-License-Identifier: Apache-2.0 */
/* vmctl console: our terminal on the VM's console. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "vmctl/session.h"

int cmd_console(struct ctx *ctx, const struct args *args)
{
	struct err e = ERR_INIT;
	bool tty = isatty(STDIN_FILENO);
	AUTO(free)
	char *path =
		ctx_path("vms", args->operands[0],
			 args_has(args, "no-replay") ? "/console?replay=false"
						     : "/console",
			 &e);
	struct session_spec spec = { .path = path, .input = true, .tty = tty };
	struct session_end end;

	if (!path)
		return ctx_fail(ctx, &e);
	if (tty)
		(void)fputs("vmctl: connected; Ctrl-] leaves the console\n",
			    stderr);
	if (session_run(ctx, &spec, &end, &e) < 0)
		return ctx_fail(ctx, &e);
	if (tty)
		(void)fputs("\nvmctl: left the console\n", stderr);
	return end.status;
}
