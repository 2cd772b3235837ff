/* SPDX-License-Identifier: Apache-2.0 */
/* Create, list, get, wait. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "vmd/routes/cursor.h"
#include "vmd/routes/handlers.h"

struct vm *request_vm(struct request *r)
{
	struct err e = ERR_INIT;
	struct vm *vm = vm_find(r->daemon, r->params.value, &e);

	if (!vm)
		request_fail(r, &e);
	return vm;
}

bool request_match(struct request *r, const struct vm *vm)
{
	const char *want = request_header(r, "If-Match");
	struct err e = ERR_INIT;
	char etag[HTTP_ETAG_LEN];

	http_etag(etag, vm->row.id, vm->row.revision);
	if (!want || request_has_tag(r, "If-Match", etag, true))
		return true;
	(void)err_set(&e, ERR_CONFLICT, "precondition_failed", 0,
		      "VM '%s' has changed: its tag is %s, not %.40s",
		      vm->row.name, etag, want);
	request_fail(r, &e);
	return false;
}

static json_t *created_json(struct daemon *d, const char *op_id,
			    const char *vm_id, struct op_row *ret_op)
{
	struct vm *vm = vm_find_id(d, vm_id);
	const struct obituary *o = vm ? NULL : daemon_obituary(d, vm_id);
	json_t *json = vm ? vm_to_json(vm) : o ? json_incref(o->vm) : NULL;

	if (!json || operation_get(d, op_id, ret_op, NULL) < 0) {
		json_decref(json);
		return NULL;
	}
	return json_pack("{s:o, s:o}", "operation", operation_to_json(ret_op),
			 "vm", json);
}

static void answer_created(struct request *r, bool only_when_over)
{
	struct err e = ERR_INIT;
	struct op_row op;
	char vm_id[ID_LEN + 1], location[64];
	json_t *json;

	if (operation_get(r->daemon, r->subject, &op, &e) < 0) {
		request_fail(r, &e);
		return;
	}
	(void)snprintf(vm_id, sizeof(vm_id), "%.26s", op.resource_id);
	if (only_when_over && op.state == API_OP_RUNNING)
		return;
	json = created_json(r->daemon, r->subject, vm_id, &op);
	(void)snprintf(location, sizeof(location), "/v1/operations/%s",
		       r->subject);
	request_json(r, 202, json, location);
}

static void poll_created(struct request *r)
{
	answer_created(r, true);
}

static void late_created(struct request *r)
{
	answer_created(r, false);
}

/* In the transaction that makes the VM: a client that asks again with its key
 * meets this VM, whenever the daemon dies. */
static int remember(void *ctx, struct vm *vm, struct err *e)
{
	struct request *r = ctx;
	AUTO(json) json_t *json = NULL;
	struct op_row op;
	char location[64];

	if (!r->answer_key[0])
		return 0;
	json = created_json(r->daemon, vm->op->row.id, vm->row.id, &op);
	(void)snprintf(location, sizeof(location), "/v1/operations/%s",
		       vm->op->row.id);
	return request_remember(r, 202, location, json, e);
}

void handle_vm_create(struct request *r)
{
	uint64_t wait = request_query_u64(r, "wait");
	struct err e = ERR_INIT;
	struct vm *vm;

	if (vm_create(r->daemon, r->body, remember, r, &vm, &e) < 0) {
		request_fail(r, &e);
		return;
	}
	request_wait(r, vm->op->row.id, wait, poll_created, late_created);
	if (r->poll && wait == 0)
		late_created(r);
}

void handle_vm_get(struct request *r)
{
	struct vm *vm = request_vm(r);

	if (vm)
		request_json(r, 200, vm_to_json(vm), NULL);
}

static int by_age(const struct vm *x, const struct vm *y)
{
	if (x->row.created_ms != y->row.created_ms)
		return x->row.created_ms < y->row.created_ms ? -1 : 1;
	return strcmp(x->row.id, y->row.id);
}

static bool label_ok(const struct vm *vm, const json_t *labels)
{
	size_t n = json_array_size(labels);

	for (size_t i = 0; i < n; i++) {
		char key[512];
		char *equals;

		(void)snprintf(key, sizeof(key), "%s",
			       json_string_value(json_array_get(labels, i)));
		equals = strchr(key, '=');
		if (!equals)
			return false;
		*equals = '\0';
		if (!vm_label_matches(vm, key, equals + 1))
			return false;
	}
	return true;
}

/* Of a VM in the list: by age and id. */
static void put_position(const struct vm *vm,
			 char ret[static CURSOR_POSITION_MAX])
{
	(void)snprintf(ret, CURSOR_POSITION_MAX, "%016llx-%s",
		       (unsigned long long)vm->row.created_ms, vm->row.id);
}

/* Where the last page ended; "" is before the first. */
struct position {
	int64_t created_ms;
	const char *id;
};

/* text is what put_position() wrote: cursors of others were refused. */
static struct position read_position(const char *text)
{
	struct position p = { .created_ms = INT64_MIN, .id = "" };
	const char *dash = strchr(text, '-');

	if (dash) {
		p.created_ms = (int64_t)strtoull(text, NULL, 16);
		p.id = dash + 1;
	}
	return p;
}

static bool past(const struct vm *vm, const struct position *p)
{
	if (vm->row.created_ms != p->created_ms)
		return vm->row.created_ms > p->created_ms;
	return strcmp(vm->row.id, p->id) > 0;
}

