/* SPDX-License-Identifier: Apache-2.0 */
/* vmctl run: a VM for one command. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "vmctl/exec_request.h"
#include "vmctl/session.h"
#include "vmctl/spec.h"

/* An image's default command need not be a shell; a person at a terminal wants
 * one. */
static void default_shell(json_t *request)
{
	static const char script[] =
		"if command -v bash >/dev/null 2>&1; then exec bash -l; fi; "
		"exec sh -l";

	(void)json_object_set_new(request, "command",
				  json_pack("[s,s,s]", "/bin/sh", "-c",
					    script));
}

static int check_options(const struct args *args, struct err *e)
{
	if (args_has(args, "rm") && args_has(args, "keep"))
		return usage_error(e, "--rm and --keep exclude each other");
	if (args_has(args, "detach") &&
	    (args_has(args, "interactive") || args_has(args, "tty")))
		return usage_error(e, "--detach leaves no terminal for "
				      "--interactive or --tty");
	return exec_request_check(args, e);
}

static int post_vm(struct ctx *ctx, const json_t *spec, json_t **ret,
		   struct err *e)
{
	char key[33];
	int rc;

	spec_random_key(key);
	rc = api_client_call(ctx->client, "POST", "/v1/vms", spec, key, ret, e);
	if (rc == 0 && !*text_of(json_object_get(*ret, "vm"), "id"))
		return err_set(e, ERR_PROTOCOL, "bad_answer", 0,
			       "the daemon's answer names no VM");
	return rc;
}

/* The VM goes; it is an error nobody waits for when it has gone already. */
static void delete_vm(struct ctx *ctx, const char *id)
{
	AUTO(free) char *path = ctx_path("vms", id, "?force=true", NULL);

	api_client_set_interrupt(ctx->client, NULL, NULL);
	if (path)
		(void)api_client_call(ctx->client, "DELETE", path, NULL, NULL,
				      NULL, NULL);
}

static void stop_vm(struct ctx *ctx, const char *id)
{
	AUTO(free) char *path = ctx_path("vms", id, "/stop", NULL);
	AUTO(json) json_t *body = json_pack("{s:b}", "force", 1);

	api_client_set_interrupt(ctx->client, NULL, NULL);
	if (path)
		(void)api_client_call(ctx->client, "POST", path, body, NULL,
				      NULL, NULL);
}

static int run_detached(struct ctx *ctx, const struct args *args, json_t *spec,
			struct err *e)
{
	bool command = args->operand_count > 1;
	AUTO(json) json_t *created = NULL, *vm = NULL;
	AUTO(free) char *path = NULL;
	const json_t *first;
	int rc;

	/* Without a command nothing would hold an ephemeral VM. */
	(void)json_object_set_new(spec, "ephemeral",
				  json_boolean(command &&
					       !args_has(args, "keep")));
	rc = spec_command(spec, args, 1, e);
	if (rc == 0)
		rc = post_vm(ctx, spec, &created, e);
	if (rc < 0)
		return rc;
	first = json_object_get(created, "vm");
	rc = operation_follow(
		ctx, text_of(json_object_get(created, "operation"), "id"),
		false, NULL, e);
	if (rc < 0) {
		if (!args_has(args, "keep"))
			delete_vm(ctx, text_of(first, "id"));
		return rc;
	}
	path = ctx_path("vms", text_of(first, "id"), "", e);
	/* A short command may have ended its VM by now. */
	if (path && ctx_get(ctx, path, &vm, NULL) == 0 &&
	    json_is_true(json_object_get(vm, "emulated")))
		ctx_warn(text_of(vm, "engine_reason"));
	if (ctx->output == OUTPUT_JSON)
		return print_json(vm ? vm : first);
	(void)puts(text_of(first, ctx->output == OUTPUT_NAME ? "name" : "id"));
	return EXIT_OK;
}

static int run_attached(struct ctx *ctx, const struct args *args, json_t *spec,
			struct err *e)
{
	bool keep = args_has(args, "keep"), tty = args_has(args, "tty");
	AUTO(json) json_t *created = NULL;
	AUTO(json) json_t *request = exec_request_new(args, 1, true, e);
	AUTO(free) char *path = NULL;
	struct session_spec session = { .request = request, .tty = tty };
	struct session_end end = { .status = EXIT_OURS };
	const char *id;
	int rc;

	if (!request)
		return -EINVAL;
	session.input = args_has(args, "interactive");
	if (tty && session.input && args->operand_count == 1)
		default_shell(request);
	(void)json_object_set_new(spec, "ephemeral", json_boolean(!keep));
	session_signals_block();
	api_client_set_interrupt(ctx->client, session_signal_waits, NULL);
	rc = post_vm(ctx, spec, &created, e);
	if (rc < 0)
		return rc;
	id = text_of(json_object_get(created, "vm"), "id");
	path = ctx_path("vms", id, "/exec", e);
	if (!path)
		return -ENOMEM;
	session.path = path;
	rc = session_run(ctx, &session, &end, e);
	if (rc < 0) {
		/* The daemon would do it too, when its lease is over. */
		if (!keep)
			delete_vm(ctx, id);
		return rc;
	}
	/* The end of the connection ends an ephemeral VM. */
	if (end.by_user && keep)
		stop_vm(ctx, id);
	return end.status;
}

int cmd_run(struct ctx *ctx, const struct args *args)
{
	struct err e = ERR_INIT;
	AUTO(json) json_t *spec = NULL;
	int rc = check_options(args, &e);

	if (rc == 0) {
		spec = spec_vm(args, args->operands[0], &e);
		rc = spec ? 0 : -EINVAL;
	}
	if (rc == 0)
		rc = args_has(args, "detach")
			     ? run_detached(ctx, args, spec, &e)
			     : run_attached(ctx, args, spec, &e);
	if (rc >= 0)
		return rc;
	image_hint(&e);
	return ctx_fail(ctx, &e);
}
