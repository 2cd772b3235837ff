/* SPDX-License-Identifier: Apache-2.0 */
/* vmctl create: a VM that stays. */
#include <stdio.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "vmctl/ctx.h"
#include "vmctl/spec.h"

static int create(struct ctx *ctx, const struct args *args, struct err *e)
{
	AUTO(json) json_t *spec = spec_vm(args, args->operands[0], e);
	AUTO(json) json_t *created = NULL;
	const json_t *vm;
	char key[33];
	int rc;

	if (!spec)
		return -1;
	(void)json_object_set_new(spec, "start",
				  json_boolean(args_has(args, "start")));
	spec_random_key(key);
	rc = api_client_call(ctx->client, "POST", "/v1/vms", spec, key,
			     &created, e);
	if (rc == 0)
		rc = operation_follow(
			ctx,
			text_of(json_object_get(created, "operation"), "id"),
			false, NULL, e);
	if (rc < 0)
		return rc;
	vm = json_object_get(created, "vm");
	if (ctx->output == OUTPUT_JSON)
		return print_json(vm);
	(void)puts(text_of(vm, ctx->output == OUTPUT_NAME ? "name" : "id"));
	return EXIT_OK;
}

int cmd_create(struct ctx *ctx, const struct args *args)
{
	struct err e = ERR_INIT;
	int rc = create(ctx, args, &e);

	if (rc >= 0)
		return rc;
	image_hint(&e);
	return ctx_fail(ctx, &e);
}
