/* SPDX-License-Identifier: Apache-2.0 */
/* The journal of host resources, idempotent answers, small facts. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "vmd/store/store_sql.h"

int store_journal_add(struct store *s, const struct journal_row *row,
		      struct err *e)
{
	int rc = store_write(s, TABLE_JOURNAL, TABLE_REPLACE, row, e);

	/* What it tells of is of use from now on. */
	return rc < 0 || s->depth ? rc : store_flush(s, e);
}

int store_journal_remove(struct store *s, const char *owner,
			 enum journal_kind kind, const char *name,
			 struct err *e)
{
	return store_exec(s, e,
			  "DELETE FROM journal WHERE owner=?1 AND kind=?2 "
			  "AND (?3 IS NULL OR name=?3)",
			  "sis", owner, (int64_t)kind, name);
}

int store_journal_list(struct store *s, const char *owner,
		       struct journal_row **ret, size_t *ret_count,
		       struct err *e)
{
	AUTO(stmt) sqlite3_stmt *stmt = NULL;
	AUTO(free) struct journal_row *rows = NULL;
	size_t count = 0, room = 0;
	int rc = store_prepare_select(
		s, TABLE_JOURNAL, " WHERE ?1 IS NULL OR owner=?1 ORDER BY seq",
		&stmt, e);

	if (rc == 0)
		rc = store_bind(s, stmt, e, "s", owner);
	while (rc >= 0) {
		struct journal_row *grown;

		rc = store_step(s, stmt, e);
		if (rc <= 0)
			break;
		if (count == room) {
			room = room ? 2 * room : 64;
			grown = reallocarray(rows, room, sizeof(*rows));
			if (!grown)
				return err_sys(e, ENOMEM,
					       "reading the journal");
			rows = grown;
		}
		rc = table_read(&store_tables[TABLE_JOURNAL], stmt,
				&rows[count++], e);
	}
	if (rc < 0)
		return rc;
	*ret = take_ptr(rows);
	*ret_count = count;
	return 0;
}

int store_answer_get(struct store *s, const char *key,
		     struct stored_answer *ret, bool *ret_found, struct err *e)
{
	AUTO(stmt) sqlite3_stmt *stmt = NULL;
	struct answer_row row;
	int rc = store_prepare_select(s, TABLE_ANSWER, " WHERE key=?1", &stmt,
				      e);

	*ret_found = false;
	if (rc == 0)
		rc = store_bind(s, stmt, e, "s", key);
	if (rc == 0)
		rc = store_step(s, stmt, e);
	if (rc <= 0)
		return rc;
	rc = table_read(&store_tables[TABLE_ANSWER], stmt, &row, e);
	if (rc < 0)
		return rc;
	*ret = row.answer;
	*ret_found = true;
	return 0;
}

int store_answer_put(struct store *s, const char *key,
		     const struct stored_answer *answer, struct err *e)
{
	struct answer_row row = { .answer = *answer };

	(void)snprintf(row.key, sizeof(row.key), "%s", key);
	s->puts++;
	return store_write(s, TABLE_ANSWER, TABLE_REPLACE, &row, e);
}

int store_meta_get(struct store *s, const char *key, char *buf, size_t size,
		   struct err *e)
{
	AUTO(stmt) sqlite3_stmt *stmt = NULL;
	struct meta_row row = { .value = "" };
	int rc = store_prepare_select(s, TABLE_META, " WHERE key=?1", &stmt, e);

	if (rc == 0)
		rc = store_bind(s, stmt, e, "s", key);
	if (rc == 0)
		rc = store_step(s, stmt, e);
	if (rc == 1)
		rc = table_read(&store_tables[TABLE_META], stmt, &row, e);
	(void)snprintf(buf, size, "%s", row.value);
	return rc < 0 ? rc : 0;
}

int store_meta_put(struct store *s, const char *key, const char *value,
		   struct err *e)
{
	struct meta_row row;

	(void)snprintf(row.key, sizeof(row.key), "%s", key);
	(void)snprintf(row.value, sizeof(row.value), "%s", value);
	return store_write(s, TABLE_META, TABLE_REPLACE, &row, e);
}
