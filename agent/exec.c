/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands while they run: their pipes or terminal, their end.
 *
 * A command has its own session and process group; signals go to the group.
 * Its output is read only with credit and room in the queue. EXIT is sent when
 * the process has ended and everything it had written before was sent; output
 * of children it left behind is not waited for.
 *
 * The agent holds a terminal's slave side as well: a command may close its own
 * descriptors some time before it ends, and closing the master then, on the
 * EIO, would be a hangup and kill it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "agent/agent.h"

static void close_slot(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
	*fd = -1;
}

static void close_input(struct command *c)
{
	if (c->tty)
		c->in = -1; /* the same descriptor as the output */
	close_slot(&c->in);
	free(c->pending);
	c->pending = NULL;
	c->pending_start = c->pending_end = 0;
}

static void close_all(struct command *c)
{
	close_input(c);
	close_slot(&c->out);
	close_slot(&c->err);
	close_slot(&c->slave);
}

static bool tag_known(const struct agent *a, uint32_t tag)
{
	for (size_t i = 0; i < DETACHED_MAX; i++)
		if (a->detached[i].used && a->detached[i].tag == tag)
			return true;
	return false;
}

static struct detached *detached_slot(struct agent *a)
{
	for (size_t i = 0; i < DETACHED_MAX; i++)
		if (!a->detached[i].used)
			return &a->detached[i];
	return NULL;
}

static void detached_note(struct agent *a, uint32_t tag, pid_t pid)
{
	struct detached *d = detached_slot(a);

	/* request_allowed() has seen a free one. */
	if (d)
		*d = (struct detached){
			.used = true, .running = true, .tag = tag, .pid = pid
		};
}

static bool request_allowed(struct agent *a, const struct wire_exec *req,
			    struct failure *f)
{
	if (!(req->flags & WIRE_EXEC_DETACHED))
		return true;
	if (req->flags & (WIRE_EXEC_TTY | WIRE_EXEC_STDIN)) {
		failure_set(f, 0, WIRE_CODE_BAD_REQUEST,
			    "a detached command has no terminal and no input");
		return false;
	}
	if (tag_known(a, req->tag)) {
		failure_set(f, 0, WIRE_CODE_BAD_REQUEST,
			    "tag %u is in use by another detached command",
			    (unsigned int)req->tag);
		return false;
	}
	if (!detached_slot(a)) {
		failure_set(f, EBUSY, WIRE_CODE_BUSY,
			    "%d detached commands are on record", DETACHED_MAX);
		return false;
	}
	return true;
}

static void send_started(struct agent *a, uint32_t id, pid_t pid)
{
	uint8_t payload[4];
	struct wire_cursor c = wire_writer(payload, sizeof(payload));

	wire_write_u32(&c, (uint32_t)pid);
	outq_frame(&a->out, WIRE_STARTED, 0, id, payload, sizeof(payload));
}

void exec_parts_drop(struct agent *a)
{
	free(a->parts.data);
	memset(&a->parts, 0, sizeof(a->parts));
}

/* One byte more than has come: the last string gets its NUL there. */
static bool parts_add(struct agent *a, const uint8_t *data, size_t len,
		      struct failure *f)
{
	struct request_parts *p = &a->parts;
	size_t room = p->room ? p->room : WIRE_PAYLOAD_MAX + 1;
	uint8_t *grown;

	if (len > WIRE_EXEC_MAX - p->len) {
		failure_set(f, E2BIG, WIRE_CODE_NOT_EXEC,
			    "the command has more than %d bytes",
			    WIRE_EXEC_MAX);
		return false;
	}
	while (room < p->len + len + 1)
		room *= 2;
	if (room != p->room) {
		grown = realloc(p->data, room);
		if (!grown) {
			failure_set(f, ENOMEM, WIRE_CODE_IO,
				    "cannot take a command of %zu bytes",
				    p->len + len);
			return false;
		}
		p->data = grown;
		p->room = room;
	}
	if (len)
		memcpy(p->data + p->len, data, len);
	p->len += len;
	return true;
}

void exec_part(struct agent *a, struct stream *st, const uint8_t *payload,
	       size_t len)
{
	struct failure f;

	if (a->parts.stream && a->parts.stream != st->id) {
		failure_set(&f, 0, WIRE_CODE_BAD_REQUEST,
			    "two commands in pieces at once");
		stream_fail(a, st, &f);
		return;
	}
	a->parts.stream = st->id;
	if (!parts_add(a, payload, len, &f))
		stream_fail(a, st, &f);
}

