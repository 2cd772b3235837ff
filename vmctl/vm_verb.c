/* SPDX-License-Identifier: Apache-2.0 */
/* The verbs that change one VM. The name is printed when it is done, so that a
 * script sees which of several were. */
#include "vmctl/vm_verb.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "vmctl/hint.h"

static int done(const struct ctx *ctx, const char *vm, const json_t *op)
{
	if (ctx->output == OUTPUT_JSON)
		return print_json(op);
	return puts(vm) < 0 ? -EIO : 0;
}

static int verb(struct ctx *ctx, const char *vm, const char *method,
		const char *suffix, const json_t *body, struct err *e)
{
	AUTO(free) char *path = ctx_path("vms", vm, suffix, e);
	AUTO(json) json_t *op = NULL;
	int rc;

	if (!path)
		return -EINVAL;
	rc = operation_run(ctx, method, path, body, false, &op, e);
	return rc < 0 ? rc : done(ctx, vm, op);
}

/* The VmStop of --timeout and --force; NULL with *e set. */
static json_t *stop_body(const struct args *args, struct err *e)
{
	uint64_t timeout = 10;

	if (option_seconds(args, "timeout", &timeout, e) < 0 ||
	    hint_bounds(&api_vm_stop, "timeout_seconds", "timeout", timeout,
			false, e) < 0)
		return NULL;
	return json_pack("{s:I, s:b}", "timeout_seconds", (json_int_t)timeout,
			 "force", args_has(args, "force"));
}

int vm_start(struct ctx *ctx, const struct args *args, const char *vm,
	     struct err *e)
{
	(void)args;
	return verb(ctx, vm, "POST", "/start", NULL, e);
}

int vm_stop(struct ctx *ctx, const struct args *args, const char *vm,
	    struct err *e)
{
	AUTO(json) json_t *body = stop_body(args, e);

	return body ? verb(ctx, vm, "POST", "/stop", body, e) : -EINVAL;
}

int vm_restart(struct ctx *ctx, const struct args *args, const char *vm,
	       struct err *e)
{
	AUTO(json) json_t *body = stop_body(args, e);

	return body ? verb(ctx, vm, "POST", "/restart", body, e) : -EINVAL;
}

int vm_remove(struct ctx *ctx, const struct args *args, const char *vm,
	      struct err *e)
{
	bool force = args_has(args, "force");
	int rc = verb(ctx, vm, "DELETE", force ? "?force=true" : "", NULL, e);

	if (rc < 0 && force && e->kind == ERR_NOT_FOUND)
		return 0;
	if (rc < 0 && !force && strcmp(e->code, "wrong_state") == 0)
		err_append(e, "; 'vmctl rm --force' does both");
	return rc;
}
