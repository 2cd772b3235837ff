/* SPDX-License-Identifier: Apache-2.0 */
/* vmctl image build. */
#include <stdio.h>

#include "api/validate.h"
#include "base/cleanup.h"
#include "base/json.h"
#include "vmctl/ctx.h"
#include "vmctl/spec.h"

static json_t *build_request(const struct args *args, struct err *e)
{
	const char *recipe = args->operands[0];
	const char *name = args_value(args, "name");
	json_t *options = json_object();
	AUTO(json) json_t *request = NULL;
	const char *text;
	size_t cursor = 0;

	request = json_pack("{s:s, s:s, s:o}", "name", name ? name : recipe,
			    "recipe", recipe, "options", options);
	if (!request) {
		(void)usage_error(e, "the name is not UTF-8 text");
		return NULL;
	}
	while ((text = args_next(args, "option", &cursor)))
		if (spec_pair(options, "--option", text, e) < 0)
			return NULL;
	if (api_validate(&api_image_create, request, e) < 0) {
		(void)is_usage_error(e);
		return NULL;
	}
	return take_ptr(request);
}

int cmd_image_build(struct ctx *ctx, const struct args *args)
{
	struct err e = ERR_INIT;
	AUTO(json) json_t *request = build_request(args, &e);
	AUTO(json) json_t *op = NULL, *end = NULL;
	char key[33];
	int rc;

	if (!request)
		return ctx_fail(ctx, &e);
	spec_random_key(key);
	rc = api_client_call(ctx->client, "POST", "/v1/images", request, key,
			     &op, &e);
	if (rc == 0 && args_has(args, "detach")) {
		(void)puts(text_of(op, "id"));
		return EXIT_OK;
	}
	if (rc == 0)
		rc = operation_follow(ctx, text_of(op, "id"), true, &end, &e);
	if (rc < 0)
		return ctx_fail(ctx, &e);
	if (ctx->output == OUTPUT_JSON)
		return print_json(end);
	(void)puts(text_of(request, "name"));
	return EXIT_OK;
}
