/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See qmp.h. Input is cut into lines in a bounded buffer; each line is one
 * JSON object: the greeting, an event, or a reply matched by its id.
 */
#include "vmd/engines/qemu/qmp.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json.h"

enum {
	READ_BYTES = 16384,
	/* A guest can provoke events; more than this per wake-up waits. */
	READS_PER_WAKE = 16,
	OUT_MAX = 256 * 1024
};

struct pending {
	uint64_t id; /* 0: free */
	uint64_t deadline_ms;
	qmp_reply_fn *fn;
	char command[32];
};

struct qmp {
	struct loop *loop;
	struct loop_source source;
	struct loop_timer timer;
	int fd;
	uint64_t timeout_ms;
	const struct qmp_ops *ops;
	void *ctx;
	bool greeted;
	bool dead;
	bool freed;
	unsigned int busy; /* our calls above a callback on the stack */
	uint64_t next_id;
	uint64_t greeting_deadline_ms;
	struct pending pending[QMP_COMMANDS_MAX];
	struct buf in, out;
	struct err failure;
};

static void leave(struct qmp *q)
{
	q->busy--;
	if (q->busy || !q->freed)
		return;
	buf_done(&q->in);
	buf_done(&q->out);
	free(q);
}

static void shut(struct qmp *q)
{
	q->dead = true;
	loop_timer_disarm(&q->timer);
	loop_remove(&q->source);
	close_fd(&q->fd);
}

static void fail(struct qmp *q, const struct err *e)
{
	if (q->dead)
		return;
	shut(q);
	q->ops->closed(q->ctx, e);
}

static void fail_protocol(struct qmp *q, const char *what)
{
	struct err e = ERR_INIT;

	(void)err_set(&e, ERR_PROTOCOL, "qmp_protocol", 0,
		      "QEMU's monitor broke its protocol: %s", what);
	fail(q, &e);
}

static void arm(struct qmp *q)
{
	uint64_t soonest = q->greeted ? 0 : q->greeting_deadline_ms;
	uint64_t now = clock_mono_ms();

	for (size_t i = 0; i < QMP_COMMANDS_MAX; i++) {
		const struct pending *p = &q->pending[i];

		if (p->id && (!soonest || p->deadline_ms < soonest))
			soonest = p->deadline_ms;
	}
	if (soonest)
		loop_timer_arm(&q->timer, soonest > now ? soonest - now : 0);
	else
		loop_timer_disarm(&q->timer);
}

static void on_timer(struct loop_timer *timer)
{
	struct qmp *q = timer->data;
	const char *what = q->greeted ? "" : "greeting";
	struct err e = ERR_INIT;

	/* A send that failed inside a caller's call is reported here. */
	if (q->failure.kind != ERR_NONE) {
		e = q->failure;
	} else {
		uint64_t now = clock_mono_ms();

		for (size_t i = 0; i < QMP_COMMANDS_MAX; i++) {
			if (q->pending[i].id &&
			    q->pending[i].deadline_ms <= now)
				what = q->pending[i].command;
		}
		(void)err_set(&e, ERR_TIMEOUT, "qemu_hung", 0,
			      "QEMU did not answer \"%s\" within %llu ms", what,
			      (unsigned long long)q->timeout_ms);
	}
	q->busy++;
	fail(q, &e);
	leave(q);
}

/* false: the connection is broken (failure set, told by the timer). */
static bool flush(struct qmp *q)
{
	while (buf_len(&q->out)) {
		ssize_t n = send(q->fd, buf_head(&q->out), buf_len(&q->out),
				 MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0) {
			(void)err_set(&q->failure, ERR_UNAVAILABLE, "qmp_lost",
				      errno,
				      "the connection to QEMU's monitor "
				      "broke: %s",
				      strerror(errno));
			loop_timer_arm_soon(&q->timer);
			return false;
		}
		buf_consume(&q->out, (size_t)n);
	}
	(void)loop_modify(&q->source,
			  EPOLLIN | (buf_len(&q->out) ? EPOLLOUT : 0u));
	return true;
}

static struct pending *find(struct qmp *q, uint64_t id)
{
	for (size_t i = 0; i < QMP_COMMANDS_MAX; i++) {
		if (q->pending[i].id == id)
			return &q->pending[i];
	}
	return NULL;
}

int qmp_execute(struct qmp *q, const char *command, json_t *args,
		qmp_reply_fn *fn, struct err *e)
{
	AUTO(json) json_t *line = NULL;
	AUTO(free) char *text = NULL;
	struct pending *p = find(q, 0);

	if (q->dead || q->failure.kind != ERR_NONE || !p) {
		json_decref(args);
		return err_set(e, ERR_UNAVAILABLE, "qmp_lost", EPIPE,
			       p ? "the connection to QEMU's monitor is gone"
				 : "QEMU's monitor has too many commands open");
	}
	line = json_pack("{s:s, s:I}", "execute", command, "id",
			 (json_int_t)q->next_id);
	if (args && line && json_object_set_new(line, "arguments", args) < 0)
		return err_sys(e, ENOMEM, "command for QEMU");
	if (!line) {
		json_decref(args);
		return err_sys(e, ENOMEM, "command for QEMU");
	}
	text = json_to_text(line);
	if (!text || buf_printf(&q->out, "%s\n", text) < 0)
		return err_sys(e, ENOMEM, "command for QEMU");
	p->id = q->next_id++;
	p->fn = fn;
	p->deadline_ms = clock_mono_ms() + q->timeout_ms;
	(void)snprintf(p->command, sizeof(p->command), "%s", command);
	arm(q);
	(void)flush(q);
	return 0;
}

