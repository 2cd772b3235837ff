/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Following an operation: the daemon is asked to answer when it has ended, on a
 * terminal each second so that progress can be drawn.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/names.h"
#include "api/problem.h"
#include "base/cleanup.h"
#include "base/json.h"
#include "vmctl/ctx.h"
#include "vmctl/term.h"

/* The operation failed: its problem; 0 when it succeeded. */
static int operation_result(const json_t *op, struct err *e)
{
	const char *state = text_of(op, "state");
	enum api_op_state s;

	if (!api_op_state_from_name(state, &s))
		return err_set(e, ERR_PROTOCOL, "bad_answer", 0,
			       "the operation is in the state '%.32s', which "
			       "this vmctl does not know",
			       state);
	switch (s) {
	case API_OP_SUCCEEDED:
		return 0;
	case API_OP_FAILED:
		return api_problem_to_err(json_object_get(op, "error"), 0, e);
	case API_OP_CANCELLED:
		return err_set(e, ERR_CANCELLED, "operation_cancelled", 0,
			       "the operation %.40s was cancelled",
			       text_of(op, "id"));
	case API_OP_RUNNING:
	case API_OP_STATE_COUNT:
		break;
	}
	return -EINPROGRESS;
}

static void show(const json_t *op)
{
	const json_t *p = json_object_get(op, "progress");
	const char *step = text_of(p, "step");

	progress_show(*step ? step : text_of(op, "kind"), number_of(p, "done"),
		      number_of(p, "total"));
}

static void cancel(struct ctx *ctx, const char *id)
{
	AUTO(free) char *path = ctx_path("operations", id, "", NULL);
	struct err e = ERR_INIT;

	api_client_set_interrupt(ctx->client, NULL, NULL);
	if (path && api_client_call(ctx->client, "DELETE", path, NULL, NULL,
				    NULL, &e) < 0)
		(void)ctx_fail(ctx, &e);
}

int operation_follow(struct ctx *ctx, const char *id, bool cancel_on_interrupt,
		     json_t **ret, struct err *e)
{
	int slice = isatty(STDERR_FILENO) ? 1 : 60;
	AUTO(free) char *path = ctx_path("operations", id, "", e);
	AUTO(free) char *wait = NULL;
	int rc;

	if (!path)
		return -ENOMEM;
	if (asprintf(&wait, "%s/wait?timeout=%d", path, slice) < 0) {
		wait = NULL;
		return err_sys(e, ENOMEM, "request");
	}
	if (cancel_on_interrupt)
		interrupt_catch(ctx);
	for (;;) {
		AUTO(json) json_t *op = NULL;

		rc = ctx_get(ctx, wait, &op, e);
		if (rc < 0 && strcmp(e->code, "wait_timeout") == 0)
			rc = ctx_get(ctx, path, &op, e);
		if (rc == 0)
			rc = operation_result(op, e);
		if (rc != -EINPROGRESS) {
			if (ret && op)
				*ret = take_ptr(op);
			break;
		}
		show(op);
	}
	progress_clear();
	if (cancel_on_interrupt && interrupt_seen())
		cancel(ctx, id);
	return rc;
}

int operation_run(struct ctx *ctx, const char *method, const char *path,
		  const json_t *body, bool cancel_on_interrupt, json_t **ret,
		  struct err *e)
{
	AUTO(json) json_t *op = NULL;
	int rc;

	rc = api_client_call(ctx->client, method, path, body, NULL, &op, e);
	if (rc < 0)
		return rc;
	return operation_follow(ctx, text_of(op, "id"), cancel_on_interrupt,
				ret, e);
}
