/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GET dial: one connection to a port of the guest over one WebSocket, for `vmctl
 * forward`. Binary messages both ways are bytes; an empty one is the end of that
 * direction (a half-close). UDP: each message is a datagram, and there is no end. A
 * socket that is closed before both directions have ended is a reset.
 */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "vmd/routes/guest_ws.h"

struct dial {
	struct guest_ws g;
	uint16_t port;
	bool udp;
};

static void on_started(void *ctx, uint32_t guest_pid)
{
	(void)guest_pid;
	guest_ws_tell(ctx, json_pack("{s:{}}", "connected"));
}

static void on_data(void *ctx, enum wire_channel channel, const void *data,
		    size_t len)
{
	struct dial *d = ctx;

	/* Nobody waits for a datagram: with no room for it, it is lost. */
	if (d->udp && ws_queued(d->g.ws) > WS_QUEUE_HIGH)
		agent_stream_consumed(d->g.stream, channel, len);
	else
		guest_ws_output(&d->g, -1, channel, data, len);
}

static void on_eof(void *ctx, enum wire_channel channel)
{
	struct dial *d = ctx;

	(void)channel;
	(void)ws_send(d->g.ws, false, -1, "", 0);
}

static void on_done(void *ctx, uint32_t status, uint32_t signal,
		    const struct err *e)
{
	struct dial *d = ctx;

	(void)status;
	(void)signal;
	d->g.stream = NULL;
	if (e)
		guest_ws_fail(&d->g, e);
	else
		guest_ws_finish(&d->g, NULL);
}

static const struct agent_stream_ops dial_ops = {
	.started = on_started,
	.data = on_data,
	.eof = on_eof,
	.writable = guest_ws_writable,
	.done = on_done,
};

static void open_connection(struct guest_ws *g, struct vm *vm, struct err *e)
{
	struct dial *d = (struct dial *)g;

	g->stream =
		agent_session_dial(vm->session, d->udp ? WIRE_UDP : WIRE_TCP,
				   d->port, &dial_ops, d, e);
}

static void take_datagram(struct dial *d, const uint8_t *data, size_t len)
{
	if (len > WIRE_DATAGRAM_MAX)
		guest_ws_refuse(&d->g, "datagram_too_long",
				"a datagram has at most 65535 bytes");
	else if (d->g.stream)
		(void)agent_stream_write_datagram(d->g.stream, data, len);
}

static void on_message(void *ctx, bool text, const uint8_t *data, size_t len)
{
	struct dial *d = ctx;

	if (d->g.over)
		return;
	if (text)
		guest_ws_refuse(&d->g, "bad_message",
				"a connection takes binary messages only");
	else if (d->udp)
		take_datagram(d, data, len);
	else if (!d->g.input_open)
		guest_ws_refuse(&d->g, "bad_message",
				"bytes came after the end that an empty "
				"message is");
	else if (len == 0)
		guest_ws_input_end(&d->g);
	else
		guest_ws_input(&d->g, data, len);
}

static void dial_free(struct dial *d)
{
	guest_ws_done(&d->g);
	free(d);
}

static void on_closed(void *ctx)
{
	dial_free(ctx);
}

static const struct ws_ops dial_ws_ops = {
	.message = on_message,
	.drained = guest_ws_drained,
	.closed = on_closed,
};

static void on_timer(struct loop_timer *timer)
{
	guest_ws_late(timer->data);
}

static void on_open(void *data, struct ws *ws)
{
	struct dial *d = data;

	d->g.ws = ws;
	if (!ws) {
		dial_free(d);
		return;
	}
	ws_start(ws, &dial_ws_ops, d);
	d->g.input_open = true;
	guest_ws_ask(&d->g);
}

void handle_vm_dial(struct request *r)
{
	struct vm *vm = request_vm(r);
	struct dial *d = vm ? calloc(1, sizeof(*d)) : NULL;

	if (!vm)
		return;
	if (!d) {
		request_json(r, 500, NULL, NULL);
		return;
	}
	guest_ws_init(&d->g, r->daemon, vm);
	d->g.open = open_connection;
	d->g.purpose = "to connect to it";
	d->port = (uint16_t)request_query_u64(r, "port");
	d->udp = strcmp(request_query_text(r, "protocol"), "udp") == 0;
	loop_timer_init(r->daemon->loop, &d->g.timer, on_timer, d);
	request_websocket(r, on_open, d);
}
