/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tables, a row for each column. What is added here needs a migration
 * (store_migrate.c); a database that does not agree is refused.
 */
#include <assert.h>
#include <stddef.h>

#include "api/names.h"
#include "vmd/store/store.h"
#include "vmd/store/store_sql.h"

static const char *vm_state_name(int value)
{
	return api_vm_state_name((enum api_vm_state)value);
}

static int vm_state_value(const char *name)
{
	enum api_vm_state state;

	return name && api_vm_state_from_name(name, &state)
		       ? (int)state
		       : (int)API_VM_UNKNOWN;
}

static const struct column_words vm_states = { vm_state_name, vm_state_value };

static const char *op_state_name(int value)
{
	return api_op_state_name((enum api_op_state)value);
}

static int op_state_value(const char *name)
{
	enum api_op_state state;

	return name && api_op_state_from_name(name, &state)
		       ? (int)state
		       : (int)API_OP_FAILED;
}

static const struct column_words op_states = { op_state_name, op_state_value };

static const char *kind_name(int value)
{
	return value == ERR_NONE ? NULL : err_kind_name((enum err_kind)value);
}

static int kind_value(const char *name)
{
	return name ? (int)err_kind_from_name(name) : (int)ERR_NONE;
}

static const struct column_words err_kinds = { kind_name, kind_value };

static_assert(sizeof(enum api_vm_state) == sizeof(int) &&
		      sizeof(enum api_op_state) == sizeof(int) &&
		      sizeof(enum err_kind) == sizeof(int) &&
		      sizeof(enum journal_kind) == sizeof(int) &&
		      sizeof(pid_t) == sizeof(int),
	      "columns copy them as int");

/* clang-format off: a column a line */
#define NAMED(name, type, row, member, flags, words)             \
	{                                                        \
		name, type, flags, offsetof(struct row, member), \
			sizeof(((struct row *)0)->member), words \
	}
