/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "vmd/store/store_sql.h"

#define COLUMNS                                                               \
	"id,kind,state,resource_kind,resource_id,step,done,total,created_ms," \
	"finished_ms,error_kind,error_code,error_msg"

int store_op_put(struct store *s, const struct op_row *row, struct err *e)
{
	bool bad = row->error.kind != ERR_NONE;

	return store_exec(
		s, e,
		"INSERT INTO operation(" COLUMNS ")"
		" VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13)"
		" ON CONFLICT(id) DO UPDATE SET state=?3,resource_id=?5,"
		"step=?6,done=?7,total=?8,finished_ms=?10,error_kind=?11,"
		"error_code=?12,error_msg=?13",
		"ssssssiiiisss", row->id, row->kind,
		api_op_state_name(row->state), row->resource_kind,
		row->resource_id, row->step, (int64_t)row->done,
		(int64_t)row->total, row->created_ms, row->finished_ms,
		bad ? err_kind_name(row->error.kind) : NULL,
		bad ? row->error.code : NULL, bad ? row->error.msg : NULL);
}

static void read_row(sqlite3_stmt *st, struct op_row *r)
{
	char state[16];

	*r = (struct op_row){ 0 };
	store_column_text(st, 0, r->id, sizeof(r->id));
	store_column_text(st, 1, r->kind, sizeof(r->kind));
	store_column_text(st, 2, state, sizeof(state));
	if (!api_op_state_from_name(state, &r->state))
		r->state = API_OP_FAILED;
	store_column_text(st, 3, r->resource_kind, sizeof(r->resource_kind));
	store_column_text(st, 4, r->resource_id, sizeof(r->resource_id));
	store_column_text(st, 5, r->step, sizeof(r->step));
	r->done = (uint64_t)sqlite3_column_int64(st, 6);
	r->total = (uint64_t)sqlite3_column_int64(st, 7);
	r->created_ms = sqlite3_column_int64(st, 8);
	r->finished_ms = sqlite3_column_int64(st, 9);
	store_column_err(st, 10, &r->error);
}

int store_op_get(struct store *s, const char *id, struct op_row *ret,
		 struct err *e)
{
	AUTO(stmt) sqlite3_stmt *stmt = NULL;
	int rc = store_prepare(
		s, "SELECT " COLUMNS " FROM operation WHERE id=?1", &stmt, e);

	if (rc == 0)
		rc = store_bind(s, stmt, e, "s", id);
	if (rc == 0)
		rc = store_step(s, stmt, e);
	if (rc < 0)
		return rc;
	if (rc == 0)
		return err_set(e, ERR_NOT_FOUND, "operation_not_found", ENOENT,
			       "there is no operation '%s' (finished ones are "
			       "kept for a while only)",
			       id);
	read_row(stmt, ret);
	return 0;
}

int store_op_ids(struct store *s, const char *prefix,
		 void (*fn)(void *ctx, const char *id), void *ctx,
		 struct err *e)
{
	AUTO(stmt) sqlite3_stmt *stmt = NULL;
	/* '{' follows every character of an id: the index finds the range. */
	int rc = store_prepare(s,
			       "SELECT id FROM operation WHERE id>=?1 AND "
			       "id<?1||'{'",
			       &stmt, e);

	if (rc == 0)
		rc = store_bind(s, stmt, e, "s", prefix);
	while (rc >= 0) {
		rc = store_step(s, stmt, e);
		if (rc <= 0)
			break;
		fn(ctx, (const char *)sqlite3_column_text(stmt, 0));
	}
	return rc;
}

int store_op_each(struct store *s, int64_t before, size_t limit,
		  void (*fn)(void *ctx, const struct op_row *row), void *ctx,
		  struct err *e)
{
	AUTO(stmt) sqlite3_stmt *stmt = NULL;
	int count = 0;
	int rc = store_prepare(s,
			       "SELECT " COLUMNS
			       ",seq FROM operation WHERE ?1=0 OR seq<?1 "
			       "ORDER BY seq DESC LIMIT ?2",
			       &stmt, e);

	if (rc == 0)
		rc = store_bind(s, stmt, e, "ii", before,
				limit > INT64_MAX ? -1 : (int64_t)limit);
	while (rc >= 0) {
		struct op_row row;

		rc = store_step(s, stmt, e);
		if (rc <= 0)
			break;
		read_row(stmt, &row);
		row.seq = sqlite3_column_int64(stmt, 13);
		fn(ctx, &row);
		count++;
	}
	return rc < 0 ? rc : count;
}

int store_op_fail_running(struct store *s, const struct err *why,
			  int64_t now_ms, struct err *e)
{
	return store_exec(s, e,
			  "UPDATE operation SET state='failed',finished_ms=?1,"
			  "error_kind=?2,error_code=?3,error_msg=?4 "
			  "WHERE state='running'",
			  "isss", now_ms, err_kind_name(why->kind), why->code,
			  why->msg);
}

int store_prune(struct store *s, unsigned keep, struct err *e)
{
	/* Numbers have gaps: an update of a row takes one, too. */
	int rc = store_exec(
		s, e,
		"DELETE FROM operation WHERE state<>'running' AND seq<="
		"(SELECT seq FROM operation ORDER BY seq DESC "
		"LIMIT 1 OFFSET ?1)",
		"i", (int64_t)keep);

	if (rc == 0)
		rc = store_exec(s, e,
				"DELETE FROM answer WHERE seq<="
				"(SELECT seq FROM answer ORDER BY seq DESC "
				"LIMIT 1 OFFSET ?1)",
				"i", (int64_t)keep);
	return rc;
}
