/* SPDX-License-Identifier: Apache-2.0 */
#include "vmd/task.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/problem.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/process.h"
#include "base/text.h"
#include "vmd/priv/privops.h"

enum {
	LINE_MAX_BYTES = 65536,
	TAIL_BYTES = 65536,
	ARGS_MAX = 96,
	FORGET_AGAIN_MS = 1000
};

struct task {
	struct daemon *daemon;
	struct operation *op; /* NULL once it was killed */
	char op_id[ID_LEN + 1]; /* "" for no operation: nothing is journalled */
	bool stages; /* a build: has a staging directory, and starts programs */
	struct task *reaper; /* ends what it had started */
	LIST_ENTRY(task) link; /* of those that nobody waits for any more */
	struct loop_timer again;
	struct process process;
	struct loop_source out, err, exit;
	int out_fd, err_fd;
	struct buf line; /* of stdout, not yet complete */
	struct buf tail; /* of stderr */
	json_t *last; /* the line with "result" or "error" */
	task_done_fn *done;
	void *data;
};

static void task_free(struct task *t)
{
	loop_remove(&t->out);
	loop_remove(&t->err);
	loop_remove(&t->exit);
	loop_timer_disarm(&t->again);
	close_fd(&t->out_fd);
	close_fd(&t->err_fd);
	process_close(&t->process);
	buf_done(&t->line);
	buf_done(&t->tail);
	json_decref(t->last);
	free(t);
}

static int forget(struct task *t)
{
	struct err e = ERR_INIT;
	int rc = t->op_id[0] ? store_journal_remove(t->daemon->store, t->op_id,
						    JOURNAL_TASK, NULL, &e)
			     : 0;

	if (rc < 0)
		log_error("operation %s: %s", t->op_id, e.msg);
	return rc;
}

static void on_again(struct loop_timer *timer)
{
	struct task *t = timer->data;

	if (forget(t) < 0) {
		loop_timer_arm(&t->again, FORGET_AGAIN_MS);
		return;
	}
	LIST_REMOVE(t, link);
	task_free(t);
}

static void on_reaped(void *data, const json_t *result, const struct err *e)
{
	struct task *t = data;

	(void)result;
	t->reaper = NULL;
	if (e)
		log_warn("operation %s: %s", t->op_id, e->msg);
	loop_timer_arm_soon(&t->again);
}

/*
 * What a build had started must not outlive it, even when it left the group:
 * found by their mark in all of /proc, which takes a child.
 */
static bool reap_rest(struct task *t)
{
	char mark[64], group[16];
	const char *const args[] = { "reap",	"--mark", mark,
				     "--group", group,	  NULL };
	struct err e = ERR_INIT;

	if (!t->stages || !t->op_id[0] || t->daemon->stopping)
		return false;
	(void)snprintf(mark, sizeof(mark), PRIVOPS_TASK_MARK "%s", t->op_id);
	(void)snprintf(group, sizeof(group), "%d", (int)t->process.pid);
	t->reaper = task_start(t->daemon, NULL, args, on_reaped, t, &e);
	if (!t->reaper)
		log_warn("operation %s: %s", t->op_id, e.msg);
	return t->reaper;
}

/* The child is gone: so must be what it had started, and its journal row, when
 * the store takes that. */
static void retire(struct task *t)
{
	loop_remove(&t->out);
	loop_remove(&t->err);
	loop_remove(&t->exit);
	if (!reap_rest(t)) {
		if (forget(t) == 0) {
			task_free(t);
			return;
		}
		loop_timer_arm(&t->again, FORGET_AGAIN_MS);
	}
	LIST_INSERT_HEAD(&t->daemon->retired_tasks, t, link);
}

static void take_line(struct task *t, const char *text, size_t len)
{
	json_t *line = NULL;
	const char *step = "";
	uint64_t done = 0, total = 0;

	if (json_parse_strict(text, len, "vmd-image", &line, NULL) < 0)
		return;
	if (json_object_get(line, "result") || json_object_get(line, "error")) {
		json_decref(t->last);
		t->last = line;
		return;
	}
	if (json_get_string(line, "progress", "step", true, 120, &step, NULL) ==
	    0) {
		(void)json_get_u64(line, "progress", "done", false, 0,
				   INT64_MAX, &done, NULL);
		(void)json_get_u64(line, "progress", "total", false, 0,
				   INT64_MAX, &total, NULL);
		operation_progress(t->op, done, total, "%s", step);
	}
	json_decref(line);
}