static bool wanted(struct request *r, const struct vm *vm,
		   const struct position *p)
{
	const char *state = request_query_text(r, "state");

	return past(vm, p) &&
	       (!state[0] ||
		strcmp(state, api_vm_state_name(vm->row.state)) == 0) &&
	       label_ok(vm, json_object_get(r->query, "label"));
}

/*
 * Those behind the position that fit the query, oldest first, at most one more
 * than limit: their number. ret has room for all. The list of the daemon is
 * newest first: read from its end, nearly every VM is put where it belongs by
 * one comparison.
 */
static size_t choose(struct request *r, const struct position *p, size_t limit,
		     struct vm **ret)
{
	size_t at = r->daemon->vm_count, n = 0;
	struct vm *vm;

	LIST_FOREACH(vm, &r->daemon->vms, link)
		if (at > 0)
			ret[--at] = vm;
	for (; at < r->daemon->vm_count; at++) {
		size_t place = n;

		vm = ret[at];
		if (!wanted(r, vm, p))
			continue;
		while (place > 0 && by_age(vm, ret[place - 1]) < 0)
			place--;
		if (place > limit)
			continue;
		if (n > limit)
			n--;
		memmove(&ret[place + 1], &ret[place],
			(n - place) * sizeof(struct vm *));
		ret[place] = vm;
		n++;
	}
	return n;
}

void handle_vm_list(struct request *r)
{
	struct daemon *d = r->daemon;
	size_t limit = (size_t)request_query_u64(r, "limit"), n, shown = 0;
	/* Pointers it is. NOLINTNEXTLINE(bugprone-sizeof-expression) */
	AUTO(free) struct vm **all = calloc(d->vm_count + 1, sizeof(*all));
	AUTO(json) json_t *items = json_array();
	char position[CURSOR_POSITION_MAX], next[CURSOR_MAX] = "";
	struct position from;
	struct err e = ERR_INIT;
	int rc = all && items ? 0 : err_sys(&e, ENOMEM, "listing VMs");

	if (rc == 0)
		rc = cursor_read(d, "vms", request_query_text(r, "cursor"),
				 position, &e);
	if (rc < 0) {
		request_fail(r, &e);
		return;
	}
	from = read_position(position);
	n = choose(r, &from, limit, all);
	for (; shown < n && shown < limit; shown++)
		(void)json_array_append_new(items, vm_to_json(all[shown]));
	if (shown && shown < n) {
		put_position(all[shown - 1], position);
		rc = cursor_make(d, "vms", position, next, &e);
	}
	if (rc < 0)
		request_fail(r, &e);
	else
		request_json(
			r, 200,
			json_pack("{s:O, s:o}", "items", items, "next_cursor",
				  next[0] ? json_string(next) : json_null()),
			NULL);
}

static void answer_removed(struct request *r, const char *state)
{
	const struct obituary *o = daemon_obituary(r->daemon, r->subject);
	struct err e = ERR_INIT;

	if (o && strcmp(state, "ready") != 0) {
		request_json(r, 200, json_incref(o->vm), NULL);
		return;
	}
	if (o && o->why.kind != ERR_NONE)
		e = o->why;
	else
		(void)err_set(&e, ERR_NOT_FOUND, "vm_not_found", 0,
			      "the VM was removed");
	request_fail(r, &e);
}

static void poll_vm(struct request *r)
{
	const char *state = request_query_text(r, "state");
	struct vm *vm = vm_find_id(r->daemon, r->subject);
	struct err e = ERR_INIT;
	bool rests, met = false;

	if (!vm) {
		answer_removed(r, state);
		return;
	}
	rests = vm_rests(vm);
	if (strcmp(state, "ready") == 0)
		met = vm->row.state == API_VM_READY;
	else if (strcmp(state, "stopped") == 0)
		met = rests;
	else if (strcmp(state, "exited") == 0)
		met = vm->row.has_exit || rests;
	if (met) {
		request_json(r, 200, vm_to_json(vm), NULL);
	} else if (strcmp(state, "ready") == 0 && rests) {
		/* It will not become ready by waiting. */
		if (vm->row.error.kind != ERR_NONE)
			e = vm->row.error;
		else
			(void)err_set(&e, ERR_CONFLICT, "wrong_state", 0,
				      "VM '%s' is %s: start it", vm->row.name,
				      api_vm_state_name(vm->row.state));
		request_fail(r, &e);
	}
}

static void late_vm(struct request *r)
{
	struct vm *vm = vm_find_id(r->daemon, r->subject);
	struct err e = ERR_INIT;

	(void)err_set(&e, ERR_TIMEOUT, "wait_timeout", 0,
		      "VM '%s' was not %s after %llu s: it is %s",
		      vm ? vm->row.name : r->subject,
		      request_query_text(r, "state"),
		      (unsigned long long)request_query_u64(r, "timeout"),
		      vm ? api_vm_state_name(vm->row.state) : "gone");
	request_fail(r, &e);
}

void handle_vm_wait(struct request *r)
{
	const struct obituary *o = daemon_obituary(r->daemon, r->params.value);
	struct vm *vm;

	/* Gone already is an answer to those who wait for just that. */
	if (o) {
		(void)snprintf(r->subject, sizeof(r->subject), "%s", o->id);
		answer_removed(r, request_query_text(r, "state"));
		return;
	}
	vm = request_vm(r);
	if (vm)
		request_wait(r, vm->row.id, request_query_u64(r, "timeout"),
			     poll_vm, late_vm);
}
