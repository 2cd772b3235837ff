/* SPDX-License-Identifier: Apache-2.0 */
/* vmctl logs: what the console printed, as it was. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "vmctl/ctx.h"

/* What the daemon gives at most, by its table of routes. */
enum {
	TAIL_MAX = 1 << 20
};

static int to_stdout(void *ctx, const void *data, size_t len, struct err *e)
{
	int rc = file_write_full(STDOUT_FILENO, data, len);

	(void)ctx;
	return rc < 0 ? err_sys(e, -rc, "standard output") : 0;
}

int cmd_logs(struct ctx *ctx, const struct args *args)
{
	struct err e = ERR_INIT;
	AUTO(free) char *path = NULL;
	uint64_t tail = 65536;
	char suffix[96];

	if (option_size(args, "tail", &tail, &e) < 0)
		return ctx_fail(ctx, &e);
	if (tail > TAIL_MAX) {
		(void)usage_error(&e, "--tail: at most 1 MiB of the console is "
				      "kept, write 1M or less");
		return ctx_fail(ctx, &e);
	}
	(void)snprintf(suffix, sizeof(suffix), "/logs?tail_bytes=%" PRIu64 "%s",
		       tail, args_has(args, "follow") ? "&follow=true" : "");
	path = ctx_path("vms", args->operands[0], suffix, &e);
	if (!path ||
	    api_client_download(ctx->client, path, to_stdout, NULL, &e) < 0)
		return e.sys == EPIPE ? EXIT_OK : ctx_fail(ctx, &e);
	return EXIT_OK;
}
