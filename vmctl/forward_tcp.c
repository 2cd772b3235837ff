/* SPDX-License-Identifier: Apache-2.0 */
/* The links of vmctl forward, and its TCP connections. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/problem.h"
#include "base/cleanup.h"
#include "base/json.h"
#include "base/relay.h"
#include "vmctl/forward.h"

struct forward_conn {
	struct forward_link link;
	LIST_ENTRY(forward_conn) entry;
	struct relay relay;
	bool gone; /* the client's socket is closed */
	bool paused; /* the daemon's: the client does not read */
};

/* ---- links ------------------------------------------------------------------ */

static void tell(struct forward_link *l, const struct err *e)
{
	char text[900];

	l->failed = true;
	(void)snprintf(text, sizeof(text), "port %u: %s",
		       l->port->spec.guest_port, e->msg);
	ctx_warn(text);
	if (strcmp(e->code, "vm_not_found") == 0) {
		l->port->all->failure = *e;
		loop_stop(l->port->all->loop, 1);
	}
}

void forward_link_event(struct forward_link *l, const uint8_t *data, size_t len)
{
	AUTO(json) json_t *event = NULL;
	struct err e = ERR_INIT;
	const json_t *error;

	if (json_parse_strict((const char *)data, len, "message", &event,
			      NULL) < 0)
		return;
	error = json_object_get(event, "error");
	if (!json_is_object(error))
		return;
	(void)api_problem_to_err(error, 0, &e);
	tell(l, &e);
}

static void opened(struct forward_link *l)
{
	if (!l->opening)
		return;
	l->opening = false;
	l->port->all->opening--;
	forward_room(l->port->all);
}

/* Reads and writes what is possible. Last act of a caller. */
static void handle(struct forward_link *l)
{
	struct err e = ERR_INIT;

	if (api_ws_handle(l->ws, &e) < 0) {
		if (!l->failed && strcmp(e.code, "connection_closed") != 0)
			tell(l, &e);
		l->ended(l);
		return;
	}
	if (!api_ws_opening(l->ws))
		opened(l);
	l->moved(l);
}

static void on_source(struct loop_source *source, uint32_t events)
{
	(void)events;
	handle(source->data);
}

static void on_again(struct loop_timer *timer)
{
	handle(timer->data);
}

bool forward_link_open(struct forward_link *l, struct forward_port *port,
		       api_ws_message_fn *fn)
{
	struct err e = ERR_INIT;

	l->port = port;
	l->source = (struct loop_source)LOOP_SOURCE_INIT;
	loop_timer_init(port->all->loop, &l->again, on_again, l);
	if (api_ws_begin(port->all->socket_path, port->path, fn, l, &l->ws,
			 &e) < 0) {
		tell(l, &e);
		return false;
	}
	l->opening = true;
	port->all->opening++;
	return loop_add(port->all->loop, &l->source, api_ws_fd(l->ws), EPOLLIN,
			on_source, l) == 0;
}

void forward_link_update(struct forward_link *l)
{
	/* poll() and epoll have the same bits for these. */
	uint32_t events = (uint32_t)api_ws_events(l->ws);

	if (events != l->source.events)
		(void)loop_modify(&l->source, events);
}

void forward_link_close(struct forward_link *l)
{
	loop_remove(&l->source);
	loop_timer_disarm(&l->again);
	opened(l);
	api_ws_free(take_ptr(l->ws));
}

/* ---- connections ------------------------------------------------------------- */

static void conn_free(struct forward_conn *c)
{
	struct forward *f = c->link.port->all;

	relay_reset(&c->relay);
	forward_link_close(&c->link);
	LIST_REMOVE(c, entry);
	f->conn_count--;
	free(c);
	forward_room(f);
}

static size_t on_room(void *ctx)
{
	struct forward_conn *c = ctx;

	return c->link.ws && api_ws_queued(c->link.ws) < FORWARD_QUEUE_MAX
		       ? RELAY_PIECE
		       : 0;
}

static bool on_write(void *ctx, const void *data, size_t len)
{
	struct forward_conn *c = ctx;
	int rc = api_ws_send(c->link.ws, false, data, len);

	forward_link_update(&c->link);
	return rc == 0;
}

static void on_write_end(void *ctx)
{
	(void)on_write(ctx, "", 0);
}

/* The client has taken something: the daemon may send more. */
static void on_taken(void *ctx, size_t len)
{
	struct forward_conn *c = ctx;

	(void)len;
	if (!c->paused || buf_len(&c->relay.out) > FORWARD_QUEUE_MAX / 2)
		return;
	c->paused = false;
	api_ws_pause(c->link.ws, false);
	loop_timer_arm_soon(&c->link.again);
}

/* The client has gone. We may be inside of api_ws_handle(): freed a little later. */
static void on_closed(void *ctx)
{
	struct forward_conn *c = ctx;

	c->gone = true;
	loop_timer_arm_soon(&c->link.again);
}

static const struct relay_ops client_ops = {
	.room = on_room,
	.write = on_write,
	.write_end = on_write_end,
	.taken = on_taken,
	.closed = on_closed,
};

static void on_message(void *ctx, bool text, const uint8_t *data, size_t len)
{
	struct forward_conn *c = ctx;

	if (text) {
		forward_link_event(&c->link, data, len);
	} else if (c->gone || c->relay.out_end) {
		return;
	} else if (len == 0) {
		relay_put_end(&c->relay);
	} else if (relay_put(&c->relay, data, len) &&
		   buf_len(&c->relay.out) > FORWARD_QUEUE_MAX) {
		c->paused = true;
		api_ws_pause(c->link.ws, true);
	}
}

static void on_moved(struct forward_link *l)
{
	struct forward_conn *c = (struct forward_conn *)l;

	if (c->gone) {
		conn_free(c);
		return;
	}
	relay_wake(&c->relay);
	if (!c->gone)
		forward_link_update(l);
}

/* Both sent their end: all is well, whatever is still on its way to the client.
 * Anything else is a reset. */
static void on_ended(struct forward_link *l)
{
	struct forward_conn *c = (struct forward_conn *)l;

	if (c->gone || l->failed || !c->relay.in_end || !c->relay.out_end) {
		conn_free(c);
		return;
	}
	/* Closes when the client has everything; then we come here again. */
	loop_remove(&l->source);
	relay_finish(&c->relay);
}

void forward_accept(void *ctx, int fd)
{
	struct forward_port *p = ctx;
	struct forward *f = p->all;
	struct forward_conn *c = calloc(1, sizeof(*c));

	if (!c) {
		(void)close(fd);
		return;
	}
	c->link.moved = on_moved;
	c->link.ended = on_ended;
	c->link.port = p;
	c->link.source = (struct loop_source)LOOP_SOURCE_INIT;
	LIST_INSERT_HEAD(&f->conns, c, entry);
	f->conn_count++;
	/* Over what is kept before the pause: a message that was under way. */
	if (relay_open(&c->relay, f->loop, fd,
		       FORWARD_QUEUE_MAX + 2 * API_WS_MESSAGE_MAX, &client_ops,
		       c) < 0 ||
	    !forward_link_open(&c->link, p, on_message)) {
		conn_free(c);
		return;
	}
	relay_wake(&c->relay);
	forward_room(f);
}

void forward_end_all(struct forward *f)
{
	while (!LIST_EMPTY(&f->conns))
		conn_free(LIST_FIRST(&f->conns));
	forward_flows_end(f);
}
