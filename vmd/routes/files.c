/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files in and out of a guest as tar streams. Never more than one window of the
 * agent protocol is held: upload stops when the guest takes no more, download
 * gives the guest credit when the client has read.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "vmd/routes/handlers.h"

struct files {
	struct request *request; /* NULL: nobody waits any more */
	struct agent_stream *stream;
	struct buf data; /* from the guest */
	bool streaming; /* headers are out: errors can only cut */
	bool ended, failed;
};

static void files_free(struct files *f)
{
	if (f->stream)
		agent_stream_close(f->stream);
	buf_done(&f->data);
	free(f);
}

static struct vm *ready_vm(struct request *r)
{
	struct vm *vm = request_vm(r);
	struct err e = ERR_INIT;

	if (!vm || (vm->session && agent_session_ready(vm->session)))
		return vm;
	(void)err_set(&e, ERR_CONFLICT, "wrong_state", 0,
		      "VM '%s' is %s: files can be copied when it is ready",
		      vm->row.name, api_vm_state_name(vm->row.state));
	request_fail(r, &e);
	return NULL;
}

static struct files *files_new(struct request *r)
{
	struct files *f = calloc(1, sizeof(*f));
	struct err e = ERR_INIT;

	if (!f) {
		(void)err_sys(&e, ENOMEM, "copying files");
		request_fail(r, &e);
		return NULL;
	}
	f->request = r;
	f->data = (struct buf)BUF_INIT((size_t)2 * WIRE_WINDOW);
	return f;
}

/* Upload. */

static void put_writable(void *ctx)
{
	struct files *f = ctx;

	if (f->request)
		request_resume(f->request);
}

static void put_done(void *ctx, uint32_t status, uint32_t signal,
		     const struct err *e)
{
	struct files *f = ctx;
	struct agent_stream *st = f->stream;
	struct err bad = ERR_INIT;

	(void)status;
	(void)signal;
	f->stream = NULL;
	if (!f->request)
		return;
	/* An older agent's word for what is no archive: the client's mistake. */
	if (e && e->kind == ERR_INTERNAL && e->sys == EPROTO) {
		(void)err_set(&bad, ERR_INVALID, "bad_archive", EPROTO, "%s",
			      e->msg);
		e = &bad;
	}
	if (e) {
		request_fail(f->request, e);
		return;
	}
	if (*agent_stream_left_out(st))
		request_answer_header(f->request, API_LEFT_OUT_HEADER,
				      agent_stream_left_out(st));
	request_empty(f->request, 204);
}

static const struct agent_stream_ops put_ops = {
	.writable = put_writable,
	.done = put_done,
};

static size_t put_upload(struct request *r, const char *data, size_t len)
{
	struct files *f = r->stream;

	return f->stream ? agent_stream_write(f->stream, data, len) : len;
}

static void put_end(struct request *r)
{
	struct files *f = r->stream;

	if (f->stream)
		agent_stream_write_eof(f->stream);
}

static void put_gone(struct request *r)
{
	files_free(r->stream);
}

void handle_files_put(struct request *r)
{
	struct vm *vm = ready_vm(r);
	struct files *f = vm ? files_new(r) : NULL;
	struct err e = ERR_INIT;
	uint8_t flags = 0;

	if (!f)
		return;
	if (json_is_true(json_object_get(r->query, "at")))
		flags = WIRE_PUSH_AT;
	f->stream =
		agent_session_push(vm->session, request_query_text(r, "path"),
				   flags, &put_ops, f, &e);
	if (!f->stream) {
		files_free(f);
		request_fail(r, &e);
		return;
	}
	r->stream = f;
	r->upload = put_upload;
	r->upload_end = put_end;
	r->gone = put_gone;
}

/* Download. */

static ssize_t get_read(void *data, char *buf, size_t max)
{
	struct files *f = data;
	size_t n = buf_len(&f->data) < max ? buf_len(&f->data) : max;

	if (n) {
		memcpy(buf, buf_head(&f->data), n);
		buf_consume(&f->data, n);
		if (f->stream)
			agent_stream_consumed(f->stream, WIRE_OUT, n);
		return (ssize_t)n;
	}
	if (f->failed)
		return HTTP_STREAM_BROKEN;
	return f->ended ? HTTP_STREAM_END : HTTP_STREAM_LATER;
}

static void get_freed(void *data)
{
	files_free(data);
}

static void get_gone(struct request *r)
{
	struct files *f = r->stream;

	f->request = NULL;
	/* Until streaming there is no response that owns f. */
	if (!f->streaming)
		files_free(f);
}

static void begin_answer(struct files *f)
{
	if (f->streaming || !f->request)
		return;
	f->streaming = true;
	request_stream(f->request, "application/x-tar", get_read, get_freed, f);
}

static void get_data(void *ctx, enum wire_channel channel, const void *data,
		     size_t len)
{
	struct files *f = ctx;

	if (channel != WIRE_OUT || buf_append(&f->data, data, len) < 0)
		return;
	begin_answer(f);
	if (f->request)
		request_resume(f->request);
}

static void get_done(void *ctx, uint32_t status, uint32_t signal,
		     const struct err *e)
{
	struct files *f = ctx;

	struct agent_stream *st = f->stream;

	(void)status;
	(void)signal;
	f->stream = NULL;
	f->ended = true;
	f->failed = e != NULL;
	if (!f->request)
		return;
	if (e && !f->streaming) {
		request_fail(f->request, e);
		return;
	}
	begin_answer(f);
	/* Known only now, behind the body. */
	if (!e && *agent_stream_left_out(st))
		request_answer_trailer(f->request, API_LEFT_OUT_HEADER,
				       agent_stream_left_out(st));
	request_resume(f->request);
}

static const struct agent_stream_ops get_ops = {
	.data = get_data,
	.done = get_done,
};

void handle_files_get(struct request *r)
{
	struct vm *vm = ready_vm(r);
	struct files *f = vm ? files_new(r) : NULL;
	struct err e = ERR_INIT;

	if (!f)
		return;
	f->stream = agent_session_pull(
		vm->session, request_query_text(r, "path"), &get_ops, f, &e);
	if (!f->stream) {
		files_free(f);
		request_fail(r, &e);
		return;
	}
	r->stream = f;
	r->gone = get_gone;
}
