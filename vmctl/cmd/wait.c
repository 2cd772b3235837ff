/* SPDX-License-Identifier: Apache-2.0 */
/* vmctl wait: the daemon waits; a wait longer than it allows is asked again. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/names.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json.h"
#include "vmctl/ctx.h"
#include "vmctl/term.h"

enum {
	SLICE_SECONDS = 60
};

/* What the VM does instead, for the message. */
static int timed_out(struct ctx *ctx, const char *name, const char *state,
		     uint64_t seconds, struct err *e)
{
	AUTO(free) char *path = ctx_path("vms", name, "", e);
	AUTO(json) json_t *vm = NULL;
	const char *reason;

	if (!path || ctx_get(ctx, path, &vm, e) < 0)
		return -ETIMEDOUT;
	reason = text_of(vm, "reason");
	return err_set(e, ERR_TIMEOUT, "wait_timeout", 0,
		       "VM '%.63s' is not %s after %" PRIu64
		       " s: it is %.16s%s%.200s; 'vmctl logs %.63s' shows its "
		       "console",
		       name, state, seconds, text_of(vm, "state"),
		       *reason ? ": " : "", reason, name);
}

static int wait_for(struct ctx *ctx, const char *name, const char *state,
		    uint64_t seconds, json_t **ret, struct err *e)
{
	uint64_t end = clock_mono_ms() + seconds * 1000;

	for (;;) {
		uint64_t now = clock_mono_ms();
		uint64_t left = now < end ? (end - now + 999) / 1000 : 0;
		AUTO(free) char *path = NULL;
		char suffix[96];
		int rc;

		(void)snprintf(suffix, sizeof(suffix),
			       "/wait?state=%s&timeout=%" PRIu64, state,
			       left < SLICE_SECONDS ? left : SLICE_SECONDS);
		path = ctx_path("vms", name, suffix, e);
		if (!path)
			return -EINVAL;
		rc = ctx_get(ctx, path, ret, e);
		if (rc == 0 || strcmp(e->code, "wait_timeout") != 0)
			return rc;
		if (clock_mono_ms() >= end)
			return timed_out(ctx, name, state, seconds, e);
	}
}

int cmd_wait(struct ctx *ctx, const struct args *args)
{
	const char *state = args_value(args, "for");
	struct err e = ERR_INIT;
	AUTO(json) json_t *vm = NULL;
	const json_t *exit;
	uint64_t seconds = 300;
	int rc;

	state = state ? state : "ready";
	if (api_name_index(api_vm_wait_states, state) < 0) {
		(void)usage_error(&e,
				  "--for '%.32s' is not ready, stopped, "
				  "exited or deleted",
				  state);
		return ctx_fail(ctx, &e);
	}
	if (option_seconds(args, "timeout", &seconds, &e) < 0)
		return ctx_fail(ctx, &e);
	/* Ten years: no sum of milliseconds overflows. */
	if (seconds > UINT64_C(315360000))
		seconds = UINT64_C(315360000);
	rc = wait_for(ctx, args->operands[0], state, seconds, &vm, &e);
	/* Gone already: that is what was waited for. */
	if (rc < 0 && e.kind == ERR_NOT_FOUND && strcmp(state, "deleted") == 0)
		return EXIT_OK;
	if (rc < 0)
		return ctx_fail(ctx, &e);
	if (ctx->output == OUTPUT_JSON)
		return print_json(vm);
	exit = json_object_get(vm, "exit");
	if (strcmp(state, "exited") == 0 && json_is_object(exit))
		(void)printf("%d\n",
			     guest_exit_status(number_of(exit, "status"),
					       number_of(exit, "signal")));
	return EXIT_OK;
}