static void run_request(struct agent *a, struct stream *st,
			const struct wire_exec *req)
{
	struct command *c;
	struct failure f;

	if (!request_allowed(a, req, &f)) {
		stream_fail(a, st, &f);
		return;
	}
	c = calloc(1, sizeof(*c));
	if (!c) {
		failure_set(&f, ENOMEM, WIRE_CODE_IO, "cannot start a command");
		stream_fail(a, st, &f);
		return;
	}
	c->in = c->out = c->err = c->slave = -1;
	if (!spawn_command(a, req, c, &f)) {
		free(c);
		stream_fail(a, st, &f);
		return;
	}
	c->next = a->commands;
	a->commands = c;
	send_started(a, st->id, c->pid);
	if (req->flags & WIRE_EXEC_DETACHED) {
		detached_note(a, req->tag, c->pid);
		stream_done(a, st); /* its end comes as DETACHED */
		return;
	}
	c->stream = st;
	st->command = c;
}

void exec_open(struct agent *a, struct stream *st, const uint8_t *payload,
	       size_t len)
{
	/* Another's pieces stay where they are. */
	struct request_parts waiting = a->parts;
	bool own = waiting.stream == st->id;
	struct wire_exec req;
	struct failure f;

	if (!own)
		memset(&a->parts, 0, sizeof(a->parts));
	if (!parts_add(a, payload, len, &f)) {
		stream_fail(a, st, &f);
	} else if (!wire_decode_exec(a->parts.data, a->parts.len, &req)) {
		failure_set(&f, 0, WIRE_CODE_BAD_REQUEST,
			    "malformed exec request");
		stream_fail(a, st, &f);
	} else {
		run_request(a, st, &req);
	}
	exec_parts_drop(a);
	if (!own)
		a->parts = waiting;
}

/* Writes what the pipe takes. false: nobody reads it any more. */
static bool write_pending(struct agent *a, struct command *c)
{
	while (c->pending_end > c->pending_start) {
		ssize_t n = write(c->in, c->pending + c->pending_start,
				  c->pending_end - c->pending_start);

		if (n < 0)
			return errno == EAGAIN || errno == EINTR;
		c->pending_start += (size_t)n;
		if (c->stream)
			stream_passed(a, c->stream, (size_t)n);
	}
	c->pending_start = c->pending_end = 0;
	if (c->in_eof && c->tty) {
		const char ctrl_d = 4;

		c->in_eof = false;
		/* A full terminal queue loses it, as it does for a typist. */
		if (write(c->in, &ctrl_d, 1) < 0 && errno != EAGAIN)
			return false;
		return true;
	}
	return !c->in_eof;
}

static void pump_input(struct agent *a, struct command *c)
{
	size_t lost;

	if (c->in < 0 || write_pending(a, c))
		return;
	lost = c->pending_end - c->pending_start;
	close_input(c);
	if (lost && c->stream)
		stream_passed(a, c->stream, lost);
}

void command_input(struct agent *a, struct command *c, const uint8_t *data,
		   size_t len)
{
	if (c->in >= 0 && !c->pending && !c->in_eof)
		c->pending = malloc(WIRE_WINDOW);
	if (c->in < 0 || !c->pending || c->in_eof) {
		/* No input was asked for, or the command closed it. */
		stream_passed(a, c->stream, len);
		return;
	}
	if (len > WIRE_WINDOW - c->pending_end) {
		memmove(c->pending, c->pending + c->pending_start,
			c->pending_end - c->pending_start);
		c->pending_end -= c->pending_start;
		c->pending_start = 0;
	}
	/* It fits: the credit is never more than the window. */
	memcpy(c->pending + c->pending_end, data, len);
	c->pending_end += len;
	pump_input(a, c);
}

void command_input_eof(struct command *c)
{
	c->in_eof = true;
}

void command_resize(struct command *c, uint16_t rows, uint16_t columns)
{
	struct winsize size = { .ws_row = rows, .ws_col = columns };

	if (c->out >= 0)
		(void)ioctl(c->out, TIOCSWINSZ, &size);
}

void command_end(struct command *c)
{
	close_all(c);
	if (c->exited || c->ending)
		return;
	c->ending = true;
	c->kill_at_ms = now_ms() + KILL_AFTER_MS;
	(void)kill(-c->pid, SIGHUP);
	(void)kill(-c->pid, SIGCONT);
}

void command_abandon(struct command *c)
{
	command_end(c);
	c->stream->command = NULL;
	c->stream = NULL;
	c->dead = c->exited;
}

/* One frame. true when something was sent and there may be more. */
static bool read_frame(struct agent *a, struct command *c, int *fd,
		       enum wire_channel channel)
{
	struct stream *st = c->stream;
	size_t room = WIRE_DATA_MAX;
	uint8_t *at;
	ssize_t n;

	if (*fd < 0 || !st || st->out_credit[channel] == 0)
		return false;
	at = outq_data_begin(&a->out);
	if (!at)
		return false;
	if (room > st->out_credit[channel])
		room = st->out_credit[channel];
	n = read(*fd, at, room);
	if (n > 0) {
		st->out_credit[channel] -= (uint32_t)n;
		outq_data_commit(&a->out, (uint8_t)channel, st->id, (size_t)n);
		/* Less than was wanted, from one who may still write: empty. */
		return (size_t)n == room || c->exited;
	}
	if (n < 0 && errno == EINTR)
		return true;
	if (n < 0 && errno == EAGAIN && !c->exited)
		return false;
	/* The end; or empty, and the one who could write has exited. */
	if (c->tty)
		close_input(c);
	close_slot(fd);
	return false;
}

