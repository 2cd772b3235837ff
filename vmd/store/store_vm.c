/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "vmd/store/store_sql.h"

void vm_row_done(struct vm_row *row)
{
	free(row->spec);
	row->spec = NULL;
}

static int bind_row(struct store *s, sqlite3_stmt *stmt, const struct vm_row *r,
		    struct err *e)
{
	bool bad = r->error.kind != ERR_NONE;

	return store_bind(s, stmt, e, "ssssssssiiiiiiiiiiiisssssis", r->id,
			  r->name, r->image, r->image_id,
			  api_vm_state_name(r->state), r->reason, r->engine,
			  r->engine_reason, (int64_t)r->emulated,
			  (int64_t)r->ephemeral, (int64_t)r->command_started,
			  (int64_t)r->has_exit, (int64_t)r->exit_status,
			  (int64_t)r->exit_signal, (int64_t)r->memory_bytes,
			  (int64_t)r->disk_bytes, r->created_ms, r->started_ms,
			  r->ready_ms, r->expires_ms, r->agent_release,
			  r->agent_version,
			  bad ? err_kind_name(r->error.kind) : NULL,
			  bad ? r->error.code : NULL, bad ? r->error.msg : NULL,
			  (int64_t)r->revision, r->spec);
}

static int write_row(struct store *s, const char *sql, const struct vm_row *row,
		     struct err *e)
{
	AUTO(stmt) sqlite3_stmt *stmt = NULL;
	int rc = store_prepare(s, sql, &stmt, e);

	if (rc == 0)
		rc = bind_row(s, stmt, row, e);
	if (rc == 0)
		rc = store_step(s, stmt, e);
	return rc;
}

int store_vm_insert(struct store *s, const struct vm_row *row, struct err *e)
{
	int rc = write_row(s,
			   "INSERT INTO vm VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,"
			   "?10,?11,?12,?13,?14,?15,?16,?17,?18,?19,?20,?21,"
			   "?22,?23,?24,?25,?26,?27)",
			   row, e);

	if (rc < 0 &&
	    sqlite3_extended_errcode(s->db) == SQLITE_CONSTRAINT_UNIQUE)
		return err_set(e, ERR_CONFLICT, "name_taken", EEXIST,
			       "a VM named '%s' exists already: choose another "
			       "name or remove that VM",
			       row->name);
	return rc;
}

int store_vm_update(struct store *s, const struct vm_row *row, struct err *e)
{
	return write_row(
		s,
		"UPDATE vm SET name=?2,image=?3,image_id=?4,state=?5,reason=?6,"
		"engine=?7,engine_reason=?8,emulated=?9,ephemeral=?10,"
		"command_started=?11,has_exit=?12,exit_status=?13,"
		"exit_signal=?14,memory_bytes=?15,disk_bytes=?16,"
		"created_ms=?17,started_ms=?18,ready_ms=?19,expires_ms=?20,"
		"agent_release=?21,agent_version=?22,error_kind=?23,"
		"error_code=?24,error_msg=?25,revision=?26,spec=?27 "
		"WHERE id=?1",
		row, e);
}

int store_vm_delete(struct store *s, const char *id, struct err *e)
{
	int rc = store_begin(s, e);

	if (rc == 0)
		rc = store_exec(s, e, "DELETE FROM journal WHERE owner=?1", "s",
				id);
	if (rc == 0)
		rc = store_exec(s, e, "DELETE FROM vm WHERE id=?1", "s", id);
	if (rc == 0)
		return store_commit(s, e);
	store_rollback(s);
	return rc;
}

static void read_row(sqlite3_stmt *st, struct vm_row *r)
{
	char state[16];
	const char *spec = (const char *)sqlite3_column_text(st, 26);

	*r = (struct vm_row){ 0 };
	store_column_text(st, 0, r->id, sizeof(r->id));
	store_column_text(st, 1, r->name, sizeof(r->name));
	store_column_text(st, 2, r->image, sizeof(r->image));
	store_column_text(st, 3, r->image_id, sizeof(r->image_id));
	store_column_text(st, 4, state, sizeof(state));
	if (!api_vm_state_from_name(state, &r->state))
		r->state = API_VM_UNKNOWN;
	store_column_text(st, 5, r->reason, sizeof(r->reason));
	store_column_text(st, 6, r->engine, sizeof(r->engine));
	store_column_text(st, 7, r->engine_reason, sizeof(r->engine_reason));
	r->emulated = sqlite3_column_int(st, 8);
	r->ephemeral = sqlite3_column_int(st, 9);
	r->command_started = sqlite3_column_int(st, 10);
	r->has_exit = sqlite3_column_int(st, 11);
	r->exit_status = sqlite3_column_int(st, 12);
	r->exit_signal = sqlite3_column_int(st, 13);
	r->memory_bytes = (uint64_t)sqlite3_column_int64(st, 14);
	r->disk_bytes = (uint64_t)sqlite3_column_int64(st, 15);
	r->created_ms = sqlite3_column_int64(st, 16);
	r->started_ms = sqlite3_column_int64(st, 17);
	r->ready_ms = sqlite3_column_int64(st, 18);
	r->expires_ms = sqlite3_column_int64(st, 19);
	store_column_text(st, 20, r->agent_release, sizeof(r->agent_release));
	store_column_text(st, 21, r->agent_version, sizeof(r->agent_version));
	store_column_err(st, 22, &r->error);
	r->revision = (uint64_t)sqlite3_column_int64(st, 25);
	r->spec = strdup(spec ? spec : "{}");
}

int store_vm_each(struct store *s, void (*fn)(void *ctx, struct vm_row *row),
		  void *ctx, struct err *e)
{
	AUTO(stmt) sqlite3_stmt *stmt = NULL;
	int rc = store_prepare(s, "SELECT * FROM vm ORDER BY created_ms, rowid",
			       &stmt, e);

	while (rc >= 0) {
		struct vm_row row;

		rc = store_step(s, stmt, e);
		if (rc <= 0)
			return rc;
		read_row(stmt, &row);
		if (!row.spec)
			return err_sys(e, ENOMEM, "reading the VMs");
		fn(ctx, &row);
		vm_row_done(&row);
	}
	return rc;
}
