/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See monitor_control.h. The monitor binds the socket a moment after it was
 * started, so the connection is tried again until it stands; the end of the
 * monitor (its owner watches that) ends the trying.
 */
#include "vmd/engines/microvm/monitor_control.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "base/sock.h"

enum {
	RETRY_FIRST_MS = 2,
	RETRY_MAX_MS = 500
};

static const char ask_watch[] = "{\"action\":\"watch\"}\n";
static const char ask_resume[] = "{\"action\":\"resume\"}\n"
				 "{\"action\":\"status\"}\n";
static const char ask_shutdown[] = "{\"action\":\"shutdown\"}\n";

static void retry_later(struct monitor_control *c)
{
	uint64_t ms = (uint64_t)RETRY_FIRST_MS << (c->tries < 9 ? c->tries : 9);

	c->tries++;
	loop_timer_arm(&c->retry, ms < RETRY_MAX_MS ? ms : RETRY_MAX_MS);
}

static void disconnect(struct monitor_control *c)
{
	loop_remove(&c->source);
	close_fd(&c->fd);
	c->used = 0;
}

/* Short lines into an empty socket: all of it or a broken peer. */
static int say(struct monitor_control *c, const char *text)
{
	size_t len = strlen(text);

	if (c->fd < 0)
		return -ENOTCONN;
	return send(c->fd, text, len, MSG_NOSIGNAL | MSG_DONTWAIT) ==
			       (ssize_t)len
		       ? 0
		       : -EPIPE;
}

static void take_line(struct monitor_control *c, const char *text, size_t len)
{
	AUTO(json) json_t *j = NULL;
	const char *state;

	if (json_parse_strict(text, len, "monitor", &j, NULL) < 0)
		return;
	state = json_string_value(json_object_get(j, "state"));
	if (state)
		c->fn(c->ctx, state,
		      json_string_value(json_object_get(j, "reason")));
}

/* false: the owner or a broken peer has closed the connection. */
static bool take_lines(struct monitor_control *c)
{
	char *nl;

	while (c->fd >= 0 && (nl = memchr(c->line, '\n', c->used))) {
		size_t len = (size_t)(nl - c->line);

		take_line(c, c->line, len);
		if (c->fd < 0)
			return false;
		c->used -= len + 1;
		memmove(c->line, c->line + len + 1, c->used);
	}
	return c->fd >= 0 && c->used < sizeof(c->line);
}

static void on_io(struct loop_source *source, uint32_t events)
{
	struct monitor_control *c = source->data;
	ssize_t n = recv(c->fd, c->line + c->used, sizeof(c->line) - c->used,
			 MSG_DONTWAIT);

	(void)events;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0) {
		c->used += (size_t)n;
		if (take_lines(c))
			return;
	}
	if (c->fd >= 0) {
		disconnect(c);
		retry_later(c);
	}
}

static void connect_now(struct monitor_control *c)
{
	int fd = -1;

	if (sock_connect_unix(c->dirfd, "control.sock", &fd, NULL) < 0 ||
	    loop_add(c->loop, &c->source, fd, EPOLLIN, on_io, c) < 0) {
		close_fd(&fd);
		retry_later(c);
		return;
	}
	c->fd = fd;
	c->tries = 0;
	if (say(c, ask_watch) < 0) {
		disconnect(c);
		retry_later(c);
	}
}

static void on_retry(struct loop_timer *timer)
{
	connect_now(timer->data);
}

void monitor_control_init(struct monitor_control *c)
{
	c->loop = NULL;
	c->fd = c->dirfd = c->source.fd = -1;
	c->used = 0;
	c->tries = 0;
}

void monitor_control_open(struct monitor_control *c, struct loop *loop,
			  int dirfd, monitor_state_fn *fn, void *ctx)
{
	c->loop = loop;
	c->dirfd = dirfd;
	c->fn = fn;
	c->ctx = ctx;
	loop_timer_init(loop, &c->retry, on_retry, c);
	connect_now(c);
}

int monitor_control_shutdown(struct monitor_control *c, struct err *e)
{
	int rc = say(c, ask_shutdown);

	return rc < 0 ? err_set(e, ERR_UNAVAILABLE, "monitor_unreachable", -rc,
				"the microVM monitor does not answer: the "
				"power button cannot be pressed")
		      : 0;
}

void monitor_control_resume(struct monitor_control *c)
{
	(void)say(c, ask_resume); /* or the next connection sees it paused */
}

void monitor_control_close(struct monitor_control *c)
{
	if (!c->loop)
		return;
	loop_timer_disarm(&c->retry);
	disconnect(c);
}
