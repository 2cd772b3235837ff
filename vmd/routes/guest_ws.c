/* SPDX-License-Identifier: Apache-2.0 */
/* See guest_ws.h. */
#include "vmd/routes/guest_ws.h"

#include <string.h>

#include "api/problem.h"
#include "base/cleanup.h"
#include "base/json.h"

void guest_ws_tell(struct guest_ws *g, json_t *steal_message)
{
	AUTO(json) json_t *message = steal_message;
	AUTO(free) char *text = message ? json_to_text(message) : NULL;

	if (text)
		(void)ws_send(g->ws, true, -1, text, strlen(text));
}

void guest_ws_finish(struct guest_ws *g, json_t *steal_message)
{
	if (g->over) {
		json_decref(steal_message);
		return;
	}
	g->over = true;
	watch_remove(&g->watch);
	loop_timer_disarm(&g->timer);
	guest_ws_tell(g, steal_message);
	ws_close(g->ws, 1000, "");
}

void guest_ws_fail(struct guest_ws *g, const struct err *e)
{
	guest_ws_finish(g,
			json_pack("{s:o}", "error", api_problem_new(e, NULL)));
}

static void fail_gone(struct guest_ws *g)
{
	const struct obituary *o = daemon_obituary(g->daemon, g->vm_id);
	struct err e = ERR_INIT;

	if (o && o->why.kind != ERR_NONE)
		e = o->why;
	else
		(void)err_set(&e, ERR_NOT_FOUND, "vm_not_found", 0,
			      "the VM was removed");
	guest_ws_fail(g, &e);
}

static void fail_resting(struct guest_ws *g, const struct vm *vm)
{
	struct err e = vm->row.error;

	if (e.kind == ERR_NONE)
		(void)err_set(&e, ERR_CONFLICT, "wrong_state", 0,
			      "VM '%s' is %s: start it %s", vm->row.name,
			      api_vm_state_name(vm->row.state), g->purpose);
	guest_ws_fail(g, &e);
}

static void tell_progress(struct guest_ws *g, const struct vm *vm)
{
	const char *step = vm->op ? vm->op->row.step : "";
	char now[sizeof(g->told)];

	(void)snprintf(now, sizeof(now), "%s %s",
		       api_vm_state_name(vm->row.state), step);
	if (strcmp(now, g->told) == 0)
		return;
	memcpy(g->told, now, sizeof(now));
	guest_ws_tell(g, json_pack("{s:{s:s, s:s}}", "progress", "state",
				   api_vm_state_name(vm->row.state), "step",
				   step));
}

static void push_input(struct guest_ws *g)
{
	if (!g->stream)
		return;
	while (buf_len(&g->input)) {
		size_t n = agent_stream_write(g->stream, buf_head(&g->input),
					      buf_len(&g->input));

		if (n == 0)
			break;
		buf_consume(&g->input, n);
	}
	if (g->input_eof && buf_len(&g->input) == 0) {
		g->input_eof = false;
		agent_stream_write_eof(g->stream);
	}
	ws_pause(g->ws, buf_len(&g->input) > 0);
}

static void start(struct guest_ws *g, struct vm *vm)
{
	struct err e = ERR_INIT;

	g->running = true;
	watch_remove(&g->watch);
	loop_timer_disarm(&g->timer);
	/* Said once: to the one who started the VM, not for each stream. */
	if (vm->row.emulated && g->told[0])
		guest_ws_tell(g, json_pack("{s:s}", "warning",
					   vm->row.engine_reason));
	g->open(g, vm, &e);
	if (g->stream)
		push_input(g);
	else
		guest_ws_fail(g, &e);
}

static void look(struct guest_ws *g)
{
	struct vm *vm = vm_find_id(g->daemon, g->vm_id);

	if (g->running || g->over || !g->asked)
		return;
	if (!vm)
		fail_gone(g);
	else if (vm->row.state == API_VM_READY && vm->session &&
		 agent_session_ready(vm->session))
		start(g, vm);
	else if (vm_rests(vm))
		fail_resting(g, vm);
	else
		tell_progress(g, vm);
}

static void on_watch(struct watch *w)
{
	look(w->data);
}

void guest_ws_ask(struct guest_ws *g)
{
	g->asked = true;
	loop_timer_arm(&g->timer, GUEST_AGENT_MS);
	watch_add(g->daemon, &g->watch, g->vm_id, on_watch, g);
	look(g);
}

void guest_ws_late(struct guest_ws *g)
{
	struct vm *vm = vm_find_id(g->daemon, g->vm_id);
	struct err e = ERR_INIT;

	if (vm && vm->op) { /* it has a deadline of its own */
		loop_timer_arm(&g->timer, GUEST_AGENT_MS);
		return;
	}
	(void)err_set(&e, ERR_TIMEOUT, "guest_not_ready", 0,
		      "the agent of VM '%s' has not answered for %d s",
		      vm ? vm->row.name : g->vm_id, GUEST_AGENT_MS / 1000);
	guest_ws_fail(g, &e);
}

void guest_ws_init(struct guest_ws *g, struct daemon *d, const struct vm *vm)
{
	g->daemon = d;
	memcpy(g->vm_id, vm->row.id, sizeof(g->vm_id));
	g->input = (struct buf)BUF_INIT(GUEST_INPUT_MAX);
}

void guest_ws_done(struct guest_ws *g)
{
	watch_remove(&g->watch);
	loop_timer_disarm(&g->timer);
	if (g->stream)
		agent_stream_close(take_ptr(g->stream));
	buf_done(&g->input);
}

void guest_ws_writable(void *ctx)
{
	push_input(ctx);
}

void guest_ws_refuse(struct guest_ws *g, const char *code, const char *text)
{
	struct err e = ERR_INIT;

	(void)err_set(&e, ERR_INVALID, code, 0, "%s", text);
	guest_ws_fail(g, &e);
}

void guest_ws_input(struct guest_ws *g, const uint8_t *data, size_t len)
{
	if (buf_append(&g->input, data, len) < 0) {
		guest_ws_refuse(g, "no_memory",
				"there is no room for this input");
		return;
	}
	/* Early input waits in the socket, not here. */
	if (!g->stream)
		ws_pause(g->ws, buf_len(&g->input) > WS_QUEUE_LOW);
	push_input(g);
}

void guest_ws_input_end(struct guest_ws *g)
{
	g->input_open = false;
	g->input_eof = true;
	push_input(g);
}

void guest_ws_output(struct guest_ws *g, int prefix, enum wire_channel channel,
		     const void *data, size_t len)
{
	if (ws_send(g->ws, false, prefix, data, len))
		g->unwritten[channel - WIRE_OUT] += len;
}

void guest_ws_drained(void *ctx)
{
	struct guest_ws *g = ctx;

	for (unsigned i = 0; i < 2; i++) {
		size_t len = g->unwritten[i];

		g->unwritten[i] = 0;
		if (len && g->stream)
			agent_stream_consumed(g->stream,
					      (enum wire_channel)(WIRE_OUT + i),
					      len);
	}
}
