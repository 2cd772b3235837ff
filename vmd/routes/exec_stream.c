/* SPDX-License-Identifier: Apache-2.0 */
/* The messages of an exec connection, both ways. */
#include <string.h>

#include "api/names.h"
#include "api/validate.h"
#include "base/cleanup.h"
#include "base/json.h"
#include "vmd/routes/exec.h"

static void on_started(void *ctx, uint32_t guest_pid)
{
	guest_ws_tell(ctx, json_pack("{s:{s:I}}", "started", "pid",
				     (json_int_t)guest_pid));
}

static void on_data(void *ctx, enum wire_channel channel, const void *data,
		    size_t len)
{
	if (channel == WIRE_OUT || channel == WIRE_ERR)
		guest_ws_output(ctx, (int)channel, channel, data, len);
}

static void on_done(void *ctx, uint32_t status, uint32_t signal,
		    const struct err *e)
{
	struct guest_ws *g = ctx;

	g->stream = NULL;
	if (e)
		guest_ws_fail(g, e);
	else
		guest_ws_finish(g, json_pack("{s:{s:I, s:I}}", "exit", "status",
					     (json_int_t)status, "signal",
					     (json_int_t)signal));
}

const struct agent_stream_ops exec_stream_ops = {
	.started = on_started,
	.data = on_data,
	.writable = guest_ws_writable,
	.done = on_done,
};

void exec_input(struct exec *x, const uint8_t *data, size_t len)
{
	if (len == 0 || data[0] != 0)
		guest_ws_refuse(&x->g, "bad_channel",
				"a binary message begins with channel 0 "
				"(stdin)");
	else if (!x->g.input_open)
		guest_ws_refuse(&x->g, "stdin_closed",
				"input came after its end, or was not asked "
				"for with \"stdin\": true");
	else if (len == 1)
		guest_ws_input_end(&x->g);
	else
		guest_ws_input(&x->g, data + 1, len - 1);
}

void exec_control(struct exec *x, const uint8_t *data, size_t len)
{
	AUTO(json) json_t *message = NULL;
	struct err e = ERR_INIT;
	const json_t *resize;
	const char *signal;

	if (api_parse(&api_exec_control, (const char *)data, len, &message,
		      &e) < 0) {
		guest_ws_fail(&x->g, &e);
		return;
	}
	if (!x->g.stream)
		return;
	resize = json_object_get(message, "resize");
	signal = json_string_value(json_object_get(message, "signal"));
	if (resize)
		agent_stream_resize(
			x->g.stream,
			(uint16_t)json_integer_value(
				json_object_get(resize, "rows")),
			(uint16_t)json_integer_value(
				json_object_get(resize, "columns")));
	if (signal)
		agent_stream_signal(x->g.stream,
				    (uint32_t)api_signal_number(signal));
}
