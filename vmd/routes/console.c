/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The console of a VM over WebSocket: any number of clients see its output and
 * may type. A client that does not read is cut off when WS_QUEUE_HIGH bytes wait
 * for it: it never slows the guest or the others.
 */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "vmd/routes/handlers.h"

enum {
	INPUT_MAX = 65536,
	INPUT_RETRY_MS = 20
};

struct console {
	struct vm_console_user user;
	struct daemon *daemon;
	char vm_id[ID_LEN + 1];
	bool listed;
	bool replay;
	struct ws *ws;
	struct buf input; /* the guest's console was full */
	struct loop_timer retry;
};

static void console_free(struct console *c)
{
	loop_timer_disarm(&c->retry);
	if (c->listed)
		LIST_REMOVE(&c->user, link);
	buf_done(&c->input);
	free(c);
}

static void on_output(struct vm_console_user *u, const void *data, size_t len)
{
	struct console *c = (struct console *)u;

	if (ws_queued(c->ws) > WS_QUEUE_HIGH) {
		LIST_REMOVE(&c->user, link);
		c->listed = false;
		ws_close(c->ws, 1013, "too slow: output was lost");
		return;
	}
	(void)ws_send(c->ws, false, -1, data, len);
}

static void on_gone(struct vm_console_user *u)
{
	struct console *c = (struct console *)u;

	c->listed = false;
	ws_close(c->ws, 1000, "the VM is gone");
}

static void push_input(struct console *c)
{
	struct vm *vm = vm_find_id(c->daemon, c->vm_id);

	while (vm && vm->handle && buf_len(&c->input)) {
		ssize_t n = vm->engine->console_write(
			vm->handle, buf_head(&c->input), buf_len(&c->input));

		if (n <= 0)
			break;
		buf_consume(&c->input, (size_t)n);
	}
	if (!vm || !vm->handle)
		buf_consume(&c->input, buf_len(&c->input));
	ws_pause(c->ws, buf_len(&c->input) > 0);
	if (buf_len(&c->input))
		loop_timer_arm(&c->retry, INPUT_RETRY_MS);
}

static void on_retry(struct loop_timer *timer)
{
	push_input(timer->data);
}

static void on_message(void *ctx, bool text, const uint8_t *data, size_t len)
{
	struct console *c = ctx;

	(void)text;
	if (buf_append(&c->input, data, len) < 0) {
		ws_close(c->ws, 1009, "more than 64 KiB at once");
		return;
	}
	push_input(c);
}

static void on_closed(void *ctx)
{
	console_free(ctx);
}

static const struct ws_ops console_ops = {
	.message = on_message,
	.closed = on_closed,
};

static void on_open(void *data, struct ws *ws)
{
	struct console *c = data;
	struct vm *vm = vm_find_id(c->daemon, c->vm_id);
	uint8_t last[CONSOLE_KEEP_BYTES];

	c->ws = ws;
	if (!ws) {
		console_free(c);
		return;
	}
	ws_start(ws, &console_ops, c);
	if (!vm) {
		ws_close(ws, 1000, "the VM is gone");
		return;
	}
	if (c->replay) {
		size_t len = vm_console_replay(vm, last, sizeof(last));

		if (len)
			(void)ws_send(ws, false, -1, last, len);
	}
	LIST_INSERT_HEAD(&vm->console_users, &c->user, link);
	c->listed = true;
}

void handle_vm_console(struct request *r)
{
	struct vm *vm = request_vm(r);
	struct console *c = vm ? calloc(1, sizeof(*c)) : NULL;

	if (!vm)
		return;
	if (!c) {
		request_json(r, 500, NULL, NULL);
		return;
	}
	c->user.output = on_output;
	c->user.gone = on_gone;
	c->daemon = r->daemon;
	memcpy(c->vm_id, vm->row.id, sizeof(c->vm_id));
	c->replay = request_query_bool(r, "replay");
	c->input = (struct buf)BUF_INIT(INPUT_MAX);
	loop_timer_init(r->daemon->loop, &c->retry, on_retry, c);
	request_websocket(r, on_open, c);
}
