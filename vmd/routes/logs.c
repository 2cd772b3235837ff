/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GET logs: the tail of console.log in the run directory, and with follow what
 * comes after. Following waits for the console's output, not for the clock, and
 * reads the file at the client's pace.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "vmd/routes/handlers.h"

struct logs {
	struct vm_console_user user;
	struct request *request; /* NULL once it is over */
	int fd;
	off_t at;
	bool listed, follow;
	struct loop_timer again;
};

static void unlist(struct logs *l)
{
	if (l->listed)
		LIST_REMOVE(&l->user, link);
	l->listed = false;
}

static void logs_free(void *data)
{
	struct logs *l = data;

	unlist(l);
	loop_timer_disarm(&l->again);
	close_fd(&l->fd);
	free(l);
}

/* The writer of the file may be a little behind the console. */
static void on_again(struct loop_timer *timer)
{
	struct logs *l = timer->data;

	if (l->request)
		request_resume(l->request);
}

static void on_output(struct vm_console_user *u, const void *data, size_t len)
{
	struct logs *l = (struct logs *)u;

	(void)data;
	(void)len;
	if (!loop_timer_armed(&l->again))
		loop_timer_arm(&l->again, 5);
}

static void on_gone(struct vm_console_user *u)
{
	struct logs *l = (struct logs *)u;

	l->listed = false;
	l->follow = false;
	if (l->request)
		request_resume(l->request);
}

static void on_ended(struct vm_console_user *u)
{
	struct logs *l = (struct logs *)u;

	l->follow = false;
	if (l->request)
		request_resume(l->request);
}

/*
 * What comes next in the file. The monitor keeps it small: it punches out the
 * head, or begins the file anew where that cannot be done. The hole is looked for
 * after reading, so that none opens in between.
 */
static ssize_t read_kept(struct logs *l, char *buf, size_t max)
{
	struct stat st;

	if (fstat(l->fd, &st) == 0 && st.st_size < l->at)
		l->at = 0;
	for (;;) {
		ssize_t n = pread(l->fd, buf, max, l->at);
		off_t data = n > 0 ? lseek(l->fd, l->at, SEEK_DATA) : 0;

		if (data <= l->at)
			return n;
		l->at = data;
	}
}

static ssize_t read_block(void *data, char *buf, size_t max)
{
	struct logs *l = data;
	ssize_t n = read_kept(l, buf, max);

	if (n > 0) {
		l->at += n;
		return n;
	}
	if (n < 0)
		return HTTP_STREAM_BROKEN;
	return l->follow ? HTTP_STREAM_LATER : HTTP_STREAM_END;
}

static void request_gone(struct request *r)
{
	struct logs *l = r->stream;

	unlist(l);
	l->request = NULL;
}

static int open_log(struct vm *vm, struct err *e)
{
	AUTO(fd) int dirfd = -1;
	int fd;

	dirfd = openat(vm->daemon->run_vms_fd, vm->row.id,
		       O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	fd = dirfd < 0 ? -1
		       : openat(dirfd, "console.log",
				O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK |
					O_NOCTTY);
	if (fd < 0 && errno == ENOENT)
		return err_set(e, ERR_NOT_FOUND, "no_logs", ENOENT,
			       "VM '%s' has no console log: it was not started "
			       "since its host booted",
			       vm->row.name);
	return fd < 0 ? err_sys(e, errno, "opening the log of VM '%s'",
				vm->row.name)
		      : fd;
}

/* Where the tail begins; a hole punched before it reads as zeros: skip. */
static off_t tail_start(int fd, uint64_t tail)
{
	struct stat st;
	off_t start, data;

	if (fstat(fd, &st) < 0)
		return 0;
	start = (uint64_t)st.st_size > tail ? st.st_size - (off_t)tail : 0;
	data = lseek(fd, start, SEEK_DATA);
	return data > start ? data : start;
}

void handle_vm_logs(struct request *r)
{
	struct vm *vm = request_vm(r);
	struct err e = ERR_INIT;
	struct logs *l;
	int fd = vm ? open_log(vm, &e) : -1;

	if (!vm)
		return;
	l = fd < 0 ? NULL : calloc(1, sizeof(*l));
	if (!l) {
		close_fd(&fd);
		if (e.kind == ERR_NONE)
			(void)err_sys(&e, ENOMEM, "reading a log");
		request_fail(r, &e);
		return;
	}
	l->fd = fd;
	l->at = tail_start(fd, request_query_u64(r, "tail_bytes"));
	l->follow = request_query_bool(r, "follow") && vm->handle;
	l->user.output = on_output;
	l->user.gone = on_gone;
	l->user.ended = on_ended;
	l->request = r;
	loop_timer_init(r->daemon->loop, &l->again, on_again, l);
	if (l->follow) {
		LIST_INSERT_HEAD(&vm->console_users, &l->user, link);
		l->listed = true;
	}
	r->stream = l;
	r->gone = request_gone;
	request_stream(r, "text/plain; charset=utf-8", read_block, logs_free,
		       l);
}