static void on_capabilities(void *ctx, const json_t *ret, const struct err *e);

static void take_greeting(struct qmp *q, const json_t *line)
{
	struct err e = ERR_INIT;

	if (!json_is_object(json_object_get(line, "QMP"))) {
		fail_protocol(q, "no greeting");
		return;
	}
	q->greeted = true;
	if (qmp_execute(q, "qmp_capabilities", NULL, on_capabilities, &e))
		fail(q, &e);
}

static void take_reply(struct qmp *q, const json_t *line)
{
	const json_t *ret = json_object_get(line, "return");
	const json_t *error = json_object_get(line, "error");
	json_int_t id = json_integer_value(json_object_get(line, "id"));
	struct pending *p = id > 0 ? find(q, (uint64_t)id) : NULL;
	struct err e = ERR_INIT;
	struct pending taken;

	if (!p || !ret == !error) {
		fail_protocol(q, "a reply to no command");
		return;
	}
	taken = *p;
	p->id = 0;
	arm(q);
	if (error) {
		const char *desc =
			json_string_value(json_object_get(error, "desc"));

		(void)err_set(&e, ERR_INTERNAL, "qemu_refused", 0,
			      "QEMU refused \"%s\": %.400s", taken.command,
			      desc ? desc : "no reason given");
	}
	if (taken.fn == on_capabilities)
		on_capabilities(q, ret, &e);
	else if (taken.fn)
		taken.fn(q->ctx, ret, error ? &e : NULL);
}

static void on_capabilities(void *ctx, const json_t *ret, const struct err *e)
{
	struct qmp *q = ctx;

	if (!ret)
		fail(q, e);
	else
		q->ops->ready(q->ctx);
}

static void take_line(struct qmp *q, const char *text, size_t len)
{
	AUTO(json) json_t *line = NULL;
	const json_t *event;

	if (json_parse_strict(text, len, "QMP", &line, NULL) < 0 ||
	    !json_is_object(line)) {
		fail_protocol(q, "not a JSON object");
		return;
	}
	if (!q->greeted) {
		take_greeting(q, line);
		return;
	}
	event = json_object_get(line, "event");
	if (json_is_string(event))
		q->ops->event(q->ctx, json_string_value(event),
			      json_object_get(line, "data"));
	else
		take_reply(q, line);
}

static void take_lines(struct qmp *q, size_t fresh)
{
	/* Only the fresh bytes can hold the end of the first line. */
	size_t seen = buf_len(&q->in) - fresh;

	while (!q->dead) {
		const uint8_t *head = buf_head(&q->in);
		const uint8_t *nl = NULL;
		size_t len = buf_len(&q->in);

		if (len > seen)
			nl = memchr(head + seen, '\n', len - seen);
		if (!nl)
			return;
		len = (size_t)(nl - head);
		/* A blank line is allowed between objects. */
		if (len && !(len == 1 && head[0] == '\r'))
			take_line(q, (const char *)head, len);
		buf_consume(&q->in, len + 1);
		seen = 0;
	}
}

/* One read; false: nothing more now, or the connection is over. */
static bool read_some(struct qmp *q)
{
	uint8_t *at = buf_reserve(&q->in, READ_BYTES);
	struct err e = ERR_INIT;
	ssize_t n;

	if (!at) {
		fail_protocol(q, "line too long");
		return false;
	}
	n = recv(q->fd, at, READ_BYTES, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n <= 0) {
		int sys = n < 0 ? errno : 0;

		(void)err_set(&e, ERR_UNAVAILABLE, "qmp_lost", sys,
			      "QEMU closed its monitor%s%s", sys ? ": " : "",
			      sys ? strerror(sys) : "");
		fail(q, &e);
		return false;
	}
	buf_commit(&q->in, (size_t)n);
	take_lines(q, (size_t)n);
	return !q->dead;
}

void qmp_drain(struct qmp *q)
{
	q->busy++;
	for (int i = 0; i < READS_PER_WAKE && !q->dead && read_some(q); i++)
		;
	leave(q);
}

static void on_io(struct loop_source *source, uint32_t events)
{
	struct qmp *q = source->data;

	q->busy++;
	if (events & EPOLLOUT)
		(void)flush(q);
	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		qmp_drain(q);
	leave(q);
}

struct qmp *qmp_new(struct loop *loop, int fd, uint64_t timeout_ms,
		    const struct qmp_ops *ops, void *ctx, struct err *e)
{
	struct qmp *q = calloc(1, sizeof(*q));
	int rc = q ? 0 : -ENOMEM;

	if (q) {
		q->in.limit = QMP_LINE_MAX + READ_BYTES;
		q->out.limit = OUT_MAX;
		q->loop = loop;
		q->fd = fd;
		q->timeout_ms = timeout_ms;
		q->ops = ops;
		q->ctx = ctx;
		q->next_id = 1;
		loop_timer_init(loop, &q->timer, on_timer, q);
		rc = loop_add(loop, &q->source, fd, EPOLLIN, on_io, q);
	}
	if (rc) {
		(void)err_sys(e, -rc, "cannot watch QEMU's monitor");
		free(q);
		(void)close(fd);
		return NULL;
	}
	q->greeting_deadline_ms = clock_mono_ms() + timeout_ms;
	arm(q);
	return q;
}

void qmp_free(struct qmp *q)
{
	if (!q || q->freed)
		return;
	q->busy++;
	q->freed = true;
	if (!q->dead)
		shut(q);
	leave(q);
}
