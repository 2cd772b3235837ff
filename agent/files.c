/* SPDX-License-Identifier: Apache-2.0 */
/* PUSH and PULL: tar streams between the host and the guest's files. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/agent.h"

/* The path of a request; relative ones start at "/". The flags of a PUSH follow
 * it, when ret_flags is not NULL and the host has sent some. */
static bool read_path(const uint8_t *payload, size_t len,
		      char path[static TAR_NAME_MAX], uint8_t *ret_flags)
{
	struct wire_cursor c = wire_reader(payload, len);
	struct wire_str s = wire_read_str(&c);

	if (ret_flags)
		*ret_flags = wire_cursor_done(&c) ? 0 : wire_read_u8(&c);
	if (!wire_cursor_done(&c) || s.len == 0 || s.len > TAR_NAME_MAX - 2 ||
	    memchr(s.ptr, 0, s.len))
		return false;
	path[0] = '/';
	memcpy(path + (s.ptr[0] != '/'), s.ptr, s.len);
	path[s.len + (s.ptr[0] != '/')] = 0;
	return true;
}

static void bad_path(struct agent *a, struct stream *st)
{
	struct failure f;

	failure_set(&f, 0, WIRE_CODE_BAD_REQUEST, "malformed path");
	stream_fail(a, st, &f);
}

/* All is done; what was left out is said with it. */
static void files_done(struct agent *a, struct stream *st,
		       const struct tar_left *left)
{
	char text[200] = "";

	if (left->count > 1)
		(void)snprintf(text, sizeof(text), "%s, and %u more",
			       left->first, left->count - 1);
	else if (left->count)
		(void)snprintf(text, sizeof(text), "%s", left->first);
	session_result(a, st->id, 0, "", text);
	stream_free(a, st);
}

void push_open(struct agent *a, struct stream *st, const uint8_t *payload,
	       size_t len)
{
	const struct tar_policy policy = tar_policy_guest();
	char path[TAR_NAME_MAX];
	struct failure f;
	uint8_t flags;
	int fd;

	if (!read_path(payload, len, path, &flags) || flags > WIRE_PUSH_AT) {
		bad_path(a, st);
		return;
	}
	if (flags & WIRE_PUSH_AT) {
		st->reader = tar_reader_new_at(path, NULL, &policy);
	} else {
		fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd < 0) {
			failure_set(&f, errno, WIRE_CODE_IO,
				    "cannot open directory %.100s", path);
			stream_fail(a, st, &f);
			return;
		}
		st->reader = tar_reader_new(fd, &policy);
	}
	if (!st->reader) {
		failure_set(&f, ENOMEM, WIRE_CODE_IO, "cannot unpack");
		stream_fail(a, st, &f);
		return;
	}
	st->kind = STREAM_PUSH;
}

static void push_fail(struct agent *a, struct stream *st, int rc)
{
	struct failure f;

	failure_set(&f, 0, rc == -EPROTO ? WIRE_CODE_BAD_ARCHIVE : WIRE_CODE_IO,
		    "%s", tar_reader_error(st->reader));
	f.sys = (uint32_t)-rc;
	stream_fail(a, st, &f);
}

void push_input(struct agent *a, struct stream *st, const uint8_t *data,
		size_t len)
{
	int rc = tar_reader_feed(st->reader, data, len);

	if (rc < 0)
		push_fail(a, st, rc);
	else
		stream_passed(a, st, len);
}

void push_eof(struct agent *a, struct stream *st)
{
	int rc = tar_reader_finish(st->reader);

	if (rc < 0)
		push_fail(a, st, rc);
	else
		files_done(a, st, tar_reader_left(st->reader));
}

void pull_open(struct agent *a, struct stream *st, const uint8_t *payload,
	       size_t len)
{
	char path[TAR_NAME_MAX];
	struct failure f;

	if (!read_path(payload, len, path, NULL)) {
		bad_path(a, st);
		return;
	}
	st->writer = tar_writer_new(path, -1, false);
	if (!st->writer && errno == ENOTSUP) {
		failure_set(&f, 0, WIRE_CODE_SPECIAL,
			    "%.100s is a pipe, a device or a socket: read it "
			    "with a command",
			    path);
		f.sys = EEXIST;
		stream_fail(a, st, &f);
		return;
	}
	if (!st->writer) {
		failure_set(&f, errno, WIRE_CODE_IO, "cannot read %.100s",
			    path);
		stream_fail(a, st, &f);
		return;
	}
	st->kind = STREAM_PULL;
}

/* One frame of the archive. true: there is room and credit for another. */
static bool pull_step(struct agent *a, struct stream *st)
{
	size_t room = WIRE_DATA_MAX;
	uint8_t *at = outq_data_begin(&a->out);
	struct failure f;
	ssize_t n;

	if (!at || !st->out_credit[WIRE_OUT])
		return false;
	if (room > st->out_credit[WIRE_OUT])
		room = st->out_credit[WIRE_OUT];
	n = tar_writer_read(st->writer, at, room);
	if (n > 0) {
		st->out_credit[WIRE_OUT] -= (uint32_t)n;
		outq_data_commit(&a->out, WIRE_OUT, st->id, (size_t)n);
		return true;
	}
	if (n == 0) {
		outq_frame(&a->out, WIRE_EOF, WIRE_OUT, st->id, NULL, 0);
		files_done(a, st, tar_writer_left(st->writer));
		return false;
	}
	failure_set(&f, 0, WIRE_CODE_IO, "%s", tar_writer_error(st->writer));
	f.sys = (uint32_t)-n;
	stream_fail(a, st, &f);
	return false;
}

bool pulls_pump(struct agent *a)
{
	bool again = false;

	for (size_t i = 0; i < WIRE_STREAMS_MAX; i++)
		if (a->streams[i].kind == STREAM_PULL)
			again |= pull_step(a, &a->streams[i]);
	return again;
}
