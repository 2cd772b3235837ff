/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes of an exec connection, with back-pressure both ways: the guest gets
 * new credit when the socket has written its output, the socket is read when the
 * guest has taken the input. Neither side can make the daemon grow beyond one
 * window and two messages.
 */
#include <string.h>

#include "api/names.h"
#include "api/validate.h"
#include "base/cleanup.h"
#include "base/json.h"
#include "vmd/exec.h"

static void on_started(void *ctx, uint32_t guest_pid)
{
	exec_tell(ctx, json_pack("{s:{s:I}}", "started", "pid",
				 (json_int_t)guest_pid));
}

static void on_data(void *ctx, enum wire_channel channel, const void *data,
		    size_t len)
{
	struct exec *x = ctx;

	if (channel != WIRE_OUT && channel != WIRE_ERR)
		return;
	if (ws_send(x->ws, false, (int)channel, data, len))
		x->unwritten[channel - WIRE_OUT] += len;
}

void exec_drained(struct exec *x)
{
	for (unsigned i = 0; i < 2; i++) {
		size_t len = x->unwritten[i];

		x->unwritten[i] = 0;
		if (len && x->stream)
			agent_stream_consumed(x->stream,
					      (enum wire_channel)(WIRE_OUT + i),
					      len);
	}
}

static void on_writable(void *ctx)
{
	exec_push_input(ctx);
}

static void on_done(void *ctx, uint32_t status, uint32_t signal,
		    const struct err *e)
{
	struct exec *x = ctx;

	x->stream = NULL;
	if (e)
		exec_fail(x, e);
	else
		exec_finish(x, json_pack("{s:{s:I, s:I}}", "exit", "status",
					 (json_int_t)status, "signal",
					 (json_int_t)signal));
}

const struct agent_stream_ops exec_stream_ops = {
	.started = on_started,
	.data = on_data,
	.writable = on_writable,
	.done = on_done,
};

void exec_push_input(struct exec *x)
{
	if (!x->stream)
		return;
	while (buf_len(&x->input)) {
		size_t n = agent_stream_write(x->stream, buf_head(&x->input),
					      buf_len(&x->input));

		if (n == 0)
			break;
		buf_consume(&x->input, n);
	}
	if (x->input_eof && buf_len(&x->input) == 0) {
		x->input_eof = false;
		agent_stream_write_eof(x->stream);
	}
	ws_pause(x->ws, buf_len(&x->input) > 0);
}

static void refuse(struct exec *x, const char *code, const char *text)
{
	struct err e = ERR_INIT;

	(void)err_set(&e, ERR_INVALID, code, 0, "%s", text);
	exec_fail(x, &e);
}

void exec_input(struct exec *x, const uint8_t *data, size_t len)
{
	if (len == 0 || data[0] != 0) {
		refuse(x, "bad_channel",
		       "a binary message begins with channel 0 (stdin)");
		return;
	}
	if (!x->input_open) {
		refuse(x, "stdin_closed",
		       "input came after its end, or was not asked for with "
		       "\"stdin\": true");
		return;
	}
	if (len == 1) {
		x->input_open = false;
		x->input_eof = true;
	} else if (buf_append(&x->input, data + 1, len - 1) < 0) {
		refuse(x, "no_memory", "there is no room for this input");
		return;
	}
	/* Early input waits in the socket, not here. */
	if (!x->stream)
		ws_pause(x->ws, buf_len(&x->input) > WS_QUEUE_LOW);
	exec_push_input(x);
}

void exec_control(struct exec *x, const uint8_t *data, size_t len)
{
	AUTO(json) json_t *message = NULL;
	struct err e = ERR_INIT;
	const json_t *resize;
	const char *signal;

	if (api_parse(&api_exec_control, (const char *)data, len, &message,
		      &e) < 0) {
		exec_fail(x, &e);
		return;
	}
	if (!x->stream)
		return;
	resize = json_object_get(message, "resize");
	signal = json_string_value(json_object_get(message, "signal"));
	if (resize)
		agent_stream_resize(
			x->stream,
			(uint16_t)json_integer_value(
				json_object_get(resize, "rows")),
			(uint16_t)json_integer_value(
				json_object_get(resize, "columns")));
	if (signal)
		agent_stream_signal(x->stream,
				    (uint32_t)api_signal_number(signal));
}
