/* SPDX-License-Identifier: Apache-2.0 */
#include "vmd/operation.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/problem.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/lookup.h"

enum {
	PUT_AGAIN_MS = 5000
};

void operation_overdue(const struct operation *op, struct err *ret)
{
	(void)err_set(ret, ERR_TIMEOUT, "operation_timeout", ETIMEDOUT,
		      "%s of %s '%s' did not end in time (at step: %s)",
		      op->row.kind, op->row.resource_kind, op->row.resource_id,
		      op->row.step[0] ? op->row.step : "begin");
}

static void on_deadline(struct loop_timer *timer)
{
	struct operation *op = timer->data;
	struct err why = ERR_INIT;

	operation_overdue(op, &why);
	op->stop(op, &why);
}

static void changed(const struct operation *op)
{
	daemon_changed(op->daemon, op->row.id);
	daemon_changed(op->daemon, op->row.resource_id);
}

static void discard(struct operation *op)
{
	loop_timer_disarm(&op->deadline);
	LIST_REMOVE(op, link);
	free(op);
}

static int put_finished(struct operation *op, struct err *e)
{
	struct daemon *d = op->daemon;
	int rc = store_op_put(d->store, &op->row, e);

	if (rc == 0)
		rc = store_prune(d->store, d->config->keep_operations, e);
	return rc;
}

static void on_put_again(struct loop_timer *timer)
{
	struct operation *op = timer->data;
	struct err e = ERR_INIT;

	if (put_finished(op, &e) == 0)
		discard(op);
	else
		loop_timer_arm(&op->deadline, PUT_AGAIN_MS);
}

struct operation *operation_new(struct daemon *d, enum api_op_kind kind,
				const char *resource_id, uint64_t deadline_ms,
				struct err *e)
{
	struct operation *op = calloc(1, sizeof(*op));

	if (!op) {
		(void)err_sys(e, ENOMEM, "beginning an operation");
		return NULL;
	}
	id_new(op->row.id);
	op->kind = kind;
	(void)snprintf(op->row.kind, sizeof(op->row.kind), "%s",
		       api_op_kinds[kind]);
	(void)snprintf(op->row.resource_kind, sizeof(op->row.resource_kind),
		       "%s", kind == API_OP_IMAGE_BUILD ? "image" : "vm");
	(void)snprintf(op->row.resource_id, sizeof(op->row.resource_id), "%s",
		       resource_id);
	op->row.state = API_OP_RUNNING;
	op->row.created_ms = clock_wall_ms();
	op->daemon = d;
	op->uid = d->caller;
	if (store_op_put(d->store, &op->row, e) < 0) {
		free(op);
		return NULL;
	}
	loop_timer_init(d->loop, &op->deadline, on_deadline, op);
	if (deadline_ms)
		loop_timer_arm(&op->deadline, deadline_ms);
	LIST_INSERT_HEAD(&d->operations, op, link);
	changed(op);
	return op;
}

void operation_progress(struct operation *op, uint64_t done, uint64_t total,
			const char *fmt, ...)
{
	va_list ap;

	if (!op)
		return;
	va_start(ap, fmt);
	(void)vsnprintf(op->row.step, sizeof(op->row.step), fmt, ap);
	va_end(ap);
	op->row.done = done;
	op->row.total = total;
	changed(op);
}

void operation_finish(struct operation *op, const struct err *why)
{
	struct err e = ERR_INIT;

	op->row.finished_ms = clock_wall_ms();
	if (!why) {
		op->row.state = API_OP_SUCCEEDED;
	} else {
		op->row.state = why->kind == ERR_CANCELLED ? API_OP_CANCELLED
							   : API_OP_FAILED;
		op->row.error = *why;
		log_info("%s of %s %s %s: %s: %s", op->row.kind,
			 op->row.resource_kind, op->row.resource_id,
			 api_op_state_name(op->row.state), why->code, why->msg);
	}
	/* Without its end in the store it would seem to run for ever: then it is
	 * kept in memory, where those who wait look first. */
	op->owner = NULL;
	op->stop = NULL;
	loop_timer_disarm(&op->deadline);
	changed(op);
	if (put_finished(op, &e) == 0) {
		discard(op);
	} else {
		log_error("operation %s: %s", op->row.id, e.msg);
		loop_timer_start(&op->deadline, on_put_again, PUT_AGAIN_MS);
	}
}

struct operation *operation_find(struct daemon *d, const char *id)
{
	struct operation *op;

	LIST_FOREACH(op, &d->operations, link)
		if (strcmp(op->row.id, id) == 0)
			return op;
	return NULL;
}

struct resolving {
	struct lookup lookup;
	char *id; /* of the last one that fits */
};

static void offer(void *ctx, const char *id)
{
	struct resolving *r = ctx;

	lookup_offer(&r->lookup, id, NULL, r->id);
	(void)snprintf(r->id, ID_LEN + 1, "%s", id);
}

int operation_resolve(struct daemon *d, const char *ref,
		      char ret_id[static ID_LEN + 1], struct err *e)
{
	struct resolving r = { .id = ret_id };
	int rc;

	ret_id[0] = '\0';
	lookup_begin(&r.lookup, ref);
	rc = store_op_ids(d->store, ref, offer, &r, e);
	if (rc < 0)
		return rc;
	if (lookup_end(&r.lookup, "operation", "operation", e))
		return 0;
	if (r.lookup.count)
		return -EINVAL;
	return err_set(e, ERR_NOT_FOUND, "operation_not_found", ENOENT,
		       "there is no operation '%s' (finished ones are kept for "
		       "a while only)",
		       ref);
}

int operation_get(struct daemon *d, const char *id, struct op_row *ret,
		  struct err *e)
{
	struct operation *op = operation_find(d, id);

	if (!op)
		return store_op_get(d->store, id, ret, e);
	*ret = op->row;
	return 0;
}

int operation_cancel(struct daemon *d, const char *id, struct err *e)
{
	struct operation *op = operation_find(d, id);
	struct err why = ERR_INIT;
	struct op_row row;
	int rc = operation_get(d, id, &row, e);

	if (rc < 0)
		return rc;
	if (!op || row.state != API_OP_RUNNING)
		return err_set(e, ERR_CONFLICT, "operation_finished", 0,
			       "operation '%s' has already %s", id,
			       api_op_state_name(row.state));
	(void)err_set(&why, ERR_CANCELLED, "operation_cancelled", ECANCELED,
		      "%s of %s '%s' was cancelled by request", op->row.kind,
		      op->row.resource_kind, op->row.resource_id);
	op->stop(op, &why);
	return 0;
}

json_t *operation_to_json(const struct op_row *row)
{
	return json_pack(
		"{s:s, s:s, s:s, s:{s:s, s:s}, s:{s:s, s:I, s:I}, s:o, s:o, "
		"s:o}",
		"id", row->id, "kind", row->kind, "state",
		api_op_state_name(row->state), "resource", "kind",
		row->resource_kind, "id", row->resource_id, "progress", "step",
		row->step, "done", (json_int_t)row->done, "total",
		(json_int_t)row->total, "created_at",
		json_time_or_null(row->created_ms), "finished_at",
		json_time_or_null(row->finished_ms), "error",
		row->error.kind == ERR_NONE
			? json_null()
			: api_problem_new(&row->error, NULL));
}
