/* SPDX-License-Identifier: Apache-2.0 */
/* The journal of host resources, idempotent answers, small facts. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "vmd/store/store_sql.h"

int store_journal_add(struct store *s, const struct journal_row *row,
		      struct err *e)
{
	return store_exec(
		s, e,
		"INSERT OR REPLACE INTO journal(owner,kind,name,pid,start_time)"
		" VALUES(?1,?2,?3,?4,?5)",
		"sisii", row->owner, (int64_t)row->kind, row->name,
		(int64_t)row->pid, (int64_t)row->start_time);
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
	int rc = store_prepare(
		s,
		"SELECT owner,kind,name,pid,start_time FROM journal "
		"WHERE ?1 IS NULL OR owner=?1 ORDER BY seq",
		&stmt, e);

	if (rc == 0)
		rc = store_bind(s, stmt, e, "s", owner);
	while (rc >= 0) {
		struct journal_row *grown, *r;

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
		r = &rows[count++];
		*r = (struct journal_row){ 0 };
		store_column_text(stmt, 0, r->owner, sizeof(r->owner));
		r->kind = (enum journal_kind)sqlite3_column_int(stmt, 1);
		store_column_text(stmt, 2, r->name, sizeof(r->name));
		r->pid = sqlite3_column_int(stmt, 3);
		r->start_time = (uint64_t)sqlite3_column_int64(stmt, 4);
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
	const char *body;
	int rc = store_prepare(s,
			       "SELECT fingerprint,status,location,body "
			       "FROM answer WHERE key=?1",
			       &stmt, e);

	*ret_found = false;
	if (rc == 0)
		rc = store_bind(s, stmt, e, "s", key);
	if (rc == 0)
		rc = store_step(s, stmt, e);
	if (rc <= 0)
		return rc;
	store_column_text(stmt, 0, ret->fingerprint, sizeof(ret->fingerprint));
	ret->status = (unsigned)sqlite3_column_int(stmt, 1);
	store_column_text(stmt, 2, ret->location, sizeof(ret->location));
	body = (const char *)sqlite3_column_text(stmt, 3);
	ret->body = strdup(body ? body : "");
	if (!ret->body)
		return err_sys(e, ENOMEM, "reading an earlier answer");
	*ret_found = true;
	return 0;
}

int store_answer_put(struct store *s, const char *key,
		     const struct stored_answer *answer, struct err *e)
{
	return store_exec(s, e,
			  "INSERT OR REPLACE INTO answer"
			  "(key,fingerprint,status,location,body) "
			  "VALUES(?1,?2,?3,?4,?5)",
			  "ssiss", key, answer->fingerprint,
			  (int64_t)answer->status, answer->location,
			  answer->body);
}

int store_meta_get(struct store *s, const char *key, char *buf, size_t size,
		   struct err *e)
{
	AUTO(stmt) sqlite3_stmt *stmt = NULL;
	int rc = store_prepare(s, "SELECT value FROM meta WHERE key=?1", &stmt,
			       e);

	buf[0] = '\0';
	if (rc == 0)
		rc = store_bind(s, stmt, e, "s", key);
	if (rc == 0)
		rc = store_step(s, stmt, e);
	if (rc == 1)
		store_column_text(stmt, 0, buf, size);
	return rc < 0 ? rc : 0;
}

int store_meta_put(struct store *s, const char *key, const char *value,
		   struct err *e)
{
	return store_exec(s, e,
			  "INSERT OR REPLACE INTO meta(key,value) "
			  "VALUES(?1,?2)",
			  "ss", key, value);
}
