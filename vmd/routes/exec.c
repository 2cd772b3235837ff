/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GET exec: one command over one WebSocket. The first message says what to run;
 * guest_ws.c waits and bridges. With attach an ephemeral VM lives exactly as long
 * as the connection, also while it is still being created.
 */
#include "vmd/routes/exec.h"

#include <stdlib.h>

#include "api/validate.h"
#include "base/cleanup.h"
#include "base/json.h"
#include "vmd/vm/exec_request.h"

/* What a long request took of the daemon's share; at most `len` is kept. */
static void keep_large(struct exec *x, size_t len)
{
	if (len >= x->large)
		return;
	x->g.daemon->large_bytes -= x->large - len;
	x->large = len;
}

static void open_command(struct guest_ws *g, struct vm *vm, struct err *e)
{
	struct exec *x = (struct exec *)g;
	struct exec_request request;

	if (exec_request_build(x->request, "/bin/sh", &request, e) == 0)
		g->stream = agent_session_exec(vm->session, &request.wire,
					       &exec_stream_ops, x, e);
	exec_request_done(&request);
	if (!g->stream)
		return;
	json_decref(take_ptr(x->request));
	keep_large(x, 0);
	g->daemon->count.execs++;
}

static void on_timer(struct loop_timer *timer)
{
	struct exec *x = timer->data;

	if (x->g.asked)
		guest_ws_late(&x->g);
	else
		ws_close(x->g.ws, 1008, "no request came");
}

static void take_request(struct exec *x, const uint8_t *data, size_t len)
{
	struct vm *vm = vm_find_id(x->g.daemon, x->g.vm_id);
	struct err e = ERR_INIT;

	/* The rest are input and short orders. */
	ws_set_message_max(x->g.ws, WS_MESSAGE_MAX);
	keep_large(x, len > WS_MESSAGE_MAX ? len : 0);
	if (api_parse(&api_exec_request, (const char *)data, len, &x->request,
		      &e) < 0 ||
	    exec_request_check(x->request, &e) < 0) {
		guest_ws_fail(&x->g, &e);
		return;
	}
	x->g.input_open = json_is_true(json_object_get(x->request, "stdin"));
	if (vm && json_is_true(json_object_get(x->request, "attach"))) {
		x->attached = true;
		vm_attach(vm);
	}
	guest_ws_ask(&x->g);
}

static void on_message(void *ctx, bool text, const uint8_t *data, size_t len)
{
	struct exec *x = ctx;

	if (x->g.over)
		return;
	if (x->g.asked && text)
		exec_control(x, data, len);
	else if (x->g.asked)
		exec_input(x, data, len);
	else if (text)
		take_request(x, data, len);
	else
		guest_ws_refuse(&x->g, "exec_request_expected",
				"the first message must be the request as "
				"text");
}

static void exec_free(struct exec *x)
{
	struct vm *vm = vm_find_id(x->g.daemon, x->g.vm_id);

	guest_ws_done(&x->g);
	if (x->attached && vm)
		vm_detach(vm);
	json_decref(x->request);
	keep_large(x, 0);
	free(x);
}

static void on_closed(void *ctx)
{
	exec_free(ctx);
}

static const struct ws_ops exec_ws_ops = {
	.message = on_message,
	.drained = guest_ws_drained,
	.closed = on_closed,
};

static void on_open(void *data, struct ws *ws)
{
	struct exec *x = data;

	x->g.ws = ws;
	if (!ws) {
		exec_free(x);
		return;
	}
	if (daemon_large_take(x->g.daemon, api_text_max(&api_exec_request))) {
		x->large = api_text_max(&api_exec_request);
		ws_set_message_max(ws, x->large);
	}
	ws_start(ws, &exec_ws_ops, x);
	loop_timer_arm(&x->g.timer, EXEC_REQUEST_MS);
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
	guest_ws_init(&x->g, r->daemon, vm);
	x->g.open = open_command;
	x->g.purpose = "to run commands in it";
	loop_timer_init(r->daemon->loop, &x->g.timer, on_timer, x);
	request_websocket(r, on_open, x);
}
