/* SPDX-License-Identifier: Apache-2.0 */
/* vmctl exec: a command in a VM that runs. */
#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "vmctl/exec_request.h"
#include "vmctl/session.h"

int cmd_exec(struct ctx *ctx, const struct args *args)
{
	struct err e = ERR_INIT;
	AUTO(json) json_t *request = NULL;
	AUTO(free) char *path = NULL;
	struct session_spec spec = { .tty = args_has(args, "tty") };
	struct session_end end;

	if (exec_request_check(args, &e) < 0)
		return ctx_fail(ctx, &e);
	request = exec_request_new(args, 1, false, &e);
	path = request ? ctx_path("vms", args->operands[0], "/exec", &e) : NULL;
	if (!path)
		return ctx_fail(ctx, &e);
	spec.path = path;
	spec.request = request;
	spec.input = args_has(args, "interactive");
	if (session_run(ctx, &spec, &end, &e) < 0)
		return ctx_fail(ctx, &e);
	return end.status;
}