/* What there is, while there is room: the host gets it in one piece. */
static void read_output(struct agent *a, struct command *c, int *fd,
			enum wire_channel channel)
{
	while (read_frame(a, c, fd, channel))
		;
}

static void on_out(struct agent *a, void *data, short revents)
{
	struct command *c = data;

	(void)revents;
	read_output(a, c, &c->out, WIRE_OUT);
}

static void on_err(struct agent *a, void *data, short revents)
{
	struct command *c = data;

	(void)revents;
	read_output(a, c, &c->err, WIRE_ERR);
}

static void on_in(struct agent *a, void *data, short revents)
{
	(void)revents;
	pump_input(a, data);
}

/* Descriptors are listed only when wanted: POLLHUP cannot be masked. */
static void poll_one(struct agent *a, struct command *c)
{
	const struct stream *st = c->stream;
	bool room = outq_len(&a->out) <= OUTQ_DATA_LEVEL;

	if (!st || c->dead)
		return;
	if (c->in >= 0 && (c->pending_end > c->pending_start || c->in_eof))
		agent_poll_add(a, c->in, POLLOUT, on_in, c);
	if (c->out >= 0 && room && st->out_credit[WIRE_OUT])
		agent_poll_add(a, c->out, POLLIN, on_out, c);
	if (c->err >= 0 && room && st->out_credit[WIRE_ERR])
		agent_poll_add(a, c->err, POLLIN, on_err, c);
}

void commands_poll(struct agent *a)
{
	struct command *c;
	unsigned int count = 0, at = 0;

	for (c = a->commands; c; c = c->next)
		count++;
	if (!count)
		return;
	/* Another command comes first each time, so that none starves. */
	a->turn = (a->turn + 1) % count;
	for (c = a->commands; c; c = c->next)
		if (at++ >= a->turn)
			poll_one(a, c);
	at = 0;
	for (c = a->commands; c; c = c->next)
		if (at++ < a->turn)
			poll_one(a, c);
}

static void finish(struct agent *a, struct command *c)
{
	struct stream *st = c->stream;
	uint8_t payload[8];
	struct wire_cursor w = wire_writer(payload, sizeof(payload));

	wire_write_u32(&w, c->status);
	wire_write_u32(&w, c->signal);
	/* With the EXIT and not before: one wake-up of the host, not three. */
	if (!c->ending)
		outq_frame(&a->out, WIRE_EOF, WIRE_OUT, st->id, NULL, 0);
	if (!c->ending && !c->tty)
		outq_frame(&a->out, WIRE_EOF, WIRE_ERR, st->id, NULL, 0);
	outq_frame(&a->out, WIRE_EXIT, 0, st->id, payload, sizeof(payload));
	close_all(c);
	c->stream = NULL;
	c->dead = true;
	st->command = NULL;
	stream_free(a, st);
}

void commands_pump(struct agent *a)
{
	for (struct command *c = a->commands; c; c = c->next) {
		if (!c->exited || !c->stream)
			continue;
		read_output(a, c, &c->out, WIRE_OUT);
		read_output(a, c, &c->err, WIRE_ERR);
		if (c->out < 0 && c->err < 0)
			finish(a, c);
	}
}

void commands_sweep(struct agent *a)
{
	struct command **at = &a->commands;
	uint64_t now = now_ms();

	while (*at) {
		struct command *c = *at;

		if (c->kill_at_ms && now >= c->kill_at_ms && !c->exited) {
			c->kill_at_ms = 0;
			(void)kill(-c->pid, SIGKILL);
		}
		if (!c->dead) {
			at = &c->next;
			continue;
		}
		*at = c->next;
		close_all(c);
		free(c);
	}
}

void command_about_to_reap(struct agent *a, pid_t pid)
{
	for (struct command *c = a->commands; c; c = c->next)
		if (c->pid == pid && c->ending && !c->exited)
			(void)kill(-pid, SIGKILL);
}

void command_exited(struct agent *a, pid_t pid, uint32_t status,
		    uint32_t signal)
{
	for (size_t i = 0; i < DETACHED_MAX; i++) {
		struct detached *d = &a->detached[i];

		if (!d->used || !d->running || d->pid != pid)
			continue;
		d->running = false;
		d->status = status;
		d->signal = signal;
		detached_report(a, d);
		d->used = !d->forget;
	}
	for (struct command *c = a->commands; c; c = c->next) {
		if (c->pid != pid || c->exited)
			continue;
		c->exited = true;
		c->kill_at_ms = 0;
		c->status = status;
		c->signal = signal;
		c->dead = !c->stream;
	}
}
