/* SPDX-License-Identifier: Apache-2.0 */
/* vmctl console: our terminal on the VM's console. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "vmctl/session.h"

/* A VM that does not run prints nothing: say so, and that this waits. */
static int tell_state(struct ctx *ctx, const char *name, struct err *e)
{
	AUTO(free) char *path = ctx_path("vms", name, "", e);
	AUTO(json) json_t *vm = NULL;
	const char *state;

	if (!path || ctx_get(ctx, path, &vm, e) < 0)
		return -EINVAL;
	state = text_of(vm, "state");
	if (strcmp(state, "stopped") == 0 || strcmp(state, "failed") == 0)
		(void)fprintf(stderr,
			      "vmctl: VM '%s' is %s: waiting for its start "
			      "('vmctl start %s')\n",
			      text_of(vm, "name"), state, text_of(vm, "name"));
	return 0;
}

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

	if (!path || tell_state(ctx, args->operands[0], &e) < 0)
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
