/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GET exec: one command over one WebSocket. The first message says what to run;
 * then we wait for the guest, however long its start takes, and bridge. With
 * attach an ephemeral VM lives exactly as long as the connection, also while it
 * is still being created.
 */
#include "vmd/exec.h"

#include <stdlib.h>
#include <string.h>

#include "api/problem.h"
#include "api/validate.h"
#include "base/cleanup.h"
#include "base/json.h"
#include "vmd/exec_request.h"

void exec_tell(struct exec *x, json_t *steal_message)
{
	AUTO(json) json_t *message = steal_message;
	AUTO(free) char *text = message ? json_to_text(message) : NULL;

	if (text)
		(void)ws_send(x->ws, true, -1, text, strlen(text));
}

void exec_finish(struct exec *x, json_t *steal_message)
{
	if (x->over) {
		json_decref(steal_message);
		return;
	}
	x->over = true;
	watch_remove(&x->watch);
	loop_timer_disarm(&x->timer);
	exec_tell(x, steal_message);
	ws_close(x->ws, 1000, "");
}

void exec_fail(struct exec *x, const struct err *e)
{
	exec_finish(x, json_pack("{s:o}", "error", api_problem_new(e, NULL)));
}

static void fail_gone(struct exec *x)
{
	const struct obituary *o = daemon_obituary(x->daemon, x->vm_id);
	struct err e = ERR_INIT;

	if (o && o->why.kind != ERR_NONE)
		e = o->why;
	else
		(void)err_set(&e, ERR_NOT_FOUND, "vm_not_found", 0,
			      "the VM was removed");
	exec_fail(x, &e);
}

static void fail_resting(struct exec *x, const struct vm *vm)
{
	struct err e = vm->row.error;

	if (e.kind == ERR_NONE)
		(void)err_set(&e, ERR_CONFLICT, "wrong_state", 0,
			      "VM '%s' is %s: start it to run commands in it",
			      vm->row.name, api_vm_state_name(vm->row.state));
	exec_fail(x, &e);
}

static void tell_progress(struct exec *x, const struct vm *vm)
{
	const char *step = vm->op ? vm->op->row.step : "";
	char now[sizeof(x->told)];

	(void)snprintf(now, sizeof(now), "%s %s",
		       api_vm_state_name(vm->row.state), step);
	if (strcmp(now, x->told) == 0)
		return;
	memcpy(x->told, now, sizeof(now));
	exec_tell(x, json_pack("{s:{s:s, s:s}}", "progress", "state",
			       api_vm_state_name(vm->row.state), "step", step));
}

/* What a long request took of the daemon's share; at most `len` is kept. */
static void keep_large(struct exec *x, size_t len)
{
	if (len >= x->large)
		return;
	x->daemon->large_bytes -= x->large - len;
	x->large = len;
}

static void start(struct exec *x, struct vm *vm)
{
	struct exec_request request;
	struct err e = ERR_INIT;

	x->running = true;
	watch_remove(&x->watch);
	loop_timer_disarm(&x->timer);
	/* Said once: to the one who started the VM, not for each command. */
	if (vm->row.emulated && x->told[0])
		exec_tell(x,
			  json_pack("{s:s}", "warning", vm->row.engine_reason));
	if (exec_request_build(x->request, "/bin/sh", &request, &e) == 0) {
		x->stream = agent_session_exec(vm->session, &request.wire,
					       &exec_stream_ops, x, &e);
		exec_request_done(&request);
	}
	if (!x->stream) {
		exec_request_done(&request);
		exec_fail(x, &e);
		return;
	}
	json_decref(take_ptr(x->request));
	keep_large(x, 0);
	x->daemon->count.execs++;
	exec_push_input(x);
}

void exec_try(struct exec *x)
{
	struct vm *vm = vm_find_id(x->daemon, x->vm_id);

	if (x->running || x->over || !x->asked)
		return;
	if (!vm)
		fail_gone(x);
	else if (vm->row.state == API_VM_READY && vm->session &&
		 agent_session_ready(vm->session))
		start(x, vm);
	else if (!vm->handle && !vm->op)
		fail_resting(x, vm);
	else
		tell_progress(x, vm);
}

