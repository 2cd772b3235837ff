/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "vmd/store/store_sql.h"

enum {
	PRUNE_PARTS = 16
};

int store_op_put(struct store *s, const struct op_row *row, struct err *e)
{
	s->puts++;
	return store_write(s, TABLE_OPERATION, TABLE_PUT, row, e);
}

int store_op_get(struct store *s, const char *id, struct op_row *ret,
		 struct err *e)
{
	AUTO(stmt) sqlite3_stmt *stmt = NULL;
	int rc = store_prepare_select(s, TABLE_OPERATION, " WHERE id=?1", &stmt,
				      e);

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
	return table_read(&store_tables[TABLE_OPERATION], stmt, ret, e);
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
	int rc =
		store_prepare_select(s, TABLE_OPERATION,
				     " WHERE seq<?1 ORDER BY seq DESC LIMIT ?2",
				     &stmt, e);

	if (rc == 0)
		rc = store_bind(s, stmt, e, "ii", before ? before : INT64_MAX,
				limit > INT64_MAX ? -1 : (int64_t)limit);
	while (rc >= 0) {
		struct op_row row;

		rc = store_step(s, stmt, e);
		if (rc <= 0)
			break;
		rc = table_read(&store_tables[TABLE_OPERATION], stmt, &row, e);
		if (rc < 0)
			break;
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
	int rc;

	/* Looking for the last one that stays takes a walk over all that do: not
	 * after each of them. */
	if (s->puts < keep / PRUNE_PARTS)
		return 0;
	s->puts = 0;
	/* Numbers have gaps: an update of a row takes one, too. */
	rc = store_exec(s, e,
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