#define COLUMN(type, row, member, flags) \
	NAMED(#member, type, row, member, flags, NULL)
#define WORD(row, member, flags, words) \
	NAMED(#member, COLUMN_WORD, row, member, flags, words)
/* The error of a row: all of it is empty when its kind is ERR_NONE. */
#define ERR_COLUMNS(row)                                                       \
	NAMED("error_kind", COLUMN_WORD, row, error.kind, COLUMN_NULL,         \
	      &err_kinds),                                                     \
		NAMED("error_code", COLUMN_TEXT, row, error.code, COLUMN_NULL, \
		      NULL),                                                   \
		NAMED("error_msg", COLUMN_TEXT, row, error.msg, COLUMN_NULL,   \
		      NULL),                                                   \
		NAMED("error_field", COLUMN_TEXT, row, error.field,            \
		      COLUMN_NULL, NULL),                                      \
		NAMED("error_subject", COLUMN_TEXT, row, error.subject,        \
		      COLUMN_NULL, NULL),                                      \
		NAMED("error_suggestion", COLUMN_TEXT, row, error.suggestion,  \
		      COLUMN_NULL, NULL),                                      \
		NAMED("error_amounts", COLUMN_BOOL, row, error.amounts, 0,     \
		      NULL),                                                   \
		NAMED("error_asked", COLUMN_U64, row, error.asked, 0, NULL),   \
		NAMED("error_limit", COLUMN_U64, row, error.limit, 0, NULL),   \
		NAMED("error_available", COLUMN_U64, row, error.available, 0,  \
		      NULL)

static const struct column vm_columns[] = {
	COLUMN(COLUMN_TEXT, vm_row, id, COLUMN_KEY),
	COLUMN(COLUMN_TEXT, vm_row, name, COLUMN_ONCE),
	COLUMN(COLUMN_TEXT, vm_row, image, COLUMN_ONCE),
	COLUMN(COLUMN_TEXT, vm_row, image_id, COLUMN_ONCE),
	WORD(vm_row, state, 0, &vm_states),
	COLUMN(COLUMN_TEXT, vm_row, reason, 0),
	COLUMN(COLUMN_TEXT, vm_row, engine, 0),
	COLUMN(COLUMN_TEXT, vm_row, engine_reason, 0),
	COLUMN(COLUMN_BOOL, vm_row, emulated, 0),
	COLUMN(COLUMN_BOOL, vm_row, ephemeral, 0),
	COLUMN(COLUMN_BOOL, vm_row, command_started, 0),
	COLUMN(COLUMN_BOOL, vm_row, has_exit, 0),
	COLUMN(COLUMN_INT, vm_row, exit_status, 0),
	COLUMN(COLUMN_INT, vm_row, exit_signal, 0),
	COLUMN(COLUMN_U64, vm_row, memory_bytes, 0),
	COLUMN(COLUMN_U64, vm_row, disk_bytes, 0),
	COLUMN(COLUMN_I64, vm_row, created_ms, COLUMN_ONCE),
	COLUMN(COLUMN_I64, vm_row, started_ms, 0),
	COLUMN(COLUMN_I64, vm_row, ready_ms, 0),
	COLUMN(COLUMN_I64, vm_row, expires_ms, 0),
	COLUMN(COLUMN_TEXT, vm_row, agent_release, 0),
	COLUMN(COLUMN_TEXT, vm_row, agent_version, 0),
	ERR_COLUMNS(vm_row),
	COLUMN(COLUMN_U64, vm_row, revision, 0),
	COLUMN(COLUMN_STRING, vm_row, spec, COLUMN_ONCE),
	{ .name = NULL }
};

static const struct column op_columns[] = {
	COLUMN(COLUMN_I64, op_row, seq, COLUMN_AUTO),
	COLUMN(COLUMN_TEXT, op_row, id, COLUMN_KEY),
	COLUMN(COLUMN_TEXT, op_row, kind, COLUMN_ONCE),
	WORD(op_row, state, 0, &op_states),
	COLUMN(COLUMN_TEXT, op_row, resource_kind, COLUMN_ONCE),
	COLUMN(COLUMN_TEXT, op_row, resource_id, 0),
	COLUMN(COLUMN_TEXT, op_row, step, 0),
	COLUMN(COLUMN_U64, op_row, done, 0),
	COLUMN(COLUMN_U64, op_row, total, 0),
	COLUMN(COLUMN_I64, op_row, created_ms, COLUMN_ONCE),
	COLUMN(COLUMN_I64, op_row, finished_ms, 0),
	ERR_COLUMNS(op_row),
	{ .name = NULL }
};

static const struct column journal_columns[] = {
	COLUMN(COLUMN_TEXT, journal_row, owner, COLUMN_KEY),
	COLUMN(COLUMN_INT, journal_row, kind, 0),
	COLUMN(COLUMN_TEXT, journal_row, name, 0),
	COLUMN(COLUMN_INT, journal_row, pid, 0),
	COLUMN(COLUMN_U64, journal_row, start_time, 0),
	{ .name = NULL }
};

static const struct column answer_columns[] = {
	COLUMN(COLUMN_TEXT, answer_row, key, COLUMN_KEY),
	NAMED("fingerprint", COLUMN_TEXT, answer_row, answer.fingerprint, 0,
	      NULL),
	NAMED("status", COLUMN_INT, answer_row, answer.status, 0, NULL),
	NAMED("location", COLUMN_TEXT, answer_row, answer.location, 0, NULL),
	NAMED("body", COLUMN_STRING, answer_row, answer.body, 0, NULL),
	{ .name = NULL }
};

static const struct column meta_columns[] = {
	COLUMN(COLUMN_TEXT, meta_row, key, COLUMN_KEY),
	COLUMN(COLUMN_TEXT, meta_row, value, 0),
	{ .name = NULL }
};
/* clang-format on */

const struct table store_tables[TABLE_COUNT] = {
	[TABLE_VM] = { "vm", vm_columns, sizeof(struct vm_row) },
	[TABLE_OPERATION] = { "operation", op_columns, sizeof(struct op_row) },
	[TABLE_JOURNAL] = { "journal", journal_columns,
			    sizeof(struct journal_row) },
	[TABLE_ANSWER] = { "answer", answer_columns,
			   sizeof(struct answer_row) },
	[TABLE_META] = { "meta", meta_columns, sizeof(struct meta_row) },
};