/* false at the end of the stream; ret_empty: nothing more for now. */
static bool read_into(int fd, struct buf *b, bool *ret_empty)
{
	char chunk[8192];
	ssize_t len = read(fd, chunk, sizeof(chunk));

	*ret_empty = len < 0 && errno == EAGAIN;
	if (len <= 0)
		return len < 0 && (errno == EAGAIN || errno == EINTR);
	if (buf_len(b) + (size_t)len > TAIL_BYTES)
		buf_consume(b,
			    buf_len(b) + (size_t)len - TAIL_BYTES > buf_len(b)
				    ? buf_len(b)
				    : buf_len(b) + (size_t)len - TAIL_BYTES);
	(void)buf_append(b, chunk, (size_t)len);
	return true;
}

static bool read_lines(struct task *t, bool *ret_empty)
{
	const char *nl;

	if (!read_into(t->out_fd, &t->line, ret_empty))
		return false;
	while (buf_len(&t->line) &&
	       (nl = memchr(buf_head(&t->line), '\n', buf_len(&t->line)))) {
		size_t len = (size_t)((const uint8_t *)nl - buf_head(&t->line));

		take_line(t, (const char *)buf_head(&t->line), len);
		buf_consume(&t->line, len + 1);
	}
	return true;
}

static void on_out(struct loop_source *source, uint32_t events)
{
	bool empty;

	(void)events;
	if (!read_lines(source->data, &empty))
		loop_remove(source);
}

static void on_err(struct loop_source *source, uint32_t events)
{
	struct task *t = source->data;
	bool empty;

	(void)events;
	if (!read_into(t->err_fd, &t->tail, &empty))
		loop_remove(source);
}

/* The last lines of stderr, as far as they fit into a message. */
static const char *tail_text(struct task *t, char buf[static 400])
{
	size_t len = buf_len(&t->tail), start = len > 399 ? len - 399 : 0;
	size_t n = 0;

	for (size_t i = start; i < len; i++) {
		uint8_t c = buf_head(&t->tail)[i];

		buf[n++] = text_printable(c) ? (char)c : ' ';
	}
	buf[n] = '\0';
	return buf;
}

static void judge(struct task *t, const struct process_exit *end,
		  struct err *ret)
{
	char tail[400];
	json_t *error = json_object_get(t->last, "error");
	const char *kind = json_string_value(json_object_get(error, "kind"));
	const char *code = json_string_value(json_object_get(error, "code"));
	const char *msg = json_string_value(json_object_get(error, "message"));

	if (error && kind && code && msg) {
		ret->kind = err_kind_from_name(kind);
		(void)err_set(ret, ret->kind, code, 0, "%s", msg);
		return;
	}
	if (end->known && end->signal == 0 && end->status == 0 && t->last)
		return;
	(void)err_set(ret, ERR_INTERNAL, "image_program_failed", 0,
		      "vmd-image ended with %s %d and no answer; it said: %s",
		      end->signal ? "signal" : "status",
		      end->signal ? end->signal : end->status,
		      tail_text(t, tail));
}

static void on_exit_event(struct loop_source *source, uint32_t events)
{
	struct task *t = source->data;
	struct process_exit end = { 0 };
	struct err e = ERR_INIT;
	task_done_fn *done = t->done;
	void *data = t->data;
	bool empty = false;
	AUTO(json) json_t *result = NULL;

	(void)events;
	if (!privops_reap(&t->process, &end))
		return;
	/* What was written before the end is still in the pipes. */
	while (loop_source_active(&t->out) && !empty)
		if (!read_lines(t, &empty))
			break;
	empty = false;
	while (loop_source_active(&t->err) && !empty)
		if (!read_into(t->err_fd, &t->tail, &empty))
			break;
	judge(t, &end, &e);
	result = json_incref(json_object_get(t->last, "result"));
	retire(t);
	done(data, result, e.kind == ERR_NONE ? NULL : &e);
}

static int journal(struct task *t, struct err *e)
{
	if (!t->op_id[0])
		return 0;

	struct journal_row row = {
		.kind = JOURNAL_TASK,
		.name = "vmd-image",
		.pid = t->process.pid,
		.start_time = t->process.start_time,
	};

	memcpy(row.owner, t->op_id, sizeof(row.owner));
	return store_journal_add(t->daemon->store, &row, e);
}

