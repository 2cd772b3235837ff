/* SPDX-License-Identifier: Apache-2.0 */
/*
 * First byte 'h': the rest is the head of an answer to the handshake; else it is
 * frames of a hostile server.
 */
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

#include "api/client/ws.h"
#include "base/sock.h"
#include "tests/must.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void on_message(void *ctx, bool text, const uint8_t *data, size_t len)
{
	unsigned sum = 0;

	(void)ctx;
	(void)text;
	must(len <= API_WS_MESSAGE_MAX);
	for (size_t i = 0; i < len; i++)
		sum += data[i]; /* every byte must be readable */
	must(sum <= 255U * API_WS_MESSAGE_MAX);
}

static void fuzz_frames(const uint8_t *data, size_t size)
{
	struct api_ws *ws = NULL;
	struct err e = ERR_INIT;
	int fds[2];

	if (sock_pair(fds) < 0)
		return;
	(void)!write(fds[1], data, size);
	(void)shutdown(fds[1], SHUT_WR);
	if (api_ws_attach(fds[0], on_message, NULL, &ws, &e) == 0) {
		/* The end of file, at the latest, ends it. */
		for (int i = 0; i < 1000 && api_ws_handle(ws, &e) == 0; i++)
			must(i < 999);
		api_ws_free(ws);
	}
	(void)close(fds[1]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t length;
	struct err e = ERR_INIT;

	if (size == 0)
		return 0;
	if (data[0] == 'h')
		(void)api_ws_check_answer(
			(const char *)data + 1, size - 1,
			"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", &length, &e);
	else
		fuzz_frames(data + 1, size - 1);
	return 0;
}
