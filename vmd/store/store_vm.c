/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "vmd/store/store_sql.h"

void vm_row_done(struct vm_row *row)
{
	free(row->spec);
	row->spec = NULL;
}

int store_vm_insert(struct store *s, const struct vm_row *row, struct err *e)
{
	int rc = store_write(s, TABLE_VM, TABLE_INSERT, row, e);

	if (rc == -EEXIST)
		return err_set(e, ERR_CONFLICT, "name_taken", EEXIST,
			       "a VM named '%s' exists already: choose another "
			       "name or remove that VM",
			       row->name);
	return rc;
}

int store_vm_update(struct store *s, const struct vm_row *row, struct err *e)
{
	return store_write(s, TABLE_VM, TABLE_UPDATE, row, e);
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

int store_vm_each(struct store *s, void (*fn)(void *ctx, struct vm_row *row),
		  void *ctx, struct err *e)
{
	AUTO(stmt) sqlite3_stmt *stmt = NULL;
	int rc = store_prepare_select(s, TABLE_VM,
				      " ORDER BY created_ms, rowid", &stmt, e);

	while (rc >= 0) {
		struct vm_row row;

		rc = store_step(s, stmt, e);
		if (rc <= 0)
			return rc;
		rc = table_read(&store_tables[TABLE_VM], stmt, &row, e);
		if (rc == 0)
			fn(ctx, &row);
		vm_row_done(&row);
	}
	return rc;
}