static int watch_all(struct task *t, struct err *e)
{
	struct loop *loop = t->daemon->loop;
	int rc = loop_add(loop, &t->out, t->out_fd, EPOLLIN, on_out, t);

	if (rc == 0)
		rc = loop_add(loop, &t->err, t->err_fd, EPOLLIN, on_err, t);
	if (rc == 0)
		rc = loop_add(loop, &t->exit, t->process.pidfd, EPOLLIN,
			      on_exit_event, t);
	return rc == 0 ? 0 : err_sys(e, -rc, "watching vmd-image");
}

/* The end of one that was killed. */
static void on_killed(struct loop_source *source, uint32_t events)
{
	struct task *t = source->data;
	struct process_exit end;

	(void)events;
	if (!privops_reap(&t->process, &end))
		return;
	LIST_REMOVE(t, link);
	/* Until now its staging directory was in use. */
	if (t->stages)
		t->daemon->build_gone(t->daemon);
	retire(t);
}

/* It may run, and its journal row may be there. */
static void undo_start(struct task *t)
{
	if (t->process.pidfd < 0) {
		task_free(t);
		return;
	}
	if (!loop_source_active(&t->exit))
		(void)loop_add(t->daemon->loop, &t->exit, t->process.pidfd,
			       EPOLLIN, on_killed, t);
	task_kill(t);
}

struct task *task_start(struct daemon *d, struct operation *op,
			const char *const *args, task_done_fn *done, void *data,
			struct err *e)
{
	const char *argv[ARGS_MAX] = { d->config->image_program };
	int out[2] = { -1, -1 }, err[2] = { -1, -1 };
	struct task *t = calloc(1, sizeof(*t));
	int rc;

	if (!t) {
		(void)err_sys(e, ENOMEM, "starting vmd-image");
		return NULL;
	}
	*t = (struct task){
		.daemon = d,
		.op = op,
		.stages = strcmp(args[0], "build") == 0,
		.process = PROCESS_INIT,
		.out = LOOP_SOURCE_INIT,
		.err = LOOP_SOURCE_INIT,
		.exit = LOOP_SOURCE_INIT,
		.line = BUF_INIT(LINE_MAX_BYTES),
		.tail = BUF_INIT(TAIL_BYTES),
		.done = done,
		.data = data,
	};
	if (op)
		memcpy(t->op_id, op->row.id, sizeof(t->op_id));
	loop_timer_init(d->loop, &t->again, on_again, t);
	for (size_t i = 0; args[i] && i + 2 < ARGS_MAX; i++)
		argv[i + 1] = args[i];
	if (pipe2(out, O_CLOEXEC) < 0 || pipe2(err, O_CLOEXEC) < 0)
		rc = err_sys(e, errno, "starting vmd-image");
	else
		rc = privops_task_spawn(t->op_id, argv, out[1], err[1],
					&t->process, e);
	t->out_fd = out[0];
	t->err_fd = err[0];
	close_fd(&out[1]);
	close_fd(&err[1]);
	if (rc == 0) {
		(void)file_set_nonblock(t->out_fd);
		(void)file_set_nonblock(t->err_fd);
		rc = journal(t, e);
	}
	if (rc == 0)
		rc = watch_all(t, e);
	if (rc == 0)
		return t;
	undo_start(t);
	return NULL;
}

pid_t task_pid(const struct task *t)
{
	return t->process.pid;
}

void task_kill(struct task *t)
{
	(void)privops_signal_group(&t->process, SIGKILL);
	/* Its journal row stays as long as it does: a hanging disk may hold it. */
	loop_remove(&t->out);
	loop_remove(&t->err);
	t->op = NULL;
	t->exit.fn = on_killed;
	LIST_INSERT_HEAD(&t->daemon->retired_tasks, t, link);
}

void task_abandon(struct task *t)
{
	task_free(t);
}

void tasks_abandon_retired(struct daemon *d)
{
	struct task *t;

	while ((t = LIST_FIRST(&d->retired_tasks))) {
		LIST_REMOVE(t, link);
		if (t->reaper)
			task_abandon(take_ptr(t->reaper));
		task_free(t);
	}
}
