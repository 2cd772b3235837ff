/* SPDX-License-Identifier: Apache-2.0 */
/* See console_link.h. */
#include "vmd/engines/console_link.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/sock.h"

enum {
	READ_BYTES = 16384,
	READS_PER_DRAIN = 64,
	RETRY_FIRST_MS = 20,
	RETRY_MAX_MS = 1000
};

void console_log_punch(int log_fd)
{
	struct stat st;
	off_t head;

	if (log_fd < 0 || fstat(log_fd, &st) < 0 ||
	    st.st_size <= CONSOLE_LOG_KEEP)
		return;
	head = (st.st_size - CONSOLE_LOG_KEEP) & ~(off_t)4095;
	/* Where holes are not possible the log just grows. */
	(void)fallocate(log_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
			head);
}

static void retry_later(struct console_link *c)
{
	uint64_t ms = (uint64_t)RETRY_FIRST_MS << (c->tries < 6 ? c->tries : 6);

	c->tries++;
	loop_timer_arm(&c->retry, ms < RETRY_MAX_MS ? ms : RETRY_MAX_MS);
}

/* One read: false when there is nothing more now. */
static bool read_some(struct console_link *c)
{
	uint8_t data[READ_BYTES];
	ssize_t n;

	if (c->fd < 0)
		return false;
	n = recv(c->fd, data, sizeof(data), MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n <= 0) {
		loop_remove(&c->source);
		close_fd(&c->fd);
		retry_later(c);
		return false;
	}
	c->since_punch += (uint64_t)n;
	if (c->since_punch >= CONSOLE_LOG_STEP) {
		c->since_punch = 0;
		console_log_punch(c->log_fd);
	}
	c->fn(c->ctx, data, (size_t)n);
	return true;
}

static void on_io(struct loop_source *source, uint32_t events)
{
	(void)events;
	(void)read_some(source->data);
}

static void connect_now(struct console_link *c)
{
	int fd = -1;

	if (sock_connect_unix(c->dirfd, "serial.sock", &fd, NULL) < 0) {
		retry_later(c);
		return;
	}
	if (loop_add(c->loop, &c->source, fd, EPOLLIN, on_io, c) < 0) {
		close_fd(&fd);
		retry_later(c);
		return;
	}
	c->fd = fd;
	c->tries = 0;
}

static void on_retry(struct loop_timer *timer)
{
	connect_now(timer->data);
}

void console_link_init(struct console_link *c)
{
	*c = (struct console_link){ .fd = -1, .log_fd = -1, .dirfd = -1 };
	c->source.fd = -1;
}

void console_link_open(struct console_link *c, struct loop *loop, int dirfd,
		       bool bound_log, console_data_fn *fn, void *ctx)
{
	console_link_init(c);
	c->loop = loop;
	c->dirfd = dirfd;
	c->fn = fn;
	c->ctx = ctx;
	loop_timer_init(loop, &c->retry, on_retry, c);
	if (bound_log) {
		c->log_fd =
			openat(dirfd, "console.log",
			       O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
		console_log_punch(c->log_fd);
	}
	connect_now(c);
}

ssize_t console_link_write(struct console_link *c, const void *data, size_t len)
{
	ssize_t n;

	if (c->fd < 0 || !len)
		return 0;
	n = send(c->fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);
	/* A broken connection is noticed, and made again, by the reader. */
	return n < 0 ? 0 : n;
}

void console_link_drain(struct console_link *c)
{
	for (int i = 0; i < READS_PER_DRAIN && read_some(c); i++)
		;
}

void console_link_close(struct console_link *c)
{
	if (!c->loop)
		return;
	loop_timer_disarm(&c->retry);
	loop_remove(&c->source);
	close_fd(&c->fd);
	close_fd(&c->log_fd);
}
