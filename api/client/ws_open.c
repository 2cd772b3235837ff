/* SPDX-License-Identifier: Apache-2.0 */
/* Opening a WebSocket: the request, and the look at its answer, waiting or not. */
#include <errno.h>
#include <fcntl.h>
#include <nettle/base64.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "api/client/client.h"
#include "api/client/ws_internal.h"
#include "api/problem.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/sock.h"

/* Waits for events until the deadline. 0 or -ETIMEDOUT with *e set. */
static int wait_for(int fd, short events, uint64_t deadline_ms, struct err *e)
{
	struct pollfd p = { .fd = fd, .events = events };
	uint64_t now = clock_mono_ms();
	int n = 0;

	if (now < deadline_ms)
		n = poll(&p, 1, (int)(deadline_ms - now));
	if (n > 0 || (n < 0 && errno == EINTR))
		return 0;
	return err_set(e, ERR_TIMEOUT, "handshake_timeout", ETIMEDOUT,
		       "the daemon does not answer the WebSocket handshake");
}

static int send_all(int fd, const char *text, size_t len, uint64_t deadline_ms,
		    struct err *e)
{
	while (len > 0) {
		ssize_t n = send(fd, text, len, MSG_NOSIGNAL);
		int rc;

		if (n > 0) {
			text += n;
			len -= (size_t)n;
			continue;
		}
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return err_sys(e, errno, "WebSocket handshake");
		rc = wait_for(fd, POLLOUT, deadline_ms, e);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* Reads what there is into the buffer: 1, 0 when there is nothing yet, or an
 * error, also at the end of file. */
static int read_answer(struct api_ws *ws, struct err *e)
{
	uint8_t chunk[4096];
	ssize_t n = recv(ws->fd, chunk, sizeof(chunk), 0);

	if (n > 0)
		return buf_append(&ws->in, chunk, (size_t)n) == 0
			       ? 1
			       : err_set(e, ERR_PROTOCOL, "bad_handshake", 0,
					 "the daemon's answer to the WebSocket "
					 "handshake is too long");
	if (n == 0)
		return err_set(e, ERR_PROTOCOL, "bad_handshake", EPIPE,
			       "the daemon closed the connection during the "
			       "WebSocket handshake");
	if (errno != EAGAIN && errno != EINTR)
		return err_sys(e, errno, "WebSocket handshake");
	return 0;
}

/* The refusal's body, as far as it came, into *e. Always negative. */
static int refused(struct api_ws *ws, struct err *e)
{
	AUTO(json) json_t *problem = NULL;
	size_t length = ws->refusal_len;

	if (length > buf_len(&ws->in))
		length = buf_len(&ws->in);
	if (length > 0)
		(void)json_parse_strict((const char *)buf_head(&ws->in), length,
					"answer", &problem, NULL);
	return api_problem_to_err(problem, ws->refusal, e);
}

static int send_request(struct api_ws *ws, const char *path,
			uint64_t deadline_ms, struct err *e)
{
	char key[API_WS_KEY_LEN + 1];
	AUTO(buf) struct buf out = BUF_INIT(HEAD_MAX);
	uint8_t nonce[16];
	int rc;

	if (getrandom(nonce, sizeof(nonce), 0) != (ssize_t)sizeof(nonce))
		return err_sys(e, errno, "random numbers");
	base64_encode_raw(key, sizeof(nonce), nonce);
	key[API_WS_KEY_LEN] = '\0';
	api_ws_accept_value(key, ws->accept);
	rc = buf_printf(&out,
			"GET %s HTTP/1.1\r\nHost: vmd\r\n"
			"Upgrade: websocket\r\nConnection: Upgrade\r\n"
			"Sec-WebSocket-Key: %s\r\n"
			"Sec-WebSocket-Version: 13\r\n"
			"User-Agent: vmctl/" VMD_VERSION "\r\n\r\n",
			path, key);
	if (rc < 0)
		return err_sys(e, -rc, "WebSocket handshake");
	ws->shaking = true;
	return send_all(ws->fd, (const char *)buf_head(&out), buf_len(&out),
			deadline_ms, e);
}

/* Looks at the head of the answer. 0: more is needed, or it is a refusal. */
static int look_at_answer(struct api_ws *ws, struct err *e)
{
	const uint8_t *end = buf_len(&ws->in) < 4
				     ? NULL
				     : memmem(buf_head(&ws->in),
					      buf_len(&ws->in), "\r\n\r\n", 4);
	size_t head;
	int rc;

	if (!end && buf_len(&ws->in) > HEAD_MAX)
		return err_set(e, ERR_PROTOCOL, "bad_handshake", 0,
			       "the daemon's answer has too long a head");
	if (!end)
		return 0;
	head = (size_t)(end - buf_head(&ws->in)) + 4;
	rc = api_ws_check_answer((const char *)buf_head(&ws->in), head,
				 ws->accept, &ws->refusal_len, e);
	buf_consume(&ws->in, head);
	if (rc < 0)
		return rc;
	if (rc == 101)
		ws->shaking = false;
	else
		ws->refusal = rc;
	return 0;
}

int api_ws_shake_hands(struct api_ws *ws, struct err *e)
{
	struct err late = ERR_INIT;

	for (;;) {
		int rc = ws->refusal ? 0 : look_at_answer(ws, e);

		if (rc < 0 || !ws->shaking)
			return rc;
		if (ws->refusal && (buf_len(&ws->in) >= ws->refusal_len ||
				    ws->refusal_len > BODY_MAX))
			return refused(ws, e);
		rc = read_answer(ws, ws->refusal ? &late : e);
		if (rc < 0 && ws->refusal)
			return refused(ws, e);
		if (rc <= 0)
			return rc;
	}
}

int api_ws_open_fd(int fd, const char *path, unsigned timeout_ms,
		   api_ws_message_fn *fn, void *ctx, struct api_ws **ret,
		   struct err *e)
{
	uint64_t deadline_ms = clock_mono_ms() + timeout_ms;
	struct api_ws *ws = api_ws_new(fd, fn, ctx, e);
	int rc;

	if (!ws)
		return -ENOMEM;
	rc = send_request(ws, path, deadline_ms, e);
	while (rc == 0) {
		rc = api_ws_shake_hands(ws, e);
		if (rc < 0 || !ws->shaking)
			break;
		rc = wait_for(fd, POLLIN, deadline_ms, e);
	}
	return api_ws_finish(ws, rc, ret, e);
}

int api_ws_open(const char *socket_path, const char *path, unsigned timeout_ms,
		api_ws_message_fn *fn, void *ctx, struct api_ws **ret,
		struct err *e)
{
	struct api_patience patience = { 0 };
	struct err own = ERR_INIT;
	int fd, rc;

	if (!e)
		e = &own;
	for (;;) {
		rc = api_connect(socket_path, &patience, &fd, e);
		if (rc == 0)
			rc = api_ws_open_fd(fd, path, timeout_ms, fn, ctx, ret,
					    e);
		if (rc == 0 || e->kind != ERR_UNAVAILABLE ||
		    strncmp(e->code, "too_many_", 9) != 0 ||
		    !api_patience_wait(&patience, 1000))
			return rc;
		err_clear(e);
	}
}

int api_ws_begin(const char *socket_path, const char *path,
		 api_ws_message_fn *fn, void *ctx, struct api_ws **ret,
		 struct err *e)
{
	struct err why = ERR_INIT;
	struct api_ws *ws;
	int fd, rc;

	rc = sock_connect_unix(AT_FDCWD, socket_path, &fd, &why);
	if (rc < 0)
		return api_connect_error(socket_path, -rc, e);
	ws = api_ws_new(fd, fn, ctx, e);
	if (!ws)
		return -ENOMEM;
	/* A fresh socket takes it at once. */
	rc = send_request(ws, path, clock_mono_ms(), e);
	return api_ws_finish(ws, rc, ret, e);
}