static void on_watch(struct watch *w)
{
	exec_try(w->data);
}

static void on_timer(struct loop_timer *timer)
{
	struct exec *x = timer->data;
	struct vm *vm = vm_find_id(x->daemon, x->vm_id);
	struct err e = ERR_INIT;

	if (!x->asked) {
		ws_close(x->ws, 1008, "no request came");
		return;
	}
	if (vm && vm->op) { /* it has a deadline of its own */
		loop_timer_arm(&x->timer, EXEC_AGENT_MS);
		return;
	}
	(void)err_set(&e, ERR_TIMEOUT, "guest_not_ready", 0,
		      "the agent of VM '%s' has not answered for %d s",
		      vm ? vm->row.name : x->vm_id, EXEC_AGENT_MS / 1000);
	exec_fail(x, &e);
}

static void take_request(struct exec *x, const uint8_t *data, size_t len)
{
	struct vm *vm = vm_find_id(x->daemon, x->vm_id);
	struct err e = ERR_INIT;

	/* The rest are input and short orders. */
	ws_set_message_max(x->ws, WS_MESSAGE_MAX);
	keep_large(x, len > WS_MESSAGE_MAX ? len : 0);
	if (api_parse(&api_exec_request, (const char *)data, len, &x->request,
		      &e) < 0 ||
	    exec_request_check(x->request, &e) < 0) {
		exec_fail(x, &e);
		return;
	}
	x->asked = true;
	x->input_open = json_is_true(json_object_get(x->request, "stdin"));
	if (vm && json_is_true(json_object_get(x->request, "attach"))) {
		x->attached = true;
		vm_attach(vm);
	}
	loop_timer_arm(&x->timer, EXEC_AGENT_MS);
	watch_add(x->daemon, &x->watch, on_watch, x);
	exec_try(x);
}

static void on_message(void *ctx, bool text, const uint8_t *data, size_t len)
{
	struct exec *x = ctx;
	struct err e = ERR_INIT;

	if (x->over)
		return;
	if (x->asked && text)
		exec_control(x, data, len);
	else if (x->asked)
		exec_input(x, data, len);
	else if (text)
		take_request(x, data, len);
	else {
		(void)err_set(&e, ERR_INVALID, "exec_request_expected", 0,
			      "the first message must be the request as text");
		exec_fail(x, &e);
	}
}

static void on_drained(void *ctx)
{
	exec_drained(ctx);
}

static void exec_free(struct exec *x)
{
	struct vm *vm = vm_find_id(x->daemon, x->vm_id);

	watch_remove(&x->watch);
	loop_timer_disarm(&x->timer);
	if (x->stream)
		agent_stream_close(x->stream);
	if (x->attached && vm)
		vm_detach(vm);
	json_decref(x->request);
	keep_large(x, 0);
	buf_done(&x->input);
	free(x);
}

static void on_closed(void *ctx)
{
	exec_free(ctx);
}

static const struct ws_ops exec_ws_ops = {
	.message = on_message,
	.drained = on_drained,
	.closed = on_closed,
};

static void on_open(void *data, struct ws *ws)
{
	struct exec *x = data;

	x->ws = ws;
	if (!ws) {
		exec_free(x);
		return;
	}
	if (daemon_large_take(x->daemon, api_text_max(&api_exec_request))) {
		x->large = api_text_max(&api_exec_request);
		ws_set_message_max(ws, x->large);
	}
	ws_start(ws, &exec_ws_ops, x);
	loop_timer_arm(&x->timer, EXEC_REQUEST_MS);
}

void handle_vm_exec(struct request *r)
{
	struct vm *vm = request_vm(r);
	struct exec *x = vm ? calloc(1, sizeof(*x)) : NULL;

	if (!vm)
		return;
	if (!x) {
		request_json(r, 500, NULL, NULL);
		return;
	}
	x->daemon = r->daemon;
	memcpy(x->vm_id, vm->row.id, sizeof(x->vm_id));
	x->input = (struct buf)BUF_INIT(EXEC_INPUT_MAX);
	loop_timer_init(r->daemon->loop, &x->timer, on_timer, x);
	request_websocket(r, on_open, x);
}
