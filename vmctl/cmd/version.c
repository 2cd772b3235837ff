/* SPDX-License-Identifier: Apache-2.0 */
/* vmctl version: ours, and the daemon's when there is one. */
#include <stdio.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "vmctl/ctx.h"
#include "vmctl/text.h"

int cmd_version(struct ctx *ctx, const struct args *args)
{
	struct err e = ERR_INIT;
	AUTO(json) json_t *daemon = NULL;
	AUTO(json) json_t *all = NULL;
	int rc = ctx_get(ctx, "/v1/version", &daemon, &e);

	(void)args;
	if (ctx->output == OUTPUT_JSON) {
		all = json_pack("{s:s, s:O?}", "client", VMD_VERSION, "daemon",
				daemon);
		(void)print_json(all);
	} else {
		(void)printf("vmctl %s\n", VMD_VERSION);
		if (rc == 0) {
			(void)fputs("vmd   ", stdout);
			print_safe(stdout, text_of(daemon, "version"), 0);
			(void)printf(" (API %.8s, %s)\n",
				     text_of(daemon, "api"),
				     api_client_socket(ctx->client));
		}
	}
	/* A script that waits for the daemon asks for its version. */
	return rc < 0 ? ctx_fail(ctx, &e) : EXIT_OK;
}
