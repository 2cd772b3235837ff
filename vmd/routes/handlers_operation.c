/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "base/parse.h"
#include "vmd/routes/cursor.h"
#include "vmd/routes/handlers.h"

struct page {
	struct daemon *d;
	json_t *items;
	const char *state;
	size_t limit;
	int64_t last; /* seq */
	bool more;
};

static void add(void *ctx, const struct op_row *row)
{
	struct page *page = ctx;
	struct operation *live = operation_find(page->d, row->id);
	int64_t seq = row->seq;

	if (live) /* its progress is in memory only */
		row = &live->row;
	if (page->state[0] &&
	    strcmp(page->state, api_op_state_name(row->state)) != 0)
		return;
	if (json_array_size(page->items) == page->limit) {
		page->more = true;
		return;
	}
	page->last = seq;
	(void)json_array_append_new(page->items, operation_to_json(row));
}

void handle_operation_list(struct request *r)
{
	struct page page = {
		.d = r->daemon,
		.items = json_array(),
		.state = request_query_text(r, "state"),
		.limit = (size_t)request_query_u64(r, "limit"),
	};
	struct err e = ERR_INIT;

	char position[CURSOR_POSITION_MAX], next[CURSOR_MAX] = "";
	uint64_t before = 0;
	int rc = cursor_read(r->daemon, "operations",
			     request_query_text(r, "cursor"), position, &e);

	if (rc == 0 && position[0])
		rc = parse_u64(position, 1, INT64_MAX, "cursor", &before, &e);
	if (rc == 0)
		rc = store_op_each(r->daemon->store, (int64_t)before,
				   r->daemon->config->keep_operations + 1000,
				   add, &page, &e);
	if (rc >= 0 && page.more) {
		(void)snprintf(position, sizeof(position), "%lld",
			       (long long)page.last);
		rc = cursor_make(r->daemon, "operations", position, next, &e);
	}
	if (rc < 0) {
		json_decref(page.items);
		request_fail(r, &e);
		return;
	}
	request_json(r, 200,
		     json_pack("{s:o, s:o}", "items", page.items, "next_cursor",
			       next[0] ? json_string(next) : json_null()),
		     NULL);
}

/* The id of the operation in the path, into r->subject; false after a 404. */
static bool resolve(struct request *r)
{
	struct err e = ERR_INIT;

	if (operation_resolve(r->daemon, r->params.value, r->subject, &e) == 0)
		return true;
	request_fail(r, &e);
	return false;
}

static void answer(struct request *r)
{
	struct err e = ERR_INIT;
	struct op_row row;

	if (operation_get(r->daemon, r->subject, &row, &e) < 0)
		request_fail(r, &e);
	else
		request_json(r, 200, operation_to_json(&row), NULL);
}

void handle_operation_get(struct request *r)
{
	if (resolve(r))
		answer(r);
}

static void poll_cancelled(struct request *r)
{
	struct op_row row;

	if (operation_get(r->daemon, r->subject, &row, NULL) < 0 ||
	    row.state != API_OP_RUNNING)
		answer(r);
}

void handle_operation_cancel(struct request *r)
{
	struct err e = ERR_INIT;

	if (!resolve(r))
		return;
	if (operation_cancel(r->daemon, r->subject, &e) < 0)
		request_fail(r, &e);
	else /* ending it takes a moment; the answer shows the end */
		request_wait(r, r->subject, 2, poll_cancelled, answer);
}

static void late_wait(struct request *r)
{
	struct err e = ERR_INIT;

	(void)err_set(&e, ERR_TIMEOUT, "wait_timeout", 0,
		      "operation '%s' still runs after %llu s", r->subject,
		      (unsigned long long)request_query_u64(r, "timeout"));
	request_fail(r, &e);
}

void handle_operation_wait(struct request *r)
{
	if (resolve(r))
		request_wait(r, r->subject, request_query_u64(r, "timeout"),
			     poll_cancelled, late_wait);
}

static void answer_accepted(struct request *r)
{
	struct err e = ERR_INIT;
	char location[64];
	struct op_row row;

	if (operation_get(r->daemon, r->subject, &row, &e) < 0) {
		request_fail(r, &e);
		return;
	}
	(void)snprintf(location, sizeof(location), "/v1/operations/%s", row.id);
	request_json(r, 202, operation_to_json(&row), location);
}

static void poll_operation(struct request *r)
{
	struct op_row row;

	if (operation_get(r->daemon, r->subject, &row, NULL) < 0 ||
	    row.state != API_OP_RUNNING)
		answer_accepted(r);
}

void request_operation(struct request *r, const char *op_id)
{
	request_wait(r, op_id, request_query_u64(r, "wait"), poll_operation,
		     answer_accepted);
	if (r->poll && request_query_u64(r, "wait") == 0)
		answer_accepted(r);
}
